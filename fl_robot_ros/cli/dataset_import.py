"""`fl_dataset import`: rosbags and folders of images on their way into a dataset."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fl_robot_ros.bags.bag_files import is_bag
from fl_robot_ros.bags.camera_choice import describe_other
from fl_robot_ros.capture.camera_settings import unused_names
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.cli.client_params import read_capture_settings
from fl_robot_ros.cli.dataset_options import dataset_path
from fl_robot_ros.cli.terminal import (
    by_label,
    number,
    print_error,
    print_names,
    progress,
    say,
    shown,
)
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.curation.image_import import import_images
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.errors import FlRobotError, SourceError
from fl_robot_ros.name_list import name_list
from fl_robot_ros.topic_name import topic_matches

_RESERVE_BYTES = ClientSettings().disk_reserve_mb * 1_000_000


def import_paths(options: argparse.Namespace, console: Console) -> int:
    """Take rosbags and folders in; return the exit code: 0 where all could be read and stored.

    Raises:
        FlRobotError: The dataset or an option cannot be used.
    """
    bags = {path for path in options.paths if _is_bag(path)}
    if options.label and bags == {*options.paths}:
        raise SourceError("--label is for folders of images; give rosbags --labels FILE")
    if not bags and (options.labels or options.topics or options.params):
        raise SourceError(
            "--labels, --topics and --params are for rosbags; there is none among the paths"
        )
    settings = _bag_settings(options, console)
    is_whole = True
    with _opened(dataset_path(options)) as dataset:
        for path in options.paths:
            try:
                if path in bags:
                    is_whole &= _import_bag(settings, console, dataset, path, options.labels)
                else:
                    is_whole &= _import_folder(console, dataset, path, options.label)
            except (FlRobotError, OSError) as error:
                # The others may do.
                print_error(f"fl_dataset: {error}")
                is_whole = False
    return 0 if is_whole else 1


@contextmanager
def _opened(path: Path) -> Iterator[Dataset]:
    """Open a dataset; a new one into which nothing came is removed again."""
    new_folders = [folder for folder in (path, *path.parents) if not folder.exists()]
    with Dataset(path) as dataset:
        try:
            yield dataset
        finally:
            if new_folders:
                _remove_if_empty(dataset, new_folders)


def _remove_if_empty(dataset: Dataset, new_folders: Sequence[Path]) -> None:
    """Remove a dataset without samples and the new folders above it, unless others use it."""
    with dataset.exclusive() as is_exclusive:
        if is_exclusive and not (len(dataset) or dataset.num_unlabelled()):
            shutil.rmtree(dataset.path)
            for folder in new_folders[1:]:
                with suppress(OSError):
                    folder.rmdir()


def _bag_settings(options: argparse.Namespace, console: Console) -> ClientSettings:
    """Return how bags are captured: by the parameter file, and by options that go before it.

    Raises:
        SettingError: The file or a value in it is wrong.
    """
    # Without image topics, all are read.
    settings = ClientSettings(image_topics=())
    if options.params:
        settings = read_capture_settings(options.params)
    if options.topics:
        settings = replace(settings, image_topics=tuple(options.topics))
    if settings.image_topics:
        for line in unused_names(settings, settings.image_topics):
            say(console, f"warning: {line}")
    return settings if options.rate is None else replace(settings, sample_rate_hz=options.rate)


def _is_bag(path: Path) -> bool:
    if not path.exists():
        raise SourceError(f"there is no {path}; expected a rosbag or a folder of images")
    if is_bag(path):
        return True
    if not path.is_dir():
        raise SourceError(f"{path} is neither a rosbag nor a folder of images")
    return False


def _import_folder(console: Console, dataset: Dataset, path: Path, label: str) -> bool:
    """Import a folder of images; return whether all of it could be read."""
    with progress(console, f"importing {path.name}") as on_progress:
        report = import_images(
            dataset, path, label=label, reserve_bytes=_RESERVE_BYTES, on_progress=on_progress
        )
    text = f"{path}: {number(report.added.total(), 'new image')}{by_label(report.added)}"
    if report.labelled:
        labelled = number(report.labelled.total(), "image")
        text += f", {labelled} of the review pool labelled{by_label(report.labelled)}"
    if report.already_stored:
        text += f", {report.already_stored:,} there already"
    say(console, text)
    names = [f"{file.relative_to(path)}: {kept}" for file, kept in report.otherwise_labelled]
    print_names(console, "there already with another label, which stays (see label --all)", names)
    names = [f"{file.relative_to(path)}: {reason}" for file, reason in report.unreadable]
    print_names(console, "files that were not taken", names)
    for line in report.remarks:
        say(console, f"  {line}")
    for line in report.left_out:
        say(console, f"  left out: {line}")
    return not report.unreadable


def _import_bag(
    settings: ClientSettings,
    console: Console,
    dataset: Dataset,
    path: Path,
    label_file: Path | None,
) -> bool:
    """Import a rosbag; return whether all of it could be read and stored."""
    from fl_robot_ros.capture.pipeline import CapturePipeline

    pipeline = CapturePipeline(dataset, settings)
    topics = settings.image_topics or None
    try:
        with progress(console, f"importing {path.name}") as on_progress:
            report = pipeline.import_bag(
                path,
                topics,
                lambda frames, expected: on_progress(frames, expected or None),
                label_file,
                allows_fallback=False,
            )
    finally:
        pipeline.stop()
    found = name_list(report.topics) or "no topic"
    say(console, f"{path}: {number(report.frames_read, 'frame')} from {shown(found)}")
    for other, chosen in report.other_topics.items():
        say(console, f"  {describe_other(other, chosen)}")
    seen = [*report.topics, *(topic.name for topic in report.other_topics)]
    unseen = [
        name for name in topics or () if not any(topic_matches(topic, (name,)) for topic in seen)
    ]
    if unseen:
        say(console, f"{path} has no frame of {name_list(unseen)}")
    if report.label_file:
        say(console, f"  labels by time from {report.label_file}")
    verdicts = pipeline.verdicts
    for verdict in Verdict:
        if verdicts[verdict]:
            name = verdict.value.replace("_", " ")
            say(console, f"  {verdicts[verdict]:,} {name}: {verdict.meaning}")
    if report.loss:
        say(console, f"{path} could not be read whole: {shown(report.loss)}")
    lost = sum(
        verdicts[name] for name in (Verdict.BAD_ENCODING, Verdict.DISK_FULL, Verdict.DISK_ERROR)
    )
    if lost and pipeline.last_error:
        say(console, f"  the last reason: {shown(pipeline.last_error)}")
    return not lost and not report.loss
