"""Names in one line."""

from __future__ import annotations

from fl_robot_ros.name_list import count_list, name_list


def test_a_long_list_is_cut_and_counted() -> None:
    assert name_list([]) == ""
    assert name_list(["a", 2]) == "a, 2"
    assert name_list("abc", most=3) == "a, b, c"
    assert name_list("abcd", most=3) == "a, b, c and 1 more"
    assert name_list(map(str, range(1300))) == "0, 1, 2, 3, 4, 5, 6, 7 and 1,292 more"


def test_counts_are_listed_by_name() -> None:
    assert count_list({"dog": 1, "cat": 2000}) == "'cat' (2,000), 'dog' (1)"
    text = count_list({f"label {number:03}": 1 for number in range(1000)})
    assert text.startswith("'label 000' (1), 'label 001' (1), ")
    assert text.endswith("'label 007' (1) and 992 more")
