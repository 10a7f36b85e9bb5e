"""The server's memory."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fl_robot_ros.cloud.history import History, RoundRecord, RunStage
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.errors import RunFailedError

ROUND = RoundRecord(3, 1, 2, 100, 0.5, 0.4, 0.9, 2.5, 1.5)


def test_runs_rounds_and_events_are_remembered(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        run = history.begin_run(1, 5)
        history.set_process(run, 4711)
        history.add_round(ROUND)
        history.add_event("first")
        history.add_event("second")
    with History(tmp_path) as history:
        record = history.last_run()
        assert record is not None
        assert (record.run, record.stage, record.pid) == (run, RunStage.RUNNING, 4711)
        assert history.rounds() == [ROUND]
        assert [text for _, text in history.events_after(0)] == ["first", "second"]
        assert history.events_after(history.last_event_id()) == []
        history.end_run(run, RunStage.FINISHED)
        assert history.run(run).stage == RunStage.FINISHED  # type: ignore[union-attr]
        assert history.begin_run(6, 10) == run + 1


def test_another_process_sees_events_at_once(tmp_path: Path) -> None:
    with History(tmp_path) as writer, History(tmp_path) as reader:
        writer.add_event("hello")
        assert [text for _, text in reader.events_after(0)] == ["hello"]


def test_replies_of_hostile_names_are_stored_as_data(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        reply = Reply(2**64 - 1, "'; DROP TABLE rounds; --", None, "no reply", 0, math.nan)
        history.add_replies(1, "train", [reply, reply])
        history.add_round(ROUND)
        assert history.rounds() == [ROUND]


def test_a_file_that_is_no_history_is_named(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite3").write_bytes(b"no database" * 200)
    with pytest.raises(RunFailedError, match=r"history\.sqlite3"):
        History(tmp_path)


def test_who_took_part_is_known_after_a_restart(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.add_replies(1, "train", [Reply(7, "old", None)])
        history.add_replies(2, "train", [Reply(8, "bad", None, "refused"), Reply(9, "good", None)])
        history.add_replies(3, "evaluate", [Reply(2**64 - 1, "late", None)])
        history.add_replies(4, "train", [Reply(10, "next run", None)])
    with History(tmp_path) as history:
        assert history.participants(2, 3) == {9, 2**64 - 1}
        assert history.robot_names()[2**64 - 1] == "late"
        assert history.robot_names()[8] == "bad"
