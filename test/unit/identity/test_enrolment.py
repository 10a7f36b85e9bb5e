"""What a robot says of its enrolment at its start."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.errors import IdentityError, SettingError
from fl_robot_ros.identity import enrolment as module
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.identity.membership import Membership

# Made once with 'fl_keys robot r1'; its fleet is gone.
PRIVATE_KEY = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAiAAAABNl
Y2RzYS1zaGEyLW5pc3RwMzg0AAAACG5pc3RwMzg0AAAAYQRWOqVzZRvCHxSw+ksB
zp0Sc8Gi57foSOR9ioXDU1emXK3uYIOkhM+kSrBx/2QWD6B3nV3Tkxtt877uBkc2
bVz2e+KoZ5Jnfl79opmSt6cr8qgLjhHLthMNTwz2tif6pOUAAADQ0xPsy9MT7MsA
AAATZWNkc2Etc2hhMi1uaXN0cDM4NAAAAAhuaXN0cDM4NAAAAGEEVjqlc2Ubwh8U
sPpLAc6dEnPBoue36EjkfYqFw1NXplyt7mCDpITPpEqwcf9kFg+gd51d05MbbfO+
7gZHNm1c9nviqGeSZ35e/aKZkrenK/KoC44Ry7YTDU8M9rYn+qTlAAAAMQCJuO2P
cLS55vZ+tORj/7Dj04NEHbPhBmJHxEUK4EaWIUhffR5dirIafNdNmz4XyGsAAAAA
AQIDBAUGBw==
-----END OPENSSH PRIVATE KEY-----
"""
AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBozCCAUmgAwIBAgIUSjz4GdojLZhQhfiATJlLqDz9EPkwCgYIKoZIzj0EAwIw
LjEsMCoGA1UEAwwjZmxfcm9ib3Rfcm9zIGZsZWV0IDY2NmZkZmQyYWYwZGE1MzUw
HhcNMjYxMTI1MTYyODExWhcNNDYxMTIxMTYyODExWjAuMSwwKgYDVQQDDCNmbF9y
b2JvdF9yb3MgZmxlZXQgNjY2ZmRmZDJhZjBkYTUzNTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABPXg4yDTnA1lx6Qs/+qwER8tvvtJlZeqJOGNvk1fBriTHcROy+6D
fMAnJuEntG5jprW56wodXESv05v9rGloY1WjRTBDMBIGA1UdEwEB/wQIMAYBAf8C
AQAwDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQWBBQ5e/u/jla7C8xSTSgsweDoYNrL
STAKBggqhkjOPQQDAgNIADBFAiAdQfM1F1KlAnuao3ln913lMzNDozZRjA+m0F4C
KJ7QQQIhAIkm1uZZN/d8vvapQf7BL/a37h4xeAkZj1N0I8He8okc
-----END CERTIFICATE-----
"""
VALUES = {
    "robot": "r1",
    "private_key": PRIVATE_KEY,
    "ca_certificate": AUTHORITY,
    "fleet_key": "snqDyfdJFKzCTq3QEfUPA/fJlmdxJYy2BOjSg7rZuB8=",
    "server_address": "cloud.example.org:8000",
    "schema_version": 1,
}
SAMPLE = json.dumps(VALUES, indent=2) + "\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "r1.json"
    path.write_text(SAMPLE)
    path.chmod(0o600)
    return path


def test_it_is_read_as_it_was_written(file: Path) -> None:
    enrolment = Enrolment.load(file)
    assert (enrolment.robot, enrolment.server_address) == ("r1", "cloud.example.org:8000")
    assert enrolment.to_json() == SAMPLE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"robot": "../r1"}, "the robot's name is '../r1'"),
        ({"robot": 7}, "robot is not text"),
        ({"private_key": "x"}, "private_key is no OpenSSH private key"),
        ({"ca_certificate": "x"}, "ca_certificate is no certificate of an authority"),
        ({"fleet_key": "AAAA"}, "fleet_key is not 32 bytes in Base64"),
        ({"fleet_key": "?"}, "fleet_key is not 32 bytes in Base64"),
        ({"schema_version": 2}, "schema_version is 2; this program reads 1"),
        ({"more": ""}, "expected exactly the names ca_certificate, fleet_key"),
    ],
)
def test_what_is_wrong_with_one_is_told(changes: dict[str, Any], words: str, file: Path) -> None:
    file.write_text(json.dumps({**VALUES, **changes}))
    with pytest.raises(IdentityError) as caught:
        Enrolment.load(file)
    assert str(caught.value).startswith(f"{file} is no enrolment of a robot: ")
    assert words in str(caught.value)
    assert "copy the file again that 'fl_keys robot' wrote" in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 100, len(SAMPLE) - 3])
def test_a_file_that_was_copied_in_part_is_told(length: int, file: Path) -> None:
    file.write_text(SAMPLE[:length])
    with pytest.raises(IdentityError, match="is no enrolment of a robot: it is no JSON"):
        Enrolment.load(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=r"enrolment .*/no\.json cannot be read: No such file"):
        Enrolment.load(tmp_path / "no.json")


def test_an_authority_that_has_expired_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "time", lambda: 4e9)
    with pytest.raises(IdentityError, match=r"its authority is valid from .* to .*set the clock"):
        Enrolment.load(file)


def membership(**settings: Any) -> Membership:
    return Membership.from_settings(ClientSettings.from_mapping(settings), {})


def test_a_robots_name_and_server_are_those_of_its_enrolment(file: Path) -> None:
    found = membership(enrolment=str(file))
    assert found == Membership("r1", "cloud.example.org:8000")
    assert membership(enrolment=str(file), robot_name="r1") == found
    assert membership(enrolment=str(file), server_address="a:9").server_address == "a:9"
    settings = ClientSettings.from_mapping({"enrolment": str(file)})
    here = Membership.from_settings(settings, {"SERVER_IP": "192.0.2.1"})
    assert here.server_address == "192.0.2.1:8000"


def test_an_enrolment_that_others_can_read_is_warned_of(file: Path) -> None:
    file.chmod(0o644)
    [warning] = membership(enrolment=str(file)).warnings
    assert "can be read by other users (mode 0644); run: chmod 600" in warning


def test_a_server_on_the_network_without_tls_needs_the_users_word() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert membership(server_address=f"{host}:9").warnings == ()
    with pytest.raises(SettingError, match=r"server_address is '192\.0\.2\.1:9', a server on the"):
        membership(server_address="192.0.2.1:9")
    found = membership(server_address="192.0.2.1:9", insecure=True)
    assert [warning.startswith("insecure: whoever") for warning in found.warnings] == [True]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"enrolment": "none.json"}, "none.json cannot be read"),
        ({"robot_name": "r2", "enrolment": "r1.json"}, "robot_name is 'r2', and enrolment"),
        ({"root_certificates": "none.pem"}, "root_certificates is 'none.pem'"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_node(
    settings: dict[str, Any], words: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    with pytest.raises(SettingError) as caught:
        membership(**settings)
    assert words in str(caught.value)


def test_the_key_of_another_fleet_has_another_name(file: Path) -> None:
    one = Enrolment.load(file)
    other = replace(one, fleet_key="A" * 43 + "=")
    assert len(one.fleet_key_id) == 16
    assert one.fleet_key_id != other.fleet_key_id
