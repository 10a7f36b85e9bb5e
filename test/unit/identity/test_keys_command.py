"""The command `fl_keys`: what it makes, and what it says."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from fl_robot_ros.cli.keys import main
from fl_robot_ros.identity.certificates import hosts_of
from fl_robot_ros.identity.enrolment import Enrolment
from fl_robot_ros.identity.key_folder import KeyFolder

WIDTH = 80


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the keys of a fleet, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    assert main(["init", "--host", "cloud.example.org", "192.0.2.7"]) == 0
    return tmp_path


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return exit code and output of the command."""
    capsys.readouterr()
    code = main(arguments)
    output = capsys.readouterr()
    return code, output.out + output.err


def test_everything_is_its_owners_alone(folder: Path) -> None:
    assert main(["robot", "r1"]) == 0
    assert stat.S_IMODE((folder / "fleet_keys").stat().st_mode) == 0o700
    for file in (*(folder / "fleet_keys").glob("[!.]*"), folder / "r1.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_hosts_may_be_given_one_by_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = say(capsys, "init", "--keys-dir", "two", "--host", "a.org", "--host", "10.0.0.5")
    assert "certificate for a.org, 10.0.0.5, localhost" in text


def test_an_enrolment_is_what_a_robot_needs(folder: Path) -> None:
    assert main(["robot", "r1"]) == 0
    enrolment = Enrolment.load(folder / "r1.json")
    keys = KeyFolder(folder / "fleet_keys")
    assert (enrolment.robot, enrolment.server_address) == ("r1", "cloud.example.org:8000")
    assert enrolment.fleet_key_id == keys.model_key_id()
    # As flower-supernode reads it.
    key = load_ssh_private_key(enrolment.private_key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP384R1)
    assert main(["robot", "r2", "--server", "other:9", "--out", "two.json"]) == 0
    assert Enrolment.load(folder / "two.json").server_address == "other:9"


def test_the_list_is_read_at_80_columns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long_name = "r" * 64
    for name in ("r1", long_name):
        assert main(["robot", name]) == 0
    assert main(["revoke", "r1"]) == 0
    code, text = say(capsys, "list")
    assert code == 0
    assert "1 robot, 1 revoked" in text
    table = text.partition("revoked\n")[2].splitlines()
    assert max(map(len, table)) <= WIDTH
    assert "".join(line.split()[0] for line in table if line.startswith(" rrr")) == long_name
    for robot in KeyFolder(folder / "fleet_keys").robots().robots:
        assert robot.key_id in text


def test_a_name_is_enrolled_once_and_anew_after_its_revocation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(capsys, "robot", "r1")[0] == 0
    for line in (["robot", "r1", "--out", "x.json"], ["robot", "R1"]):
        code, text = say(capsys, *line)
        assert code == 1
        assert text.startswith("fl_keys: a robot 'r1' is enrolled already, since")
        assert text.count("\n") == 1
    assert not (folder / "x.json").exists()
    assert say(capsys, "revoke", "r1")[0] == 0
    assert "robot 'r1' was revoked at" in say(capsys, "revoke", "r1")[1]
    assert "r1.json exists already; remove it, or name another" in say(capsys, "robot", "r1")[1]
    assert say(capsys, "robot", "r1", "--out", "x.json")[0] == 0
    robots = KeyFolder(folder / "fleet_keys").robots()
    assert [bool(robot.revoked) for robot in robots.robots] == [True, False]
    assert len({robot.public_key for robot in robots.robots}) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("init --host b", "exists already and is not empty"),
        ("init --host a:9 --keys-dir other", "host is 'a:9'; expected a name or an address"),
        ("init --host 999.1.2.3 --keys-dir other", "host is '999.1.2.3'; expected"),
        ("init --host a --keys-dir r/x", "cannot write into"),
        ("host cloud --keys-dir other", "there are no keys in"),
        ("list --keys-dir other", "make them with: fl_keys init --host NAME"),
        ("revoke r9", "robot 'r9' was never enrolled"),
        ("robot ../r1", "the robot's name is '../r1'; expected 1 to 64 letters"),
        ("robot r1 --out none/r1.json", "none/r1.json: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    line: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "r").touch()
    code, text = say(capsys, *line.split())
    assert code == 1
    assert text.startswith("fl_keys: ")
    assert words in text
    assert text.count("\n") == 1
    assert KeyFolder(folder / "fleet_keys").robots().robots == ()


@pytest.mark.parametrize("line", ["", "robot r1 --server nowhere", "init", "revoke"])
def test_an_invalid_line_is_exit_code_2(line: str, folder: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2


def test_other_hosts_need_no_new_enrolments(folder: Path) -> None:
    keys = KeyFolder(folder / "fleet_keys")
    before = keys.authority()
    assert main(["host", "new.example.org", "2001:db8::7"]) == 0
    assert keys.authority() == before
    assert {"new.example.org", "2001:db8::7", "127.0.0.1", "localhost"} < {
        *hosts_of(keys.server_certificate())
    }
    assert "cloud.example.org" not in hosts_of(keys.server_certificate())


def test_robots_that_are_enrolled_at_once_are_all_in_the_list(folder: Path) -> None:
    names = [f"r{number}" for number in range(8)]
    threads = [threading.Thread(target=main, args=(["robot", name],)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    robots = KeyFolder(folder / "fleet_keys").robots().robots
    assert sorted(robot.name for robot in robots) == names


def test_a_damaged_list_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = KeyFolder(folder / "fleet_keys").robots_file
    entry = {"name": "r1", "public_key": 7, "created": "", "revoked": ""}
    for content in ("", "[]", "{}", json.dumps({"schema_version": 1, "robots": [entry]})):
        file.write_text(content)
        for line in (["list"], ["robot", "r1"], ["revoke", "r1"]):
            code, text = say(capsys, *line)
            assert (code, "is no list of robots" in text) == (1, True), text
    assert not (folder / "r1.json").exists()
