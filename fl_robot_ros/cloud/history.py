"""The history of runs, rounds and robots, in one SQLite file.

The ServerApp writes the file; `fl_server` reads it during a run and prints new lines, and
`fl_server release` notes what a person decides. A model whose checkpoint was taken away leaves its
rounds in the history: a round's number comes again in a later run.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from fl_robot_ros.cloud.releases import TABLE, Releases
from fl_robot_ros.cloud.update_check import Reply
from fl_robot_ros.errors import HistoryDamagedError, RunFailedError

HISTORY_FILE = "history.sqlite3"

_SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS runs (
    run INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, status TEXT NOT NULL,
    first_round INTEGER NOT NULL, last_round INTEGER NOT NULL, pid INTEGER, reason TEXT,
    settings TEXT NOT NULL DEFAULT '{}', model_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS rounds (
    round INTEGER NOT NULL, run INTEGER NOT NULL REFERENCES runs, ended REAL NOT NULL,
    robots INTEGER NOT NULL, num_examples INTEGER NOT NULL, train_loss REAL, loss REAL,
    accuracy REAL, wall_sec REAL NOT NULL, robot_compute_sec REAL NOT NULL,
    PRIMARY KEY (run, round)
);
CREATE TABLE IF NOT EXISTS answers (
    run INTEGER NOT NULL, round INTEGER NOT NULL, phase TEXT NOT NULL, node_id TEXT NOT NULL,
    robot TEXT NOT NULL, accepted INTEGER NOT NULL, reason TEXT NOT NULL, num_examples INTEGER,
    loss REAL, accuracy REAL, seconds REAL, time REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (run, round, phase, node_id)
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS absences (public_key BLOB PRIMARY KEY, since REAL NOT NULL);
"""
    + TABLE
)
_VERSION = 2
# From version 0, where a round's number came once.
_FROM_VERSION_0 = (
    """
ALTER TABLE rounds RENAME TO old_rounds;
ALTER TABLE answers RENAME TO old_answers;
ALTER TABLE runs ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
ALTER TABLE runs ADD COLUMN model_bytes INTEGER NOT NULL DEFAULT 0;
"""
    + _SCHEMA
    + """
INSERT INTO rounds SELECT * FROM old_rounds;
INSERT INTO answers SELECT COALESCE(
    (SELECT run FROM old_rounds AS old WHERE old.round = old_answers.round), 0), *, 0
    FROM old_answers;
DROP TABLE old_answers;
DROP TABLE old_rounds;
"""
)
# From version 1, where replies had no time.
_FROM_VERSION_1 = "ALTER TABLE answers ADD COLUMN time REAL NOT NULL DEFAULT 0;" + TABLE


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
        settings: The server's settings of the run.
        model_bytes: Size of the model's weights; 0 before it is known.
    """

    run: int
    stage: RunStage
    first_round: int
    last_round: int
    pid: int | None
    reason: str
    settings: Mapping[str, Any]
    model_bytes: int


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
    """The history file, for any number of processes at once.

    Attributes:
        releases: The models of finished runs.
    """

    def __init__(self, state_dir: Path) -> None:
        """Open or create the file.

        Raises:
            HistoryDamagedError: The file is no history, or damaged.
            RunFailedError: The file cannot be opened.
        """
        self._path = state_dir / HISTORY_FILE
        self.releases = Releases(self._execute)
        with self._errors():
            self._database = sqlite3.connect(self._path, timeout=30.0, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def _prepare(self) -> None:
        database = self._database
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        [version] = database.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise RunFailedError(
                f"history {self._path} was written by a newer program, in form {version}; this "
                f"one knows form {_VERSION}"
            )
        if version < _VERSION:
            is_new = not database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            script = _SCHEMA if is_new else (_FROM_VERSION_0, _FROM_VERSION_1)[version]
            database.executescript(f"BEGIN; {script} PRAGMA user_version = {_VERSION}; COMMIT;")

    def check(self) -> None:
        """Look for damage in the whole file.

        Raises:
            HistoryDamagedError: There is some.
        """
        with self._errors():
            [found] = self._database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise HistoryDamagedError(f"history {self._path} is damaged: {found}")

    def __enter__(self) -> History:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of SQLite into one line each."""
        try:
            yield
        except sqlite3.OperationalError as error:  # a full disk, a folder that is read only
            raise RunFailedError(f"history {self._path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise HistoryDamagedError(f"history {self._path} is damaged: {error}") from error

    def _execute(self, command: str, values: Sequence[Any] = ()) -> list[Any]:
        """Execute one command; return its rows.

        Raises:
            RunFailedError: The file cannot be read or written.
        """
        with self._errors():
            return self._database.execute(command, values).fetchall()

    def begin_run(self, first_round: int, last_round: int, settings: Mapping[str, Any]) -> int:
        """Note a new run with the server's settings; return its number."""
        values = (time.time(), RunStage.RUNNING, first_round, last_round, json.dumps(settings))
        [(run,)] = self._execute(
            "INSERT INTO runs (started, status, first_round, last_round, settings) "
            "VALUES (?, ?, ?, ?, ?) RETURNING run",
            values,
        )
        return int(run)

    def resume_run(self, run: int, settings: Mapping[str, Any]) -> None:
        """Note that a run goes on, with these settings."""
        self._execute("UPDATE runs SET settings = ? WHERE run = ?", (json.dumps(settings), run))

    def set_process(self, run: int, pid: int | None) -> None:
        """Note the ServerApp's process of a run, and that the run goes on."""
        self._execute(
            "UPDATE runs SET pid = ?, status = ?, reason = NULL, ended = NULL WHERE run = ?",
            (pid, RunStage.RUNNING, run),
        )

    def set_model_bytes(self, run: int, size: int) -> None:
        """Note the size of the weights of a run's model."""
        self._execute("UPDATE runs SET model_bytes = ? WHERE run = ?", (size, run))

    def end_run(self, run: int, stage: RunStage, reason: str = "") -> None:
        """Note how a run ended."""
        self._execute(
            "UPDATE runs SET ended = ?, status = ?, reason = ? WHERE run = ?",
            (time.time(), stage, reason, run),
        )

    def run(self, run: int) -> RunRecord | None:
        """Return one run."""
        return self._select_run("WHERE run = ?", run)

    def last_run(self) -> RunRecord | None:
        """Return the newest run."""
        return self._select_run("ORDER BY run DESC LIMIT 1")

    def times_of_last_run(self) -> tuple[float, float] | None:
        """Return beginning and end of the newest run that has ended, as timestamps in s."""
        rows = self._execute(
            "SELECT started, ended FROM runs WHERE ended IS NOT NULL ORDER BY run DESC LIMIT 1"
        )
        return (float(rows[0][0]), float(rows[0][1])) if rows else None

    def robots_in_last_run(self) -> int:
        """Return how many robots did something that counted in the newest run with any."""
        [(number,)] = self._execute(
            "SELECT COUNT(DISTINCT robot) FROM answers WHERE accepted AND run = "
            "(SELECT MAX(run) FROM answers WHERE accepted)"
        )
        return int(number)

    def run_before(self, run: int) -> tuple[int, float, float] | None:
        """Return number, beginning and end (as timestamps in s) of the run before one.

        It is the newest one in which a robot was asked for something; None without one.
        """
        rows = self._execute(
            "SELECT run, started, ended FROM runs WHERE run < ? AND ended IS NOT NULL AND EXISTS "
            "(SELECT 1 FROM answers WHERE answers.run = runs.run) ORDER BY run DESC LIMIT 1",
            (run,),
        )
        return (int(rows[0][0]), float(rows[0][1]), float(rows[0][2])) if rows else None

    def robots_in(self, run: int) -> set[str]:
        """Return the names of the robots that were asked for something in a run."""
        rows = self._execute("SELECT DISTINCT robot FROM answers WHERE run = ?", (run,))
        return {str(robot) for (robot,) in rows}

    def _select_run(self, clause: str, *values: int) -> RunRecord | None:
        rows = self._execute(
            "SELECT run, status, first_round, last_round, pid, COALESCE(reason, ''), settings, "
            "model_bytes FROM runs " + clause,
            values,
        )
        for run, stage, first, last, pid, reason, settings, model_bytes in rows:
            known = json.loads(settings)
            return RunRecord(run, RunStage(stage), first, last, pid, reason, known, model_bytes)
        return None

    def add_round(self, record: RoundRecord) -> None:
        """Note a round, or replace its record."""
        self._execute(
            f"INSERT OR REPLACE INTO rounds ({_ROUND_COLUMNS}, ended) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*astuple(record), time.time()),
        )

    def rounds(self) -> list[RoundRecord]:
        """Return the rounds that led to the newest model, oldest first."""
        rows = self._execute(
            f"SELECT {_ROUND_COLUMNS} FROM rounds WHERE NOT EXISTS (SELECT 1 FROM runs AS newer "
            "WHERE newer.run > rounds.run AND newer.first_round <= rounds.round) ORDER BY round"
        )
        return [RoundRecord(*row) for row in rows]

    def add_replies(
        self, run: int, server_round: int, phase: str, replies: Sequence[Reply]
    ) -> None:
        """Note the reply of every robot that was asked in a round.

        Args:
            run: Number of the run.
            server_round: Number of the round.
            phase: `train`, `evaluate` or `query` (the delivery).
            replies: The replies, those that do not count too. Their reasons are their remarks.
        """
        rows = [
            (
                run,
                server_round,
                phase,
                str(reply.node_id),
                reply.robot,
                reply.accepted,
                reply.remark,
                reply.num_examples,
                reply.loss if reply.accepted else None,
                reply.accuracy if reply.accepted else None,
                reply.seconds,
                time.time(),
            )
            for reply in replies
        ]
        with self._errors():
            self._database.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def evaluated_images(self, run: int) -> dict[int, int]:
        """Return on how many images the models of a run were evaluated, by round."""
        rows = self._execute(
            "SELECT round, SUM(num_examples) FROM answers "
            "WHERE run = ? AND phase = 'evaluate' AND accepted GROUP BY round",
            (run,),
        )
        return {int(number): int(images) for number, images in rows}

    def robot_names(self) -> dict[int, str]:
        """Return the last known name of each robot by Flower's number of its connection."""
        rows = self._execute("SELECT node_id, robot FROM answers ORDER BY run, round")
        return {int(node_id): str(robot) for node_id, robot in rows}

    def set_absent(self, absent: Mapping[bytes, float]) -> None:
        """Note the robots whose connection ended, by public key, with the time of the end."""
        with self._errors(), self._database:
            self._database.execute("BEGIN")
            self._database.execute("DELETE FROM absences")
            self._database.executemany("INSERT INTO absences VALUES (?, ?)", absent.items())

    def absent(self) -> dict[bytes, float]:
        """Return the robots whose connection ended, by public key, with the time of the end."""
        return dict(self._execute("SELECT public_key, since FROM absences"))

    def add_event(self, text: str) -> None:
        """Note a line for the operator."""
        self._execute("INSERT INTO events (time, text) VALUES (?, ?)", (time.time(), text))

    def events_after(self, last_id: int) -> list[tuple[int, str]]:
        """Return number and text of the lines after the one with the given number."""
        rows = self._execute("SELECT id, text FROM events WHERE id > ? ORDER BY id", (last_id,))
        return [(int(number), str(text)) for number, text in rows]

    def last_event_id(self) -> int:
        """Return the number of the newest line, 0 if there is none."""
        [(number,)] = self._execute("SELECT COALESCE(MAX(id), 0) FROM events")
        return int(number)


def set_aside(state_dir: Path) -> Path:
    """Move a damaged history out of the way; return its new name.

    Raises:
        RunFailedError: The folder cannot be changed.
    """
    path = state_dir / HISTORY_FILE
    aside = path.with_name(f"{HISTORY_FILE}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
    try:
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise RunFailedError(f"the damaged history {path} cannot be moved: {error}") from error
    return aside
