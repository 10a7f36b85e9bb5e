"""Sampling frames by time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.capture.sampler import RateSampler

SEC = 1_000_000_000


def kept(rate_hz: float, stamps: list[int], topic: str = "/camera") -> list[int]:
    sampler = RateSampler(rate_hz)
    return [index for index, stamp in enumerate(stamps) if sampler.accept(topic, stamp)]


@pytest.mark.parametrize("jitter_ms", [0, 2, 6])
@pytest.mark.parametrize("seed", range(5))
def test_every_sixth_frame_of_30_hz_at_5_hz_in_spite_of_jitter(jitter_ms: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    jitter = random.integers(-jitter_ms, jitter_ms + 1, 900) * 1_000_000
    stamps = [17 * SEC + round(n * SEC / 30) + int(jitter[n]) for n in range(900)]
    assert kept(5.0, stamps) == list(range(0, 900, 6))


@pytest.mark.parametrize("camera_hz", [7.0, 12.5, 24.0, 29.97, 33.0, 60.0])
def test_rate_does_not_drift(camera_hz: float) -> None:
    stamps = [round(n * SEC / camera_hz) for n in range(round(60 * camera_hz))]
    assert len(kept(5.0, stamps)) == pytest.approx(300, abs=3)


@pytest.mark.parametrize("camera_hz", [1.0, 4.0, 5.0])
def test_slow_camera_loses_nothing(camera_hz: float) -> None:
    stamps = [round(n * SEC / camera_hz) for n in range(200)]
    assert len(kept(5.0, stamps)) == 200


def test_full_rate_keeps_every_frame() -> None:
    assert len(kept(1000.0, [round(n * SEC / 30) for n in range(300)])) == 300


def test_topics_do_not_share_a_grid() -> None:
    sampler = RateSampler(1.0)
    assert sampler.accept("/left", 0)
    assert sampler.accept("/right", 100)
    assert not sampler.accept("/left", 200)


def test_jump_back_starts_anew() -> None:
    sampler = RateSampler(1.0)
    assert sampler.accept("/camera", 100 * SEC)
    assert sampler.accept("/camera", 3 * SEC)
    assert not sampler.accept("/camera", 3 * SEC + SEC // 10)
    assert sampler.accept("/camera", 4 * SEC)


def test_jump_forward_does_not_bring_a_burst() -> None:
    sampler = RateSampler(1.0)
    sampler.accept("/camera", 0)
    stamps = [1000 * SEC + n * SEC // 10 for n in range(11)]
    assert sum(sampler.accept("/camera", stamp) for stamp in stamps) == 2


def test_repeated_and_swapped_frames_are_not_kept_twice() -> None:
    sampler = RateSampler(5.0)
    stamps = [0, 0, 33, 66, 50, 100, 133, 166, 200, 200, 190]
    assert [sampler.accept("/camera", stamp * 1_000_000) for stamp in stamps].count(True) == 2


@given(st.lists(st.integers(-(2**62), 2**62), max_size=50), st.floats(0.001, 1000.0))
def test_any_stamps_are_taken(stamps: list[int], rate_hz: float) -> None:
    sampler = RateSampler(rate_hz)
    verdicts = [sampler.accept("/camera", stamp) for stamp in stamps]
    assert not verdicts or verdicts[0]
