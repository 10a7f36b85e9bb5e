"""Times in label files, exact to the ns."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import NamedTuple

from fl_robot_ros.errors import LabelError

# 3.2 years, or 3 March 1973: fewer seconds count from the start of the recording.
RELATIVE_LIMIT_SEC = 100_000_000

_NS_PER_SEC = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")
_ISO = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(:(?P<second>[0-5][0-9])(\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(Z|(?P<sign>[+-])(?P<zone_hour>[01][0-9]|2[0-3]):?(?P<zone_minute>[0-5][0-9]))"
)
_EXPECTED = (
    "expected seconds with up to 9 decimals, as 1714564800.25, or a date with its time zone, as "
    "2024-05-01T12:00:00.25Z"
)
_SHOWN_CHARACTERS = 40


class LabelTime(NamedTuple):
    """A time of a label file.

    Attributes:
        time_ns: The time in ns, since the epoch or the start of the recording.
        is_relative: Whether it counts from the start of the recording.
    """

    time_ns: int
    is_relative: bool


def parse_label_time(text: str) -> LabelTime:
    """Read a time: seconds, or a date of ISO 8601 with its time zone.

    Raises:
        LabelError: It is neither; the message begins with the text.
    """
    text = text.strip()
    # Decimal, because seconds since the epoch as a float are off by up to 0.2 us.
    if _SECONDS.fullmatch(text):
        time_ns = int(Decimal(text) * _NS_PER_SEC)
        return LabelTime(time_ns, time_ns < RELATIVE_LIMIT_SEC * _NS_PER_SEC)
    match = _ISO.fullmatch(text)
    if match is None:
        raise LabelError(f"{text[:_SHOWN_CHARACTERS]!r}; {_EXPECTED}")
    parts = match.groupdict(default="00")
    try:
        date = datetime.fromisoformat(f"{parts['date']}T00:00:00+00:00")
    except ValueError as error:
        raise LabelError(f"{text!r}, which is no date ({error}); {_EXPECTED}") from error
    zone_sec = int(parts["zone_hour"]) * 3600 + int(parts["zone_minute"]) * 60
    seconds = (
        (date - _EPOCH).days * 86_400
        + int(parts["hour"]) * 3600
        + int(parts["minute"]) * 60
        + int(parts["second"])
        + (zone_sec if parts["sign"] == "-" else -zone_sec)
    )
    fraction_ns = int(parts["fraction"].ljust(9, "0"))
    return LabelTime(seconds * _NS_PER_SEC + fraction_ns, is_relative=False)


def utc_text(time_ns: int | None) -> str:
    """Return a time as a label file takes it, 2024-05-01T12:00:07.5Z; "" for None.

    Args:
        time_ns: The time in ns since the epoch, within 64 bits.
    """
    if time_ns is None:
        return ""
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    date = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{fraction_ns:09d}".rstrip("0") if fraction_ns else ""
    return f"{date}{fraction}Z"


def utc_minute(time_ns: int | None) -> str:
    """Return a time to the minute, for people: 2024-05-01 12:00; "" for None."""
    return utc_text(time_ns)[:16].replace("T", " ")
