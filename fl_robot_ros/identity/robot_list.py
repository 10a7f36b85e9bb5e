"""The list of enrolled robots, `robots.json` in the operator's key folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fl_robot_ros.errors import IdentityError
from fl_robot_ros.identity.enrolment import key_id
from fl_robot_ros.identity.private_file import replace_private_file
from fl_robot_ros.identity.robot_name import checked_robot_name

ROBOTS_FILE = "robots.json"
_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class EnrolledRobot:
    """One enrolment of a robot; a robot that is enrolled anew has several.

    Attributes:
        name: The robot's name.
        public_key: Its public key as PEM.
        created: Time of the enrolment, ISO 8601 in UTC.
        revoked: Time of the revocation, ISO 8601 in UTC; "" for a robot that may join.
    """

    name: str
    public_key: str
    created: str
    revoked: str = ""

    @property
    def key_id(self) -> str:
        """Short name of the robot's key: 16 hexadecimal digits."""
        return key_id(self.public_key.encode())


class RobotList:
    """All enrolments, in the order in which they were made."""

    def __init__(self, robots: tuple[EnrolledRobot, ...] = ()) -> None:
        """Take the enrolments."""
        self.robots = robots
        self._by_key = {robot.public_key.encode(): robot for robot in robots}

    def by_key(self, public_key: bytes) -> EnrolledRobot | None:
        """Return the enrolment with a public key, as PEM; None where there is none."""
        return self._by_key.get(public_key)

    def active(self, name: str) -> EnrolledRobot | None:
        """Return the enrolment of a name that is not revoked; upper and lower case count alike."""
        for robot in self.robots:
            if robot.name.casefold() == name.casefold() and not robot.revoked:
                return robot
        return None

    def added(self, robot: EnrolledRobot) -> RobotList:
        """Return the list with one more enrolment.

        Raises:
            IdentityError: A robot of that name is enrolled.
        """
        existing = self.active(robot.name)
        if existing is not None:
            raise IdentityError(
                f"a robot {existing.name!r} is enrolled already, since {existing.created}; revoke "
                f"it first ('fl_keys revoke {existing.name}'), or choose another name"
            )
        return RobotList((*self.robots, robot))

    def revoked(self, name: str, time: str) -> RobotList:
        """Return the list with one robot revoked.

        Args:
            name: The robot's name.
            time: ISO 8601 in UTC.

        Raises:
            IdentityError: No robot of that name is enrolled.
        """
        robot = self.active(name)
        if robot is None:
            before = [one for one in self.robots if one.name.casefold() == name.casefold()]
            reason = f"was revoked at {before[-1].revoked}" if before else "was never enrolled"
            raise IdentityError(f"robot {name[:80]!r} {reason}; 'fl_keys list' shows all robots")
        changed = replace(robot, revoked=time)
        return RobotList(tuple(changed if one is robot else one for one in self.robots))

    @classmethod
    def load(cls, path: Path) -> RobotList:
        """Read the list.

        Raises:
            IdentityError: The file is missing or damaged.
        """
        try:
            values: Any = json.loads(path.read_text(encoding="utf-8"))
            if values["schema_version"] != _SCHEMA_VERSION:
                raise IdentityError(f"its schema_version is {values['schema_version']!r}")
            return cls(tuple(map(_read_robot, values["robots"])))
        except OSError as error:
            raise IdentityError(
                f"the list of robots {path} cannot be read: {error.strerror}"
            ) from error
        except (ValueError, KeyError, TypeError, IdentityError) as error:
            raise IdentityError(f"{path} is no list of robots: {error}") from error

    def write(self, path: Path) -> None:
        """Write the list.

        Raises:
            IdentityError: The file cannot be written.
        """
        robots = [asdict(robot) for robot in self.robots]
        text = json.dumps({"schema_version": _SCHEMA_VERSION, "robots": robots}, indent=2)
        replace_private_file(path, f"{text}\n".encode())


class RobotNames:
    """Finds a robot's name by its public key, also that of a robot that was enrolled just now."""

    def __init__(self, file: Path) -> None:
        """Take the file of the list."""
        self._file = file
        self._names: dict[bytes, str] = {}

    def __call__(self, public_key: bytes) -> str:
        """Return the name of the robot with a public key, as PEM; the key's where it has none."""
        if public_key not in self._names:
            try:
                robots = RobotList.load(self._file).robots
            except IdentityError:
                robots = ()  # the gate, which let the robot in, tells the operator
            self._names |= {robot.public_key.encode(): robot.name for robot in robots}
        return self._names.get(public_key, f"key {key_id(public_key)}")


def _read_robot(values: Mapping[str, Any]) -> EnrolledRobot:
    robot = EnrolledRobot(**values)
    if not all(isinstance(value, str) for value in asdict(robot).values()):
        raise IdentityError("an entry is not text")
    checked_robot_name(robot.name)
    return robot
