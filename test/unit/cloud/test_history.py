"""The server's memory."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fl_robot_ros.cloud.history import History, RoundRecord, RunStage, set_aside
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.errors import HistoryDamagedError, RunFailedError

FIRST_FORM = """
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, status TEXT NOT NULL,
    first_round INTEGER NOT NULL, last_round INTEGER NOT NULL, pid INTEGER, reason TEXT
);
CREATE TABLE rounds (
    round INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, ended REAL NOT NULL,
    robots INTEGER NOT NULL, num_examples INTEGER NOT NULL, train_loss REAL, loss REAL,
    accuracy REAL, wall_sec REAL NOT NULL, robot_compute_sec REAL NOT NULL
);
CREATE TABLE answers (
    round INTEGER NOT NULL, phase TEXT NOT NULL, node_id TEXT NOT NULL, robot TEXT NOT NULL,
    accepted INTEGER NOT NULL, reason TEXT NOT NULL, num_examples INTEGER, loss REAL,
    accuracy REAL, seconds REAL, PRIMARY KEY (round, phase, node_id)
);
CREATE TABLE events (id INTEGER PRIMARY KEY, time REAL NOT NULL, text TEXT NOT NULL);
INSERT INTO runs VALUES (1, 1.0, 2.0, 'finished', 1, 3, 5, NULL);
INSERT INTO rounds VALUES (3, 1, 2.0, 2, 100, 0.5, 0.4, 0.9, 2.5, 1.5);
INSERT INTO answers VALUES (3, 'train', '7', 'old', 1, '', 10, 0.5, 0.5, 1.0);
"""
ROUND = RoundRecord(3, 1, 2, 100, 0.5, 0.4, 0.9, 2.5, 1.5)


def test_runs_rounds_and_events_are_remembered(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        run = history.begin_run(1, 5, {"seed": 7})
        history.set_process(run, 4711)
        history.add_round(ROUND)
        history.add_event("first")
        history.add_event("second")
    with History(tmp_path) as history:
        record = history.last_run()
        assert record is not None
        assert (record.run, record.stage, record.pid) == (run, RunStage.RUNNING, 4711)
        assert record.settings == {"seed": 7}
        assert history.rounds() == [ROUND]
        assert [text for _, text in history.events_after(0)] == ["first", "second"]
        assert history.events_after(history.last_event_id()) == []
        history.end_run(run, RunStage.FINISHED)
        assert history.run(run).stage == RunStage.FINISHED  # type: ignore[union-attr]
        assert history.begin_run(6, 10, {}) == run + 1


def test_another_process_sees_events_at_once(tmp_path: Path) -> None:
    with History(tmp_path) as writer, History(tmp_path) as reader:
        writer.add_event("hello")
        assert [text for _, text in reader.events_after(0)] == ["hello"]


def test_replies_of_hostile_names_are_stored_as_data(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        reply = Reply(2**64 - 1, "'; DROP TABLE rounds; --", None, "no reply", 0, math.nan)
        history.add_replies(1, 1, "train", [reply, reply])
        history.add_round(ROUND)
        assert history.rounds() == [ROUND]


def test_a_file_that_is_no_history_is_named(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite3").write_bytes(b"no database" * 200)
    with pytest.raises(HistoryDamagedError, match=r"history\.sqlite3"):
        History(tmp_path)


def test_rounds_of_a_withdrawn_model_do_not_mix_with_those_of_the_next_run(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.begin_run(1, 3, {})
        for number in (1, 2, 3):
            history.add_round(replace(ROUND, round=number, run=1))
            history.add_replies(1, number, "train", [Reply(7, "old", None)])
        history.begin_run(2, 2, {})  # after a step back to the model of round 1
        history.add_round(replace(ROUND, round=2, run=2))
        history.add_replies(2, 2, "train", [Reply(7, "new", None)])
        assert [(item.round, item.run) for item in history.rounds()] == [(1, 1), (2, 2)]
    with closing(sqlite3.connect(tmp_path / "history.sqlite3")) as database:
        rows = database.execute("SELECT run, robot FROM answers WHERE round = 2 ORDER BY run")
        assert rows.fetchall() == [(1, "old"), (2, "new")]


def test_a_history_of_the_first_form_is_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "history.sqlite3")) as database:
        database.executescript(FIRST_FORM)
    for _ in range(2):
        with History(tmp_path) as history:
            [record] = history.rounds()
            assert (record.round, record.run, record.accuracy) == (3, 1, 0.9)
            assert history.robot_names() == {7: "old"}
            assert history.last_run().settings == {}  # type: ignore[union-attr]
            assert history.releases.models() == []
            history.add_replies(1, 3, "query", [Reply(7, "old", None)])


def test_a_history_without_releases_is_read(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.begin_run(1, 3, {})
        history.add_replies(1, 3, "query", [Reply(7, "old", None)])
    with closing(sqlite3.connect(tmp_path / "history.sqlite3")) as database:
        database.executescript(
            "ALTER TABLE answers DROP COLUMN time; DROP TABLE models; PRAGMA user_version = 1;"
        )
    with History(tmp_path) as history:
        history.add_replies(1, 3, "query", [Reply(8, "new", None)])
        history.releases.add(1, 3, 0.5)
        [model] = history.releases.models()
        assert (model.run, model.round, model.released, model.robots) == (1, 3, None, 0)
        assert set(history.robot_names().values()) == {"old", "new"}


def test_the_newest_release_counts_and_a_halted_one_stops_all(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        releases = history.releases
        for run in (1, 2, 3):
            assert history.begin_run(run, run, {}) == run
            releases.add(run, run, 0.5)
        assert releases.newest_out() is None
        assert releases.kept_rounds(1) == {3}
        releases.release(2)
        releases.release(1)
        assert releases.newest_out() == releases.model(1)
        assert releases.kept_rounds(1) == {3, 1}
        releases.halt(1, "2 of the first 2 robots did not take it")
        assert releases.newest_out() is None
        releases.add(1, 1, 0.75)  # of a run that is resumed in its delivery
        assert releases.model(1).halted  # type: ignore[union-attr]
        releases.release(1)
        assert releases.newest_out() == releases.model(1)
        # An older model is put back by hand, and a new run writes over the checkpoint.
        history.begin_run(2, 4, {})
        assert [model.run for model in releases.models()] == [1]


def test_damage_and_newer_forms_are_told_apart(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        for number in range(2000):
            history.add_event(f"event {number}")
    path = tmp_path / "history.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8192] = bytes(8192)
    path.write_bytes(content)
    with History(tmp_path) as history, pytest.raises(HistoryDamagedError, match="is damaged"):
        history.check()
    aside = set_aside(tmp_path)
    assert aside.read_bytes() == bytes(content)
    with History(tmp_path) as history:
        history.check()
        assert history.rounds() == []
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(RunFailedError, match="newer program, in form 99"):
        History(tmp_path)


def test_who_is_absent_is_told_to_another_process(tmp_path: Path) -> None:
    with History(tmp_path) as writer, History(tmp_path) as reader:
        writer.set_absent({b"key": 5.0, b"other": 6.0})
        assert reader.absent() == {b"key": 5.0, b"other": 6.0}
        writer.set_absent({})
        assert reader.absent() == {}
