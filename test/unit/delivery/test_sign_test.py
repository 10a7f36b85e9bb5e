"""McNemar's test against its definition."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import pytest

from fl_robot_ros.delivery.sign_test import one_sided, two_sided


def test_one_side_is_exact_for_few_images() -> None:
    for lost, gained in product(range(5), range(5)):
        total = lost + gained
        ways = sum(sum(answers) >= lost for answers in product((0, 1), repeat=total))
        assert one_sided(lost, gained) == float(Fraction(ways, 2**total))


def test_both_sides_are_twice_the_longer_one() -> None:
    assert two_sided(0, 0) == 1.0
    assert two_sided(0, 5) == two_sided(5, 0) == 2 / 2**5
    assert two_sided(9, 1) == pytest.approx(0.0215, abs=1e-4)


def test_many_images_are_close_to_the_exact_sum() -> None:
    for lost, gained in ((1050, 950), (1000, 1000), (950, 1050), (1100, 900)):
        total = lost + gained
        ways = sum(math.comb(total, count) for count in range(lost, total + 1))
        assert one_sided(lost, gained) == pytest.approx(float(Fraction(ways, 2**total)), rel=0.02)
    assert one_sided(60_000, 40_000) < 1e-100
