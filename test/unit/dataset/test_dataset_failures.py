"""The dataset where the disk is full, the power is cut or the process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from stored_samples import agree, new

from fl_robot_ros.dataset import sample_files
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.index_writer import IndexWriter
from fl_robot_ros.dataset.sample_files import StagingFolder
from fl_robot_ros.errors import DatasetError


def failing_at(call: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, but with a full disk at the n-th call and after."""
    count = 0

    def function(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count >= call:
            raise OSError(28, "No space left on device")
        return real(*arguments, **named)

    return function


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (os, "write"),
        (os, "fsync"),
        (os, "open"),
        (Path, "mkdir"),
        (sample_files, "sync"),
    ],
)
@pytest.mark.parametrize(("call", "count"), [(1, 6), (2, 6), (4, 6), (4, 60)])
def test_full_disk_stores_nothing_of_the_batch_and_leaves_nothing(
    tmp_path: Path, owner: Any, name: str, call: int, count: int
) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1)])
        batch = [new(number, f"class {number % 6}") for number in range(2, count + 2)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, failing_at(call, getattr(owner, name)))
            with pytest.raises(DatasetError, match="No space left"):
                dataset.add(batch)
        assert dataset.counts() == {"cat": 1}
        assert agree(dataset)
        assert dataset.add(batch) == ["kept"] * count
        assert agree(dataset)
    with Dataset(tmp_path) as dataset:
        assert dataset.recovered == 0


def test_batch_fails_when_nothing_of_it_is_still_being_written(tmp_path: Path) -> None:
    real_open = os.open
    opened: list[Any] = []
    others_write = threading.Event()

    def slow_or_full(path: Any, *arguments: Any, **named: Any) -> int:
        if ".jpg" not in str(path):
            return real_open(path, *arguments, **named)
        opened.append(path)
        if len(opened) == 1:
            assert others_write.wait(60), "only one thread wrote"
            raise OSError(28, "No space left on device")
        others_write.set()
        time.sleep(0.02)
        return real_open(path, *arguments, **named)

    with Dataset(tmp_path) as dataset:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", slow_or_full)
            with pytest.raises(DatasetError, match="No space left"):
                dataset.add([new(number) for number in range(60)])
            count = len(opened)
            time.sleep(0.2)
            assert len(opened) == count
        assert list((tmp_path / ".staging").iterdir()) == []


def test_full_disk_of_the_index_stores_nothing_of_the_batch(tmp_path: Path) -> None:
    with Dataset(tmp_path) as dataset:
        dataset.add([new(1)])
        dataset._index._writer.execute("PRAGMA max_page_count = 1")
        with pytest.raises(DatasetError, match="full"):
            dataset.add([new(number, topic="/" + "long" * 500) for number in range(2, 50)])
        assert agree(dataset)
        dataset._index._writer.execute("PRAGMA max_page_count = 1000000")
        assert dataset.add([new(2)]) == ["kept"]
        assert agree(dataset)


class PowerCut(BaseException):
    """Stands for the end of the process: nothing after it is done."""


# One more than it takes to store, relabel and remove.
STEPS = 22


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_power_cut_at_any_step_leaves_index_and_files_in_agreement(
    tmp_path: Path, step: int
) -> None:
    steps = 0

    def cut_before(real: Callable[..., Any]) -> Callable[..., Any]:
        def function(*arguments: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps >= step:
                raise PowerCut
            return real(*arguments, **named)

        return function

    dataset = Dataset(tmp_path)
    dataset.add([new(1), new(2), new(6), new(7)])
    batch = [new(number, label) for number, label in ((3, "cat"), (4, "dog"), (5, "dog"))]
    told = 0
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "write"), (os, "fsync"), (os, "rename"), (Path, "mkdir")):
            patch.setattr(owner, name, cut_before(getattr(owner, name)))
        patch.setattr(IndexWriter, "insert", cut_before(IndexWriter.insert))
        # Cleaning up is what a power cut does not let happen.
        patch.setattr(StagingFolder, "discard", lambda folder, paths: None)
        with suppress(PowerCut):
            dataset.add(batch)
            told = 1
            dataset.relabel([1], "bird")
            told = 2
            dataset.remove([2])
            told = 3
    assert (told == 3) == (step == STEPS)
    dataset._index._writer.close()
    dataset.close()
    with Dataset(tmp_path) as dataset:
        assert agree(dataset)
        labels = {sample.stamp_ns: sample.label for sample in dataset.samples()}
        assert {6, 7} <= set(labels)
        assert len({3, 4, 5} & set(labels)) in ((0, 3) if told < 1 else (3,))
        assert labels[1] in (("cat", "bird") if told < 2 else ("bird",))
        assert told < 3 or 2 not in labels
        dataset.add(batch)
        assert {3, 4, 5} <= {sample.stamp_ns for sample in dataset.samples()}
        assert agree(dataset)


@pytest.mark.parametrize("is_written", [False, True])
def test_an_interrupt_while_the_index_is_written_leaves_files_where_it_says(
    tmp_path: Path, is_written: bool
) -> None:
    commit = IndexWriter.commit

    def interrupted(index: IndexWriter) -> None:
        # Python raises it when the call that it came in has ended, or before it began.
        if is_written:
            commit(index)
        raise KeyboardInterrupt

    with Dataset(tmp_path) as dataset:
        dataset.add([new(1), new(2)])
        changes: tuple[Callable[[], object], ...] = (
            lambda: dataset.add([new(3)]),
            lambda: dataset.relabel([1], "dog"),
            lambda: dataset.remove([2]),
        )
        for change in changes:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(IndexWriter, "commit", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    change()
            assert agree(dataset)
        labels = {sample.stamp_ns: sample.label for sample in dataset.samples()}
        assert labels == ({1: "dog", 3: "cat"} if is_written else {1: "cat", 2: "cat"})


KILLED_WRITER = """
import sys
from pathlib import Path
from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.dataset.dataset import Dataset
dataset = Dataset(Path(sys.argv[1]))
for number in range(dataset.last_id(), 100000, 4):
    batch = [NewSample(f"c{n % 3}", "/camera", n, b"x" * 5000, 1, 1) for n in range(number, number + 4)]
    dataset.add(batch)
    print(*(item.stamp_ns for item in batch), flush=True)
"""  # noqa: E501


def test_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    for round_number in range(4):
        command = [sys.executable, "-c", KILLED_WRITER, str(tmp_path / "data")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(3 + 5 * round_number):
                acknowledged |= {int(word) for word in writer.stdout.readline().split()}
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout.read().splitlines():
                acknowledged |= {int(word) for word in line.split()}
        with Dataset(tmp_path / "data") as dataset:
            assert agree(dataset)
            stored = {sample.stamp_ns: sample.path for sample in dataset.samples()}
            assert acknowledged <= set(stored)
            assert all(
                (tmp_path / "data" / path).read_bytes() == b"x" * 5000 for path in stored.values()
            )
