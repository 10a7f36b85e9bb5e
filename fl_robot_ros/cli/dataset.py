"""`fl_dataset`: shows, checks, fills, labels and exports a robot's dataset."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

import cv2
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fl_robot_ros.capture.capture_options import pipeline_options, unused_names
from fl_robot_ros.capture.labels import clean_label
from fl_robot_ros.capture.topic_name import topic_matches
from fl_robot_ros.cli.client_params import read_capture_settings
from fl_robot_ros.cli.dataset_options import dataset_path, parse_options
from fl_robot_ros.config import ClientSettings, expand_path
from fl_robot_ros.dataset.check import CheckReport, check_dataset
from fl_robot_ros.dataset.labelling import (
    LabelChooser,
    apply_plan,
    choose_by_csv,
    choose_by_folder,
    choose_by_id,
    choose_by_time,
    plan_labels,
)
from fl_robot_ros.dataset.picture_export import export_folder, export_tfrecords
from fl_robot_ros.dataset.picture_import import import_pictures
from fl_robot_ros.dataset.sample_files import FolderLock, has_dataset
from fl_robot_ros.dataset.sheet import draw_dataset_sheet
from fl_robot_ros.dataset.store import Dataset
from fl_robot_ros.dataset.summary import DatasetSummary, LabelSummary, summarize, utc_text
from fl_robot_ros.errors import DatasetError, FlRobotError, SourceError

_RESERVE_BYTES = ClientSettings().disk_reserve_mb * 1_000_000
# Of a long list of what is wrong, so many are named.
_MAX_NAMED = 20

Advance = Callable[[int, "int | None"], None]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parse_options(args)
    for stream in (sys.stdout, sys.stderr):
        # A label that the terminal cannot show must not end the command.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    console = Console(highlight=False)
    try:
        return _COMMANDS[options.command](options, console)
    except (FlRobotError, OSError) as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain("interrupted; what was done stays done")
        return 130


def _info(options: argparse.Namespace, console: Console) -> int:
    with _open(options) as dataset:
        summary = summarize(dataset)
    if options.json:
        print(json.dumps(summary.to_json(), indent=2))
    else:
        _print_summary(summary, console)
    return 0


def _print_summary(summary: DatasetSummary, console: Console) -> None:
    title = escape(_shown(f"Dataset {summary.path}"))
    table = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE)
    table.add_column("label", overflow="fold", min_width=14)
    for name in ("images", "share", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("first (UTC)", no_wrap=True)
    table.add_column("last (UTC)", no_wrap=True)
    for item in summary.labels:
        table.add_row(escape(item.label), *_cells(item, summary.labelled_images))
    if summary.labels:
        table.add_section()
    table.add_row("[italic]to be labelled[/]", *_cells(summary.unlabelled, 0))
    console.print(table)
    cameras = {topic for item in (*summary.labels, summary.unlabelled) for topic in item.topics}
    if cameras:
        _say(console, f"from {', '.join(sorted(cameras))}")
    _say(
        console,
        f"{_number(summary.labelled_images, 'labelled image')} with "
        f"{_number(len(summary.labels), 'label')}, {summary.unlabelled.images:,} to be labelled; "
        f"{_size(summary.size_bytes)} in all, {_size(summary.free_bytes)} free on the disk",
    )
    if summary.verdicts:
        counts = ", ".join(f"{name} {count:,}" for name, count in summary.verdicts.items())
        _say(console, f"what became of every frame so far: {counts}")


def _cells(item: LabelSummary, total: int) -> list[str]:
    """Return a row of the table of labels, but for the name."""
    dates = [utc_text(time_ns)[:16].replace("T", " ") for time_ns in (item.first_ns, item.last_ns)]
    share = f"{item.images / total:.1%}" if total else ""
    return [f"{item.images:,}", share, _size(item.size_bytes), *dates]


def _check(options: argparse.Namespace, console: Console) -> int:
    if options.repair:
        return _repair(options, console)
    with _open(options) as dataset, _progress(console, "checking") as advance:
        report = check_dataset(dataset, on_file=advance)
    _print_check(report, console)
    if not report.is_sound:
        _say(console, "`fl_dataset check --repair` mends this; stop the robot's client before")
    return 0 if report.is_sound else 1


def _repair(options: argparse.Namespace, console: Console) -> int:
    path = _existing(options)
    # Asked before a new index may be made, beside one that somebody still has open.
    lock = FolderLock(path)
    try:
        with lock.alone() as is_alone:
            _refuse_unless(is_alone, path)
    finally:
        lock.close()
    with Dataset(path, allow_orphans=True) as dataset, dataset.alone() as is_alone:
        _refuse_unless(is_alone, path)
        with _progress(console, "checking") as advance:
            report = check_dataset(dataset, repair=True, on_file=advance)
    _print_check(report, console)
    if report.unrepaired:
        _name_some(console, "what could not be repaired", report.unrepaired)
    elif not report.is_sound:
        _say(console, "repaired")
    return 1 if report.unrepaired else 0


def _refuse_unless(is_alone: bool, path: Path) -> None:
    if not is_alone:
        raise DatasetError(
            f"dataset {path} is open in another process; stop the robot's client, or whoever "
            f"uses it, and repair again"
        )


def _print_check(report: CheckReport, console: Console) -> None:
    for what, paths in (
        ("files that are gone", [sample.path for sample in report.missing]),
        ("files with another picture than was stored", [item.path for item in report.altered]),
        ("files that are broken", [sample.path for sample in report.broken]),
        ("files that cannot be read", [sample.path for sample in report.unreadable]),
        ("pictures that the index does not know", report.stray),
        ("broken files that the index does not know", report.rubbish),
    ):
        _name_some(console, what, paths)
    if report.foreign:
        _say(console, f"{report.foreign} other files lie in the folder; they are left alone")
    if report.is_sound:
        _say(console, f"{_number(report.samples, 'sample')} checked, all is well")
    else:
        _say(console, f"{_number(report.samples, 'sample')} checked")


def _import(options: argparse.Namespace, console: Console) -> int:
    label = clean_label(options.label)
    paths = [expand_path(text) for text in options.paths]
    bags = [path for path in paths if _is_bag(path)]
    label_file = expand_path(options.labels) if options.labels else None
    if label and len(bags) == len(paths):
        raise SourceError("--label is for folders of pictures; give rosbags --labels FILE")
    if not bags and (label_file or options.topics or options.params):
        raise SourceError(
            "--labels, --topics and --params are for rosbags; there is none among the paths"
        )
    settings = _bag_settings(options, console)
    is_whole = True
    with Dataset(dataset_path(options)) as dataset:
        for path in paths:
            try:
                if path in bags:
                    is_whole &= _import_bag(settings, console, dataset, path, label_file)
                else:
                    is_whole &= _import_folder(console, dataset, path, label)
            except (FlRobotError, OSError) as error:
                # The others may do.
                _complain(str(error))
                is_whole = False
    return 0 if is_whole else 1


def _bag_settings(options: argparse.Namespace, console: Console) -> ClientSettings:
    """Return how bags are captured: by the parameter file, and by options that go before it.

    Raises:
        SettingError: The file or a value in it is wrong.
    """
    # Without image topics, all are read.
    settings = ClientSettings(image_topics=())
    if options.params:
        settings = read_capture_settings(expand_path(options.params))
    if options.topics:
        settings = replace(settings, image_topics=tuple(options.topics))
    if settings.image_topics:
        for line in unused_names(settings, settings.image_topics):
            _say(console, f"warning: {line}")
    return settings if options.rate is None else replace(settings, sample_rate_hz=options.rate)


def _is_bag(path: Path) -> bool:
    if not path.exists():
        raise SourceError(f"there is no {path}; expected a rosbag or a folder of pictures")
    try:
        # Imported late: this loads rosbags, which a robot need not have.
        from fl_robot_ros.capture.source import is_bag
    except ModuleNotFoundError as error:
        if path.is_dir():
            return False
        raise SourceError(f"{path} cannot be read: this needs the package {error.name}") from error
    if not is_bag(path) and not path.is_dir():
        raise SourceError(f"{path} is neither a rosbag nor a folder of pictures")
    return is_bag(path)


def _import_folder(console: Console, dataset: Dataset, path: Path, label: str) -> bool:
    """Import a folder of pictures; return whether all of it could be read."""
    with _progress(console, f"importing {path.name}") as advance:
        report = import_pictures(
            dataset, path, label=label, reserve_bytes=_RESERVE_BYTES, on_picture=advance
        )
    text = f"{path}: {_number(report.added.total(), 'new image')}{_by_label(report.added)}"
    if report.already_stored:
        text += f", {report.already_stored:,} there already"
    _say(console, text)
    names = [f"{file.relative_to(path)}: {reason}" for file, reason in report.unreadable]
    _name_some(console, "files that were not taken", names)
    left_out = [f"{file.relative_to(path)}: {reason}" for file, reason in report.left_out]
    _name_some(console, "left out", left_out)
    return not report.unreadable


def _import_bag(
    settings: ClientSettings,
    console: Console,
    dataset: Dataset,
    path: Path,
    label_file: Path | None,
) -> bool:
    """Import a rosbag; return whether all of it could be read and stored."""
    from fl_robot_ros.capture.label_ranges import find_sidecar
    from fl_robot_ros.capture.pipeline import CapturePipeline
    from fl_robot_ros.capture.verdicts import VERDICTS

    changes = {"keeps_unlabelled": True, "disk_reserve_bytes": _RESERVE_BYTES}
    pipeline = CapturePipeline(dataset, **{**pipeline_options(settings), **changes})
    topics = settings.image_topics or None
    label_file = label_file or find_sidecar(path)
    try:
        with _progress(console, f"importing {path.name}") as advance:
            total = _frames_promised(path, topics)
            report = pipeline.import_bag(
                path,
                topics,
                lambda frames: advance(frames, total),
                label_file,
                allows_fallback=False,
            )
    finally:
        pipeline.stop()
    found = ", ".join(report.topics) or "no topic"
    _say(console, f"{path}: {_number(report.frames_read, 'frame')} from {_shown(found)}")
    unseen = [
        name
        for name in topics or ()
        if not any(topic_matches(topic, (name,)) for topic in report.topics)
    ]
    if unseen:
        _say(console, f"{path} has no frame of {', '.join(unseen)}")
    if label_file:
        _say(console, f"  labels by time from {label_file}")
    verdicts = pipeline.verdicts
    for verdict, meaning in VERDICTS.items():
        if verdicts[verdict]:
            _say(console, f"  {verdicts[verdict]:,} {verdict.replace('_', ' ')}: {meaning}")
    if report.loss:
        _say(console, f"{path} could not be read whole: {_shown(report.loss)}")
    lost = verdicts["bad_encoding"] + verdicts["disk_full"] + verdicts["disk_error"]
    if lost and pipeline.last_error:
        _say(console, f"  the last reason: {_shown(pipeline.last_error)}")
    return not lost and not report.loss


def _frames_promised(path: Path, topics: Iterable[str] | None) -> int | None:
    """Return how many frames a bag's metadata promises, None where it does not say."""
    from fl_robot_ros.capture.bag_files import find_bag_files
    from fl_robot_ros.capture.bag_message import IMAGE_TYPES

    counts = [
        count
        for (topic, kind), count in find_bag_files(path).promised.items()
        if kind in IMAGE_TYPES and (topics is None or topic_matches(topic, topics))
    ]
    return sum(counts) or None


def _export(options: argparse.Namespace, console: Console) -> int:
    target = expand_path(options.to)
    export = export_tfrecords if options.format == "tfrecord" else export_folder
    with _open(options) as dataset, _progress(console, "exporting") as advance:
        report = export(dataset, target, with_unlabelled=options.unlabelled, on_picture=advance)
    count = _number(report.exported.total(), "image")
    _say(console, f"{count} exported to {target}{_by_label(report.exported)}")
    names = [f"{sample.path}: {reason}" for sample, reason in report.left_out]
    _name_some(console, "images left out (`fl_dataset check` tells more)", names)
    return 1 if report.left_out else 0


def _label(options: argparse.Namespace, console: Console) -> int:
    choose = _chooser(options)
    with _open(options) as dataset:
        plan = plan_labels(dataset, choose, with_labelled=options.all)
        with _progress(console, "labelling") as advance:
            changed = apply_plan(dataset, plan, advance)
    total = sum(changed.values())
    _say(console, f"{_number(total, 'sample')} changed{_by_label(changed)}")
    if plan.same:
        _say(console, f"{plan.same:,} had that label already")
    if plan.protected:
        _say(console, f"{plan.protected:,} have another label and were left alone; see --all")
    if total or plan.same or plan.protected:
        return 0
    _say(console, "no sample fits; `fl_dataset info` and `sheet` show what there is")
    return 1


def _chooser(options: argparse.Namespace) -> LabelChooser:
    if options.csv is not None:
        return choose_by_csv(expand_path(options.csv))
    if options.from_folder is not None:
        return choose_by_folder(expand_path(options.from_folder))
    label = clean_label(options.label)
    if options.id is not None:
        return choose_by_id(options.id, label)
    return choose_by_time(
        options.from_time or "", options.to_time or "", options.topic or "", label
    )


def _sheet(options: argparse.Namespace, console: Console) -> int:
    out = expand_path(options.out)
    label = None if options.label is None else clean_label(options.label)
    with _open(options) as dataset, _progress(console, "drawing") as advance:
        sheet, report = draw_dataset_sheet(
            dataset, per_label=options.per_label, label=label, on_picture=advance
        )
    is_done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    try:
        if not is_done:
            raise OSError("OpenCV cannot encode it")
        _write_whole(out, data.tobytes())
    except OSError as error:
        raise DatasetError(f"cannot write {out}: {error.strerror or error}") from error
    _say(console, f"contact sheet of {_number(report.labels, 'label')}: {out}")
    left_out = [f"label {name}" for name in report.left_out]
    _name_some(console, "labels without room on the sheet (see --label)", left_out)
    unreadable = [sample.path for sample in report.unreadable]
    _name_some(console, "pictures that cannot be read", unreadable)
    return 1 if unreadable else 0


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it: a failure leaves an older one as it was.

    Raises:
        OSError: It cannot be written.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # /dev/stdout, say, which must not be replaced
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


_COMMANDS = {
    "info": _info,
    "check": _check,
    "import": _import,
    "export": _export,
    "label": _label,
    "sheet": _sheet,
}


def _existing(options: argparse.Namespace) -> Path:
    """Return the dataset's folder.

    Raises:
        DatasetError: There is no dataset.
    """
    path = dataset_path(options)
    if not has_dataset(path):
        raise DatasetError(
            f"there is no dataset in {path}; name another with --dataset or --data-dir"
        )
    return path


def _open(options: argparse.Namespace) -> Dataset:
    return Dataset(_existing(options))


@contextmanager
def _progress(console: Console, what: str) -> Iterator[Advance]:
    """Show a bar while something lasts; yields what takes the number done and of all."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Into a file, a bar would only leave an empty line.
    is_shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        task = progress.add_task(_shown(what), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _name_some(console: Console, what: str, names: Sequence[str]) -> None:
    """Print how many there are of something, and the first of them."""
    if not names:
        return
    _say(console, f"{what}: {len(names):,}")
    for name in names[:_MAX_NAMED]:
        _say(console, f"  {_shown(name)}")
    if len(names) > _MAX_NAMED:
        _say(console, f"  and {len(names) - _MAX_NAMED:,} more")


def _by_label(counts: Mapping[str, int]) -> str:
    """Return counts by label as the end of a line."""
    texts = [f"{label or 'to be labelled'} {count:,}" for label, count in sorted(counts.items())]
    return f": {', '.join(texts)}" if texts else ""


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _size(size_bytes: int) -> str:
    """Return a size in the units that the settings use: 1 MB is a million bytes."""
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.1f} kB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f} GB"


def _shown(text: str, keep: str = "") -> str:
    """Return a name from a disk or a bag in printable characters."""
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def _say(console: Console, text: str) -> None:
    console.print(_shown(text), markup=False, soft_wrap=True)


def _complain(text: str) -> None:
    line = _shown(f"fl_dataset: {text}".replace("\n", " "))
    Console(stderr=True, highlight=False).print(line, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
