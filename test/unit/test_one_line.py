"""Text from elsewhere does nothing to a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.one_line import one_line


def test_control_codes_and_line_ends_are_gone() -> None:
    assert one_line("a\x1b[2J\r\nb\x00\tc\u2028d\x9b\n") == "a [2J b  c d"
    assert one_line("round 1  robots 2") == "round 1  robots 2"
    assert one_line("Grün 緑") == "Grün 緑"
    assert one_line("x" * 10_000_000, 10) == "xxxxxxx..."


@given(st.text(), st.integers(4, 50))
def test_it_is_one_printable_line_of_bounded_length(text: str, most: int) -> None:
    line = one_line(text, most)
    assert line.isprintable()
    assert len(line) <= most
    assert one_line(line, most) == line
