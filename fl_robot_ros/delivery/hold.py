"""What keeps a robot at its current model version."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.delivery.model_file import read_file
from fl_robot_ros.errors import ModelError
from fl_robot_ros.one_line import one_line

HOLD_FILE = "hold.json"

_MAX_BYTES = 64 * 1024


class HoldKind(str, Enum):
    """Why the current version stays; the value is what people read.

    PINNED: a person wants this version; nothing replaces it by itself.
    ROLLED_BACK: the version after it was taken back; only a better one replaces it by itself.
    """

    PINNED = "pinned"
    ROLLED_BACK = "rolled back"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Hold:
    """Why the current version stays.

    Attributes:
        kind: The kind.
        version: The version that is pinned, or the one that was taken back.
        reason: Why, in one line; "" where nobody said.
    """

    kind: HoldKind
    version: str
    reason: str = ""

    def __str__(self) -> str:
        verb = "is" if self.kind == HoldKind.PINNED else "was"
        text = f"{self.version} {verb} {self.kind}"
        return one_line(f"{text}: {self.reason}" if self.reason else text)

    def write(self, models_dir: Path) -> None:
        """Write it into the folder of the versions.

        Raises:
            OSError: The file cannot be written.
        """
        with staging_file(models_dir / HOLD_FILE) as file:
            file.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, models_dir: Path) -> Hold:
        """Read it from the folder of the versions.

        Raises:
            ModelError: The file cannot be read, or holds something else.
        """
        file = models_dir / HOLD_FILE
        content = read_file(file, _MAX_BYTES)
        try:
            values = json.loads(content.decode("utf-8"))
            hold = cls(HoldKind(values["kind"]), values["version"], values["reason"])
            if not (isinstance(hold.version, str) and isinstance(hold.reason, str)):
                raise ModelError("version and reason are no texts")
        except (ValueError, LookupError, TypeError, RecursionError, ModelError) as error:
            raise ModelError(f"{file} is damaged: {str(error)[:200]}") from error
        return hold
