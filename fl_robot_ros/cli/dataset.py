"""`fl_dataset`: shows, checks, fills, labels and exports a robot's dataset."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fl_robot_ros.cli.dataset_import import import_paths
from fl_robot_ros.cli.dataset_options import dataset_path, parse_options
from fl_robot_ros.cli.sheet_file import write_sheet
from fl_robot_ros.cli.terminal import (
    by_label,
    number,
    print_error,
    print_names,
    progress,
    say,
    shown,
    size,
)
from fl_robot_ros.curation.check import CheckReport, check_dataset, repair_dataset
from fl_robot_ros.curation.dataset_sheet import draw_dataset_sheet
from fl_robot_ros.curation.image_export import export_folder
from fl_robot_ros.curation.labelling import (
    LabelById,
    LabelChooser,
    apply_plan,
    choose_by_time,
    plan_labels,
)
from fl_robot_ros.curation.listed_labels import choose_by_csv, choose_by_folder
from fl_robot_ros.curation.summary import DatasetSummary, LabelSummary, summarize
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.sample_files import has_dataset
from fl_robot_ros.dependency import require
from fl_robot_ros.errors import DatasetError, FlRobotError
from fl_robot_ros.labels.label_time import utc_minute
from fl_robot_ros.name_list import name_list


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
        print_error(f"fl_dataset: {error}")
        return 1
    except KeyboardInterrupt:
        print_error("fl_dataset: interrupted; what was done stays done")
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
    title = escape(shown(f"Dataset {summary.path}"))
    table = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE)
    table.padding = (0, 1, 0, 0)
    table.add_column("label", overflow="fold", min_width=14)
    for name in ("images", "share", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("first (UTC)", "last (UTC)"):
        table.add_column(name, min_width=10)
    for item in summary.labels:
        cells = _cells(item, summary.labelled_images)
        table.add_row(escape(item.label), *cells, end_section=item is summary.labels[-1])
    table.add_row("[italic]to be labelled[/]", *_cells(summary.unlabelled, 0))
    console.print(table)
    cameras = {topic for item in (*summary.labels, summary.unlabelled) for topic in item.topics}
    if cameras:
        say(console, f"from {name_list(sorted(cameras))}")
    say(
        console,
        f"{number(summary.labelled_images, 'labelled image')} with "
        f"{number(len(summary.labels), 'label')}, {summary.unlabelled.images:,} to be labelled; "
        f"{size(summary.size_bytes)} in all, {size(summary.free_bytes)} free on the disk",
    )
    if summary.verdicts:
        counts = ", ".join(f"{name} {count:,}" for name, count in summary.verdicts.items())
        say(console, f"what became of every frame so far: {counts}")


def _cells(item: LabelSummary, total: int) -> list[str]:
    """Return a row of the table of labels, but for the name."""
    share = f"{item.images / total:.1%}" if total else ""
    dates = utc_minute(item.first_ns), utc_minute(item.last_ns)
    return [f"{item.images:,}", share, size(item.size_bytes), *dates]


def _check(options: argparse.Namespace, console: Console) -> int:
    if options.repair:
        return _repair(options, console)
    with _open(options) as dataset, progress(console, "checking") as on_progress:
        report = check_dataset(dataset, on_progress=on_progress)
    _print_check(report, console)
    print_names(console, "what a repair cannot mend (see `check --help`)", report.unrepaired)
    if report.is_repairable:
        what = "the rest" if report.unrepaired else "this"
        say(console, f"`fl_dataset check --repair` mends {what}; stop the robot's client before")
    what = "folders that `fl_dataset check --repair` would rename like their labels"
    print_names(console, what, report.old_folders)
    return 0 if report.is_sound else 1


def _repair(options: argparse.Namespace, console: Console) -> int:
    with (
        Dataset(_existing(options), for_repair=True) as dataset,
        progress(console, "checking") as on_progress,
    ):
        report = repair_dataset(dataset, on_progress=on_progress)
    _print_check(report, console)
    if report.unrepaired:
        print_names(console, "what could not be repaired", report.unrepaired)
    elif not report.is_sound:
        say(console, "repaired")
    print_names(console, "folders renamed like their labels", report.old_folders)
    return 1 if report.unrepaired else 0


def _print_check(report: CheckReport, console: Console) -> None:
    for what, paths in (
        ("files that are gone", [sample.path for sample in report.missing]),
        ("files with another image than was stored", [item.path for item in report.altered]),
        ("files that are broken", [sample.path for sample in report.broken]),
        ("files that cannot be read", [sample.path for sample in report.unreadable]),
        ("images that the index does not know", report.stray),
        ("broken files that the index does not know", report.rubbish),
    ):
        print_names(console, what, paths)
    if report.foreign:
        say(console, f"{report.foreign} other files lie in the folder; they are left alone")
    if report.is_sound:
        say(console, f"{number(report.samples, 'sample')} checked, all is well")
    else:
        say(console, f"{number(report.samples, 'sample')} checked")


def _export(options: argparse.Namespace, console: Console) -> int:
    export = export_folder
    if options.format == "tfrecord":
        require(("tensorflow", "tensorflow_datasets"))
        # Each keeps one kind of TensorFlow's notes out of the terminal.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        from fl_robot_ros.learning.tfrecord_export import export_tfrecords as export
    with _open(options) as dataset, progress(console, "exporting") as on_progress:
        report = export(
            dataset, options.to, with_unlabelled=options.unlabelled, on_progress=on_progress
        )
    count = number(report.exported.total(), "image")
    say(console, f"{count} exported to {options.to}{by_label(report.exported)}")
    names = [f"{sample.path}: {reason}" for sample, reason in report.left_out]
    print_names(console, "images left out (`fl_dataset check` tells more)", names)
    return 1 if report.left_out else 0


def _label(options: argparse.Namespace, console: Console) -> int:
    choose = _chooser(options)
    with Dataset(_existing(options)) as dataset:
        plan = plan_labels(dataset, choose, with_labelled=options.all)
        if choose.description:
            say(console, choose.description)
        with progress(console, "labelling") as on_progress:
            changed = apply_plan(dataset, plan, on_progress)
    unmatched = choose.unmatched()
    total = sum(changed.values())
    say(console, f"{number(total, 'sample')} changed{by_label(changed)}")
    if plan.same:
        say(console, f"{plan.same:,} had that label already")
    if plan.protected:
        say(console, f"{plan.protected:,} have another label and were left alone; see --all")
    print_names(console, "without a sample", unmatched)
    if total or plan.same or plan.protected:
        return 1 if unmatched else 0
    say(console, "no sample fits; `fl_dataset info` and `sheet` show what there is")
    return 1


def _chooser(options: argparse.Namespace) -> LabelChooser:
    if options.csv is not None:
        return choose_by_csv(options.csv)
    if options.from_folder is not None:
        return choose_by_folder(options.from_folder)
    if options.id is not None:
        return LabelById(options.id, options.label)
    topic = options.topic or ""
    return choose_by_time(options.from_time, options.to_time, topic, options.label)


def _sheet(options: argparse.Namespace, console: Console) -> int:
    with _open(options) as dataset, progress(console, "drawing") as on_progress:
        sheet, report = draw_dataset_sheet(
            dataset, per_label=options.per_label, label=options.label, on_progress=on_progress
        )
    write_sheet(options.out, sheet)
    say(console, f"contact sheet of {number(report.labels, 'label')}: {options.out}")
    left_out = [f"label {name}" for name in report.left_out]
    print_names(console, "labels without room on the sheet (see --label)", left_out)
    unreadable = [sample.path for sample in report.unreadable]
    print_names(console, "images that cannot be read", unreadable)
    return 1 if unreadable else 0


_COMMANDS = {
    "info": _info,
    "check": _check,
    "import": import_paths,
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


def _open(options: argparse.Namespace) -> DatasetReader:
    return Dataset.open(_existing(options), read_only=True)


if __name__ == "__main__":
    sys.exit(main())
