"""A message whose reply broke off on its way to a robot."""

from __future__ import annotations

from fl_robot_ros.cloud.repeated_requests import RepeatedRequests


def test_a_message_is_given_again_until_it_is_confirmed() -> None:
    given = RepeatedRequests()
    assert given.again(b"robot", b"node 1") is None
    given.keep(b"robot", b"node 1", b"message")
    assert given.again(b"another", b"node 1") is None
    assert given.again(b"robot", b"node 1") == b"message"
    given.confirm(b"robot")
    assert given.again(b"robot", b"node 1") is None


def test_a_message_that_is_never_confirmed_does_not_come_for_ever() -> None:
    given = RepeatedRequests()
    given.keep(b"robot", b"node 1", b"message")
    assert [given.again(b"robot", b"node 1") for _ in range(6)] == [b"message"] * 4 + [None] * 2


def test_a_new_connection_of_the_robot_and_another_superlink_get_no_old_message() -> None:
    given = RepeatedRequests()
    given.keep(b"robot", b"node 1", b"message")
    assert given.again(b"robot", b"node 2") is None
    given.clear()
    assert given.again(b"robot", b"node 1") is None
