"""Settings of the server that cannot work end it before anything is started."""

from __future__ import annotations

import io
import signal
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_robot_ros.cli.server import main
from fl_robot_ros.cloud.checkpoint import GlobalModel, save_checkpoint
from fl_robot_ros.cloud.history import History, RoundRecord
from fl_robot_ros.cloud.readiness import check_readiness, describe_risks
from fl_robot_ros.cloud.server import FleetServer
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.errors import SettingError
from fl_robot_ros.identity.key_folder import KeyFolder
from fl_robot_ros.images.preprocessing import Preprocessing

CLASSES = ("cup", "phone")


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """Give back the signals that the command takes."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def refusal(folder: Path, **values: Any) -> str:
    """Return why the settings are refused, with a free port and the checkpoints of a folder."""
    settings = ServerSettings.from_mapping({"classes": CLASSES, "port": 0, **values})
    with pytest.raises(SettingError) as caught:
        check_readiness(settings, folder / "checkpoints")
    return str(caught.value)


def test_good_settings_pass(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "model.keras").write_bytes(content.getvalue())
    values = {"classes": CLASSES, "port": 0, "initial_model": str(tmp_path / "model.keras")}
    check_readiness(ServerSettings.from_mapping(values), tmp_path / "checkpoints")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.keras", None, "absent.keras cannot be read: No such file"),
        ("model.keras", b"no zip", "expected a model that Keras saved as .keras or .h5"),
        ("model.h5", b"no HDF5", "expected a model that Keras saved"),
        ("model.tflite", b"TFL3", "expected a model that Keras saved"),
    ],
)
def test_an_initial_model_that_is_none_is_refused(
    name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    text = refusal(tmp_path, initial_model=str(tmp_path / name))
    assert text.startswith("initial_model is ")
    assert words in text


def test_tls_files_that_are_none_are_refused(tmp_path: Path) -> None:
    names = ("ssl_certfile", "ssl_keyfile")
    files = {name: str(tmp_path / name) for name in names}
    assert "ssl_certfile cannot be read: No such file" in refusal(tmp_path, **files)
    for path in files.values():
        Path(path).write_text("no certificate")
    assert "cannot be used" in refusal(tmp_path, **files)


def test_a_key_folder_is_checked(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    assert f"keys_dir: there are no keys in {keys}" in refusal(tmp_path, keys_dir=str(keys))
    folder = KeyFolder.create(keys, ["fleet.example"])
    settings = ServerSettings.from_mapping(
        {"classes": CLASSES, "port": 0, "host": "0.0.0.0", "keys_dir": str(keys)}
    )
    check_readiness(settings, tmp_path / "checkpoints")
    assert describe_risks(settings) == []
    for file in folder.private_files:
        file.chmod(0o640)
    risks = describe_risks(settings)
    assert len(risks) == len(folder.private_files)
    assert all("can be read by other users (mode 0640)" in risk for risk in risks)
    folder.robots_file.write_text("[")
    assert "is no list of robots" in refusal(tmp_path, keys_dir=str(keys))


@pytest.mark.parametrize(
    ("values", "is_exposed"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "127.0.0.2"}, False),
        ({"host": "::1"}, False),
        ({"insecure": True}, False),
        ({"host": "0.0.0.0", "insecure": True}, True),
        ({"host": "cloud.example.org", "insecure": True}, True),
    ],
)
def test_a_server_on_the_network_without_tls_is_warned_of(
    values: dict[str, Any], is_exposed: bool
) -> None:
    settings = ServerSettings.from_mapping({"classes": CLASSES, **values})
    assert any("without TLS" in risk for risk in describe_risks(settings)) == is_exposed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"host": "0.0.0.0"}, "fl_keys init --host NAME' and set keys_dir: fleet_keys"),
        ({"host": "cloud.example.org"}, "or set insecure: true"),
        ({"insecure": True, "keys_dir": "x"}, "insecure is true, and TLS is set up"),
        ({"ssl_certfile": "x"}, "ssl_keyfile not given"),
    ],
)
def test_the_network_needs_keys_or_a_clear_no(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        ServerSettings.from_mapping({"classes": CLASSES, **values})
    assert words in str(caught.value)


def test_a_state_of_other_classes_is_refused(tmp_path: Path) -> None:
    model = GlobalModel(
        server_round=7,
        weights=np.zeros(4, np.float32),
        architecture="{}",
        classes=("circle", "square"),
        preprocessing=Preprocessing(32, 32, 3, 1 / 255),
    )
    save_checkpoint(tmp_path / "checkpoints", model)
    text = refusal(tmp_path)
    assert "the newest checkpoint (round 7) is for the classes circle, square" in text
    assert "the settings say cup, phone" in text
    assert "use another state_dir" in text


def test_a_history_without_its_checkpoints_is_not_gone_on_with(tmp_path: Path) -> None:
    settings = ServerSettings.from_mapping(
        {"classes": CLASSES, "port": 0, "state_dir": str(tmp_path)}
    )
    with History(tmp_path) as history:
        history.add_round(RoundRecord(12, 1, 1, 10, 0.5, None, None, 1.0, 0.5))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "round-00012.npz").write_bytes(b"cut")
    server = FleetServer(settings, print, threading.Event())
    with pytest.raises(SettingError) as caught:
        server.serve()
    assert "has a history of 12 rounds, and no checkpoint that can be read" in str(caught.value)
    assert "round-00012.npz" in str(caught.value)


@pytest.mark.usefixtures("_own_signals")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "classes is []; expected the names of two or more classes"),
        ("--classes cup", "classes is ['cup']"),
        ("--classes cup cup", "classes has 'cup' and 'cup'"),
        ("--classes cup \x07", "classes: label '\\x07' has control"),
        ("--classes cup phone --input-channels 2", "input_channels is 2; expected 1 or 3"),
        ("--classes cup phone --initial-model absent.keras", "initial_model is 'absent.keras'"),
        ("--classes cup phone --state-dir file", "state_dir "),
    ],
)
def test_the_command_says_it_in_one_line_with_exit_code_2(
    line: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(line.split(" ") if line else []) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("fl_server: ")
    assert output.err.count("\n") == 1
    assert words in output.err
