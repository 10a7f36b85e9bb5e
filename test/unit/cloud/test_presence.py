"""Which robots are connected."""

from __future__ import annotations

from itertools import count

from fl_robot_ros.cloud import presence as module
from fl_robot_ros.cloud.presence import Presence

A, B = ("10.0.0.1", 1000), ("10.0.0.1", 1001)


def test_a_robot_is_absent_from_the_end_of_its_last_connection() -> None:
    times = count(100.0)
    presence = Presence(lambda: next(times))
    presence.heard(b"robot", A)
    presence.heard(b"robot", B)
    presence.closed(A)
    assert presence.absent() == {}
    presence.closed(B)
    assert presence.absent() == {b"robot": 100.0}
    presence.closed(B)  # of somebody who never said a word
    presence.heard(b"robot", A)
    assert presence.absent() == {}


def test_a_connection_that_speaks_for_another_robot_belongs_to_that_one() -> None:
    presence = Presence(lambda: 5.0)
    presence.heard(b"first", A)
    presence.heard(b"second", A)
    assert presence.absent() == {b"first": 5.0}


def test_names_without_number_do_not_fill_the_memory() -> None:
    module_limit = module._MAX_ROBOTS
    presence = Presence()
    for number in range(module_limit + 50):
        presence.heard(b"%d" % number, ("10.0.0.1", number))
    assert len(presence._connections) == module_limit
    for number in range(module_limit + 50):
        presence.closed(("10.0.0.1", number))
    assert len(presence.absent()) == module_limit
