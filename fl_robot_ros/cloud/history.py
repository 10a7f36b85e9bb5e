"""The history of runs, rounds and robots, in one SQLite file.

The ServerApp writes the file; `fl_server` reads it during a run and prints new lines.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from enum import Enum
from pathlib import Path

from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.errors import RunFailedError

HISTORY_FILE = "history.sqlite3"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, status TEXT NOT NULL,
    first_round INTEGER NOT NULL, last_round INTEGER NOT NULL, pid INTEGER, reason TEXT
);
CREATE TABLE IF NOT EXISTS rounds (
    round INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, ended REAL NOT NULL,
    robots INTEGER NOT NULL, num_examples INTEGER NOT NULL, train_loss REAL, loss REAL,
    accuracy REAL, wall_sec REAL NOT NULL, robot_compute_sec REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS answers (
    round INTEGER NOT NULL, phase TEXT NOT NULL, node_id TEXT NOT NULL, robot TEXT NOT NULL,
    accepted INTEGER NOT NULL, reason TEXT NOT NULL, num_examples INTEGER, loss REAL,
    accuracy REAL, seconds REAL, PRIMARY KEY (round, phase, node_id)
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, text TEXT NOT NULL
);
"""


class RunStage(str, Enum):
    """How far a run has come; the value is stored."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        run: Number, from 1.
        stage: How far it has come.
        first_round: Number of its first round.
        last_round: Number of the last round that was planned.
        pid: Process of the ServerApp, None before its start.
        reason: Why the run failed, "" otherwise.
    """

    run: int
    stage: RunStage
    first_round: int
    last_round: int
    pid: int | None
    reason: str


@dataclass(frozen=True)
class RoundRecord:
    """One round with a new global model.

    Attributes:
        round: Number since the first run, from 1.
        run: Number of its run.
        robots: Robots whose training counted.
        num_examples: Images that these robots trained on.
        train_loss: Mean training loss of these robots, weighted by images.
        loss: Mean loss of the new global model on the robots' holdout images; None until the
            robots evaluate the model in the next round.
        accuracy: Mean accuracy, 0 to 1; None as for the loss.
        wall_sec: Time from the last round's model to this one.
        robot_compute_sec: Working time of the slowest robot in that time: the evaluation of the
            last round's model, and the training.
    """

    round: int
    run: int
    robots: int
    num_examples: int
    train_loss: float | None
    loss: float | None
    accuracy: float | None
    wall_sec: float
    robot_compute_sec: float


_ROUND_COLUMNS = ", ".join(field.name for field in fields(RoundRecord))


class History:
    """The history file, for one writer and any number of readers at once."""

    def __init__(self, state_dir: Path) -> None:
        """Open or create the file.

        Raises:
            RunFailedError: The file cannot be opened.
        """
        path = state_dir / HISTORY_FILE
        try:
            self._database = sqlite3.connect(path, timeout=30.0, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise RunFailedError(f"history {path} cannot be opened: {error}") from error

    def __enter__(self) -> History:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._database.close()

    def begin_run(self, first_round: int, last_round: int) -> int:
        """Note a new run; return its number."""
        cursor = self._database.execute(
            "INSERT INTO runs (started, status, first_round, last_round) VALUES (?, ?, ?, ?)",
            (time.time(), RunStage.RUNNING, first_round, last_round),
        )
        return int(cursor.lastrowid or 0)

    def set_process(self, run: int, pid: int | None) -> None:
        """Note the ServerApp's process of a run, and that the run goes on."""
        self._database.execute(
            "UPDATE runs SET pid = ?, status = ?, reason = NULL, ended = NULL WHERE run = ?",
            (pid, RunStage.RUNNING, run),
        )

    def end_run(self, run: int, stage: RunStage, reason: str = "") -> None:
        """Note how a run ended."""
        self._database.execute(
            "UPDATE runs SET ended = ?, status = ?, reason = ? WHERE run = ?",
            (time.time(), stage, reason, run),
        )

    def run(self, run: int) -> RunRecord | None:
        """Return one run."""
        return self._select_run("WHERE run = ?", run)

    def last_run(self) -> RunRecord | None:
        """Return the newest run."""
        return self._select_run("ORDER BY run DESC LIMIT 1")

    def _select_run(self, clause: str, *values: int) -> RunRecord | None:
        row = self._database.execute(
            "SELECT run, status, first_round, last_round, pid, COALESCE(reason, '') FROM runs "
            + clause,
            values,
        ).fetchone()
        return RunRecord(row[0], RunStage(row[1]), *row[2:]) if row else None

    def add_round(self, record: RoundRecord) -> None:
        """Note a round, or replace its record."""
        self._database.execute(
            f"INSERT OR REPLACE INTO rounds ({_ROUND_COLUMNS}, ended) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*astuple(record), time.time()),
        )

    def rounds(self) -> list[RoundRecord]:
        """Return all rounds, oldest first."""
        rows = self._database.execute(f"SELECT {_ROUND_COLUMNS} FROM rounds ORDER BY round")
        return [RoundRecord(*row) for row in rows]

    def add_replies(self, server_round: int, phase: str, replies: Sequence[Reply]) -> None:
        """Note the reply of every robot that was asked in a round.

        Args:
            server_round: Number of the round.
            phase: `train`, `evaluate` or `query` (the delivery).
            replies: The replies, those that do not count too.
        """
        self._database.executemany(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    server_round,
                    phase,
                    str(reply.node_id),
                    reply.robot,
                    reply.accepted,
                    reply.reason,
                    reply.num_examples,
                    reply.loss if reply.accepted else None,
                    reply.accuracy if reply.accepted else None,
                    reply.seconds,
                )
                for reply in replies
            ],
        )

    def participants(self, first_round: int, last_round: int) -> set[int]:
        """Return Flower's numbers of the robots whose reply counted in these rounds."""
        rows = self._database.execute(
            "SELECT DISTINCT node_id FROM answers WHERE accepted AND round BETWEEN ? AND ?",
            (first_round, last_round),
        )
        return {int(node_id) for (node_id,) in rows}

    def robot_names(self) -> dict[int, str]:
        """Return the last known name of each robot by Flower's number of its connection."""
        rows = self._database.execute("SELECT node_id, robot FROM answers ORDER BY round")
        return {int(node_id): str(robot) for node_id, robot in rows}

    def add_event(self, text: str) -> None:
        """Note a line for the operator."""
        self._database.execute(
            "INSERT INTO events (time, text) VALUES (?, ?)", (time.time(), text)
        )

    def events_after(self, last_id: int) -> list[tuple[int, str]]:
        """Return number and text of the lines after the one with the given number."""
        with closing(self._database.cursor()) as cursor:
            cursor.execute("SELECT id, text FROM events WHERE id > ? ORDER BY id", (last_id,))
            return [(int(number), str(text)) for number, text in cursor]

    def last_event_id(self) -> int:
        """Return the number of the newest line, 0 if there is none."""
        row = self._database.execute("SELECT COALESCE(MAX(id), 0) FROM events").fetchone()
        return int(row[0])
