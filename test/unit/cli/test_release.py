"""`fl_server release` over real histories."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fl_robot_ros.cli.server import main
from fl_robot_ros.cloud.history import History
from fl_robot_ros.cloud.update_check import Reply


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Return the state folder of a fleet of three runs, the second of them without a model."""
    with History(tmp_path) as history:
        for run, rounds in ((1, (1, 5)), (2, (6, 6)), (3, (6, 10))):
            assert history.begin_run(*rounds, {"release": "approve"}) == run
        history.releases.add(1, 4, 0.91)
        history.releases.add(3, 10, None)
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    found = (captured.out + captured.err).splitlines()
    return [" ".join(line.split()) for line in found if line.strip()]


def test_a_model_is_released_and_withdrawn_and_the_list_says_so(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    config = state_dir / "server.yaml"
    config.write_text(f"state_dir: {state_dir}\n")
    common = ["--config", str(config)]
    assert main(["release", *common]) == 0
    listed = [line for line in lines(capsys) if line[0].isdigit()]
    assert [line.split()[0] for line in listed] == ["3", "1"]
    assert "0.910" in listed[1]
    assert all(line.endswith(" - waits") for line in listed)

    assert main(["release", "1", *common]) == 0
    assert lines(capsys) == [
        "the model of run 1, round 4, is released: robots get it at the end of the next run"
    ]
    with History(state_dir) as history:
        history.add_replies(3, 4, "query", [Reply(7, "r1", None), Reply(8, "r2", None, "broke")])
        assert history.events_after(0)[-1][1] == "the model of run 1, round 4, is released"
    assert main(["release", "3", *common]) == 0
    capsys.readouterr()
    main(["release", *common])
    newest, oldest = [line for line in lines(capsys) if line[0].isdigit()]
    day = time.strftime("%d %b")
    assert newest.endswith(" out, to 0 robots")
    assert oldest.count(day) == 2
    assert oldest.endswith("was out, to 1 robot")

    assert main(["release", "3", "--withdraw", *common]) == 0
    assert lines(capsys) == [
        "the model of run 3, round 10, is withdrawn; further robots get that of run 1"
    ]
    with History(state_dir) as history:
        out = history.releases.newest_out()
        assert out is not None
        assert out.run == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["2"], 1, "run 2 has no model; runs with one: 3, 1"),
        (["--withdraw"], 2, "--withdraw needs the number of a run"),
        (["one"], 2, "invalid int value"),
    ],
)
def test_what_cannot_be_released_is_named(
    state_dir: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    try:
        found = main(["release", "--state-dir", str(state_dir), *arguments])
    except SystemExit as end:
        found = int(end.code or 0)
    assert found == code
    assert said in capsys.readouterr().err


def test_a_folder_without_a_server_is_named_and_stays_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["release", "--state-dir", str(tmp_path)]) == 2
    assert f"no fl_server has used {tmp_path}" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_in_a_fleet_of_auto_releases_the_way_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with History(tmp_path) as history:
        history.begin_run(1, 2, {"release": "auto"})
        history.releases.add(1, 2, 0.5)
    assert main(["release", "1", "--state-dir", str(tmp_path)]) == 0
    assert "fl_server --num-rounds 0 sends this one" in capsys.readouterr().out
