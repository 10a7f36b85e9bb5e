"""What a robot remembers of its learning over a restart, one JSON file that people can read."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.autonomy.finished_run import FinishedRun
from fl_robot_ros.worker_link.hindrance import Hindrance

_MOST_VERDICTS = 100
_MOST_WEEKS = 12
_MOST_SHAPES = 20  # a week
_OUT_OF_RANGE = 2**53  # of what JSON can carry whole
# Verdicts wait so long for the disk: a robot that stops and goes has one every few seconds.
_WRITE_EVERY_SEC = 10.0
_MOST_HINDRANCES = 50
# A power cut costs so much of the newest hindrance's time.
_WRITE_HINDRANCE_SEC = 600.0
_LATEST = 2.0**32  # s since the epoch, in 2106

_logger = logging.getLogger(__name__)


class Journal:
    """Owns the file: the newest finished run, the last hundred verdicts, the runs by shape.

    And what kept the robot from learning since the last run that it took part in.

    A file that cannot be written is named once in the log; learning goes on without it.

    Attributes:
        finished: The newest finished run, None before the first.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file, if there is one; a damaged one begins anew.

        Args:
            path: The file.
            clock: Returns a time in s.
        """
        self._path = path
        self._clock = clock
        self._written_at = -math.inf
        self._write_at = math.inf  # what waits for the disk
        self._is_told = False
        self.finished: FinishedRun | None = None
        self._verdicts: deque[str] = deque(maxlen=_MOST_VERDICTS)
        self._weeks: dict[str, Counter[str]] = {}
        self._hindrances: list[Hindrance] = []
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            self._hindrances = _read_hindrances(values.get("hindrances", []))
            self._read(values)
        except FileNotFoundError:
            pass
        except (
            OSError,
            ValueError,
            ArithmeticError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            _logger.warning("%s cannot be read, and begins anew: %s", path, error)

    @property
    def verdicts(self) -> list[str]:
        """The last hundred verdicts with their times, the oldest first."""
        return list(self._verdicts)

    @property
    def weeks(self) -> dict[str, dict[str, int]]:
        """Number of runs by shape, for each ISO week, as in {"2026-W48": {"-v[]+^": 5}}."""
        return {week: dict(shapes) for week, shapes in self._weeks.items()}

    def add_verdict(self, text: str, at: datetime) -> None:
        """Add a verdict, at a local time; `save` writes it."""
        self._verdicts.append(f"{at.isoformat(sep=' ', timespec='seconds')} {text}")
        self._write_within(_WRITE_EVERY_SEC)

    @property
    def hindrances(self) -> Sequence[Hindrance]:
        """What kept the robot from learning since its last run, the oldest first."""
        return tuple(self._hindrances)

    def hinder(self, reason: str, at: float) -> None:
        """Note what keeps the robot from learning at a timestamp in s; `save` writes it."""
        for number, one in reversed([*enumerate(self._hindrances)]):
            if one.goes_on(reason, at):
                self._hindrances[number] = one._replace(until=max(one.until, at))
                break
        else:
            self._hindrances.append(Hindrance(reason, at, at))
            del self._hindrances[:-_MOST_HINDRANCES]
        self._write_within(_WRITE_HINDRANCE_SEC)

    def forget_hindrances(self) -> None:
        """Forget what kept the robot from learning, after a run that it took part in."""
        self._hindrances.clear()
        self._write_within(_WRITE_EVERY_SEC)

    def add_run(self, shape: str, at: datetime, finished: FinishedRun | None) -> None:
        """Count a run that ended at a local time, and remember it if it came to its end."""
        shapes = self._weeks.setdefault(f"{at:%G-W%V}", Counter())
        shapes[shape if shape in shapes or len(shapes) < _MOST_SHAPES else "other"] += 1
        for week in sorted(self._weeks)[:-_MOST_WEEKS]:
            del self._weeks[week]
        if finished is not None:
            self.finished = finished
        self._write()

    def save(self, *, at_once: bool = False) -> None:
        """Write what waits, every ten seconds at most or at once."""
        if self._write_at < math.inf and (at_once or self._clock() >= self._write_at):
            self._write()

    def _write_within(self, seconds: float) -> None:
        """Let the file wait no longer than so many seconds after it was written last."""
        self._write_at = min(self._write_at, self._written_at + seconds)

    def _read(self, values: Any) -> None:
        finished = values["finished_run"]
        if finished is not None:
            ended_at, newest_id, labelled = (finished[name] for name in FinishedRun._fields)
            finished = FinishedRun(float(ended_at), int(newest_id), int(labelled))
            if not all(0 <= value < _OUT_OF_RANGE for value in finished):  # also NaN
                raise ValueError(f"finished_run has numbers out of range: {finished}")
        weeks = {
            str(week): Counter({str(shape): int(runs) for shape, runs in shapes.items()})
            for week, shapes in values["runs_by_week"].items()
        }
        self._verdicts.extend(map(str, values["verdicts"]))
        self._weeks, self.finished = weeks, finished

    def _write(self) -> None:
        self._written_at, self._write_at = self._clock(), math.inf
        values = {
            "finished_run": self.finished and self.finished._asdict(),
            "runs_by_week": self._weeks,
            "hindrances": [one._asdict() for one in self._hindrances],
            "verdicts": list(self._verdicts),
        }
        try:
            with staging_file(self._path) as staging:
                staging.write_text(json.dumps(values, indent=1), encoding="utf-8")
        except OSError as error:
            if not self._is_told:
                _logger.warning("%s cannot be written: %s", self._path, error)
            self._is_told = True


def _read_hindrances(values: Any) -> list[Hindrance]:
    """Return the hindrances of the file, without those at times that are none."""
    hindrances = [
        Hindrance(str(one["reason"]), float(one["since"]), float(one["until"])) for one in values
    ]
    return [one for one in hindrances if 0.0 <= one.since <= one.until <= _LATEST]
