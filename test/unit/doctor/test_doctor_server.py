"""The way to the server, by real listeners and a real gate, as a worker would find it."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_keys import serving_gate, write_server_certificate
from hostile_server import hostile_server, refuse

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.doctor import server
from fl_robot_ros.doctor.examination import examine
from fl_robot_ros.doctor.finding import Finding, Level
from fl_robot_ros.errors import SettingError
from fl_robot_ros.identity.key_folder import KeyFolder


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFolder:
    return KeyFolder.create(tmp_path_factory.mktemp("fleet") / "keys", ["127.0.0.1"])


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SERVER_IP", "SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    return


def enrolled(keys: KeyFolder, folder: Path, name: str) -> ClientSettings:
    keys.enrol(name, folder / "robot.json", "")
    return ClientSettings(enrolment=str(folder / "robot.json"), worker_python=sys.executable)


def connection(host: str, port: int, *, is_default: bool = False) -> Finding:
    [found] = server.check_connection(server.Server(f"{host}:{port}", is_default))
    return found


def admission(port: int, settings: ClientSettings) -> Finding:
    [found] = server.check_admission(server.Server(f"127.0.0.1:{port}", False), settings)
    return found


def test_an_address_that_leads_nowhere_is_told() -> None:
    found = connection("no-such-host.invalid", 8000)
    assert "the name server does not know no-such-host.invalid" in found.text
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert connection("127.0.0.1", port).text == f"something listens on 127.0.0.1:{port}"
    found = connection("127.0.0.1", port)
    assert found.level == Level.PROBLEM
    assert found.fix == "start fl_server there, or correct the port"
    assert connection("127.0.0.1", port, is_default=True).level == Level.WARNING


def test_a_name_server_that_hangs_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, is_over = [], threading.Event()

    def hang(*_: object, **__: object) -> None:
        asked.append(1)
        is_over.wait()

    monkeypatch.setattr(server, "_CONNECT_SEC", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    found = list(examine(server.checks(ClientSettings(), "cloud.example.org:8000")))
    is_over.set()
    assert [one.text for one in found] == ["the check 'connection' did not end within 0.15 s"]
    assert asked == [1]


def test_the_address_is_found_as_the_client_finds_it(keys: KeyFolder, tmp_path: Path) -> None:
    keys.enrol("addressed", tmp_path / "robot.json", "cloud:1")
    settings = ClientSettings(enrolment=str(tmp_path / "robot.json"))
    assert server.find_server(settings, "", {}) == ("cloud:1", False)
    assert server.find_server(settings, "", {"SERVER_IP": "here"}) == ("here:8000", False)
    assert server.find_server(settings, "other:2", {}) == ("other:2", False)
    assert server.find_server(ClientSettings(), "", {}) == ("127.0.0.1:8000", True)
    with pytest.raises(SettingError):
        server.checks(settings, "nowhere")
    assert server.checks(ClientSettings(server_address="nowhere"), "") == []


def test_a_fleet_takes_the_robots_on_its_list_alone(keys: KeyFolder, tmp_path: Path) -> None:
    settings = enrolled(keys, tmp_path, "r1")
    with serving_gate(1, keys.server_file, keys.robots_file, lambda _: None) as gate:
        gate.close_until(time.time() + 3600.0)  # between two runs of its schedule
        found = admission(gate.port, settings)
        assert found.level == Level.OK
        assert "is the fleet's server, and takes this robot; no run is on; the next" in found.text
        keys.revoke("r1")
        found = admission(gate.port, settings)
        assert "robot r1 was revoked at " in found.text
        assert "enrol it anew with 'fl_keys robot r1'" in found.fix
        found = admission(gate.port, ClientSettings(worker_python=sys.executable))
        assert "speaks TLS, and this robot was told plain HTTP" in found.text
        assert "set enrolment to the file of 'fl_keys robot NAME'" in found.fix


def test_a_certificate_that_has_expired_is_told(keys: KeyFolder, tmp_path: Path) -> None:
    settings = enrolled(keys, tmp_path, "r2")
    write_server_certificate(keys, tmp_path / "old.pem", begins_days=-9, ends_days=-1)
    with serving_gate(1, tmp_path / "old.pem", keys.robots_file, lambda _: None) as gate:
        found = admission(gate.port, settings)
    assert "its certificate has expired" in found.text
    assert "fl_keys host" in found.fix


def test_a_server_without_keys_is_told_from_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a worker's Python the robot's own asks.
    settings = ClientSettings(worker_python="/none")
    # As a SuperLink refuses a robot that it does not know.
    with hostile_server(refuse(401, b"{}")) as port:
        with serving_gate(port, None, None, lambda _: None) as gate:
            found = admission(gate.port, settings)
            assert found.text.endswith("is an fl_server over plain HTTP, and takes this robot")
        found = admission(port, settings)
        assert "is no fl_server" in found.text
        assert "correct the host" in found.fix
        monkeypatch.setattr(server, "_MODULE", "fl_robot_ros.worker.of_no_such_name")
        assert "cannot ask the server: " in admission(port, settings).text
