"""The models of finished runs, and which of them goes to the robots: a table of the history."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

TABLE = """
CREATE TABLE IF NOT EXISTS models (
    run INTEGER PRIMARY KEY, round INTEGER NOT NULL, accuracy REAL, made REAL NOT NULL,
    released REAL, halted TEXT NOT NULL DEFAULT ''
);
"""
# A model whose checkpoint was overwritten, after an older one was put back by hand, is none.
_SELECT = """
SELECT run, round, accuracy, made, released, halted, (
    SELECT COUNT(DISTINCT robot) FROM answers WHERE phase = 'query' AND accepted
    AND answers.round = models.round AND answers.time >= models.released
) FROM models WHERE NOT EXISTS (
    SELECT 1 FROM runs AS newer WHERE newer.run > models.run AND newer.first_round <= models.round
)
"""


@dataclass(frozen=True)
class FinishedModel:
    """The model of a finished run.

    Attributes:
        run: Number of the run.
        round: Number of its best round, whose model it is.
        accuracy: Of the model, by the robots that evaluated it, 0 to 1; None if none did.
        made: When the run ended, a timestamp in s.
        released: When the model was released, a timestamp in s; None if it is not.
        halted: Why its release was halted, "" otherwise.
        robots: Robots that were asked to take it since its release, and replied.
    """

    run: int
    round: int
    accuracy: float | None
    made: float
    released: float | None
    halted: str
    robots: int

    @property
    def is_out(self) -> bool:
        """Whether robots get the model."""
        return self.released is not None and not self.halted


class Releases:
    """Notes the models of finished runs, and which of them are released."""

    def __init__(self, execute: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        """Take the history's database: a function that executes one command."""
        self._execute = execute

    def add(self, run: int, server_round: int, accuracy: float | None) -> None:
        """Note the model of a run, which is not released yet."""
        self._execute(
            "INSERT INTO models (run, round, accuracy, made) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (run) DO UPDATE SET round = excluded.round, accuracy = excluded.accuracy",
            (run, server_round, accuracy, time.time()),
        )

    def models(self) -> list[FinishedModel]:
        """Return the models of all runs, newest first."""
        rows = self._execute(_SELECT + "ORDER BY run DESC", ())
        return [FinishedModel(*row) for row in rows]

    def model(self, run: int) -> FinishedModel | None:
        """Return the model of a run, None without one."""
        return next((model for model in self.models() if model.run == run), None)

    def newest_out(self) -> FinishedModel | None:
        """Return the model that robots get: of the last release, unless that was halted."""
        released = [model for model in self.models() if model.released is not None]
        last = max(released, key=lambda model: model.released or 0.0, default=None)
        return last if last is not None and last.is_out else None

    def release(self, run: int) -> None:
        """Have robots get the model of a run, also those that had it before."""
        self._execute(
            "UPDATE models SET released = ?, halted = '' WHERE run = ?", (time.time(), run)
        )

    def withdraw(self, run: int) -> None:
        """Have no further robot get the model of a run."""
        self._execute("UPDATE models SET released = NULL, halted = '' WHERE run = ?", (run,))

    def halt(self, run: int, reason: str) -> None:
        """Note that the robots' own checks halted the release of a run's model."""
        self._execute("UPDATE models SET halted = ? WHERE run = ?", (reason, run))

    def robots_asked(self, model: FinishedModel) -> set[str]:
        """Return the names of the robots that were asked to take a model since its release."""
        rows = self._execute(
            "SELECT DISTINCT robot FROM answers WHERE phase = 'query' AND accepted AND round = ? "
            "AND time >= ?",
            (model.round, model.released or 0.0),
        )
        return {str(robot) for (robot,) in rows}

    def kept_rounds(self, count: int) -> set[int]:
        """Return the rounds of the newest models and of the one that robots get.

        Args:
            count: How many of the newest.
        """
        out = self.newest_out()
        newest = self.models()[:count]
        return {model.round for model in [*newest, *([out] if out else [])]}
