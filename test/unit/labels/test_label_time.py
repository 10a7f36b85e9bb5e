"""Times of label files."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.labels.label_time import parse_label_time

SEC = 1_000_000_000


@given(st.integers(0, 10**19 - 1))
def test_seconds_are_read_exactly(time_ns: int) -> None:
    text = f"{time_ns // SEC}.{time_ns % SEC:09}"
    assert parse_label_time(text) == (time_ns, time_ns < 10**17)


@given(
    st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)),
    st.integers(-23 * 60, 23 * 60),
    st.integers(0, SEC - 1),
)
def test_dates_are_read_exactly(when: datetime.datetime, zone_minutes: int, part_ns: int) -> None:
    zone = datetime.timezone(datetime.timedelta(minutes=zone_minutes))
    local = when.replace(microsecond=0, tzinfo=zone)
    iso = local.isoformat()
    text = f"{iso[:19]}.{part_ns:09}{iso[19:]}"
    assert parse_label_time(text) == (round(local.timestamp()) * SEC + part_ns, False)
