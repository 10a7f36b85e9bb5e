"""The command line of `fl_dataset`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fl_robot_ros.cli.option_type import (
    full_path,
    option_type,
    setting_value,
    topic_list,
    whole_number,
)
from fl_robot_ros.config import DEFAULT_DATA_DIR, ClientSettings
from fl_robot_ros.curation.labelling import parse_ids, parse_label_stamp
from fl_robot_ros.labels.label_text import clean_label

_RATE_HZ = ClientSettings().sample_rate_hz

_EPILOG = f"""\
Every command takes --dataset FOLDER, or --data-dir FOLDER for the dataset/ in
a robot's data folder (default: {DEFAULT_DATA_DIR}). The commands work while
fl_client captures; only `check --repair` needs the dataset for itself.
`fl_dataset COMMAND --help` tells more.

examples:
  fl_dataset info
  fl_dataset check --repair
  fl_dataset import drive.mcap photos/ --label pallet
  fl_dataset sheet --out sheet.png
  fl_dataset export --to sorted/ --unlabelled
  fl_dataset label --from-folder sorted/

exit code: 0 done; 1 not everything could be done, or the dataset is damaged;
2 invalid command line; 130 interrupted
"""

_CHECK_EPILOG = """\
A repair makes index and files agree:
  - samples whose file is missing or no image any more leave the index
  - images that the index lacks enter it, with the label of their folder
  - broken files with the name of a sample are removed
  - label folders with the escaped names of an earlier version (%E6%89%98)
    are renamed like their labels
A lost index is created anew, without the names of the cameras.

A repair leaves other files alone, and these, which need your decision: files
that cannot be read, copies of a sample in a second folder, and images in a
folder that is not named like a label.

exit code: 0 the dataset is sound or was repaired; 1 faults remain
"""

_IMPORT_EPILOG = """\
PATH is a rosbag or a folder of images:
  BAG     a rosbag2 folder, one .mcap or .db3 file, or a ROS 1 .bag. Labels
          come from a label file (--labels, or labels.csv or labels.yaml in the
          bag's folder, or drive.mcap.labels.csv beside drive.mcap) and from
          the topic fl/label.
  FOLDER  images in one subfolder for each class, named like the class. Split
          folders (train, valid, test, ...) may hold class folders or lie in
          them. Or a list of labels lies beside the images: metadata.csv or
          .jsonl (Hugging Face), _classes.csv (Roboflow). Other images, and
          those in "unlabelled", have no label. A folder named like a split is
          a class if it lies among class folders.
Images without a label go to the review pool. A second import of the same data
adds nothing, and labels images of the pool. A folder is known by its name:
renamed, its images are new, except those of an export.

Of a rosbag, every frame at --rate is imported, and nothing is masked, unless
--params FILE names the parameter file of a client, like config/client.yaml.
Its image_topics, sample_rate_hz, jpeg_quality, label_hold_sec,
label_lookback_sec, topic_labels, privacy_masks and the limits min_... and
max_brightness then apply to rosbags. Images of a FOLDER are never masked.
--topics and --rate override the file.

Colour JPEG files are stored byte for byte, other images as JPEG, without
rotation by EXIF. 16-bit images of one channel (depth, thermal) are scaled to
their range, as 16UC1 from a rosbag. The capture time of an image is when its
file was last changed, and its topic import/FOLDER; images of an export keep
their time, and with its samples.csv their topic. Class folders must not be
nested. Export a dataset before you import it into another.

examples:
  fl_dataset import drive.mcap --labels drive.csv --topics camera_left/image_raw --rate 2
  fl_dataset import drive.mcap --params my_client.yaml
  fl_dataset import photos/
  fl_dataset import pallets/ --label pallet
"""

_EXPORT_EPILOG = """\
formats:
  folder    one subfolder for each class, named like the label, for
            keras.utils.image_dataset_from_directory
  tfrecord  files of tf.train.Example with image/encoded, image/format,
            image/filename, image/class/text and image/class/label, the number
            of the line in labels.txt, from 0; also for
            tfds.builder_from_directory, with the splits "train" and
            "unlabelled". Needs TensorFlow and tensorflow-datasets:
            pip install './fl_robot_ros[learning,tfds]'
samples.csv beside the images has id, label, topic, stamp_ns, path and sha256
of each image. `fl_dataset import FOLDER` restores an exported folder, also
into another dataset.
"""

_LABEL_EPILOG = """\
Without --all, only images of the review pool get a label, so that no label is
overwritten by mistake. --all --as "" moves images back to the pool. T is
seconds since the epoch, or a date with its time zone.

FILE is one of these:
  - a list of images and labels, CSV or JSON Lines, as a labelling tool writes
    it: Label Studio's CSV, Roboflow's _classes.csv (a column of 0 and 1 for
    each class), Hugging Face's metadata.csv. A column of image files (image,
    filename, file_name, path, ...; paths or URLs) identifies samples by file
    name, with a column sha256 (as in an export's samples.csv) also by content;
    a list without such a column goes by id. The label is in the column label,
    or in the only one called choice, class, category, ... The command says
    which columns it reads, and refuses a list that contradicts itself.
  - a label file with the columns start,end,label[,topic]

examples:
  fl_dataset label --id 3,7-12 --as pallet
  fl_dataset label --from-time 2024-05-01T12:00:00Z --to-time 2024-05-01T12:05:00Z --as "stop sign"
  fl_dataset label --csv labels.csv --all
  fl_dataset export --to sorted/ --unlabelled    # move files from sorted/unlabelled/
  fl_dataset label --from-folder sorted/         # to folders named like labels, then this
"""

_SHEET_EPILOG = """\
The number under an image is its id for `fl_dataset label --id`. Letters that
OpenCV cannot draw (before version 5, all but ASCII) lose their accent or
appear as code points, such as \\u6258.
"""


def parse_options(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; an invalid one ends the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="fl_dataset",
        description="Show, check, fill, label and export a robot's dataset.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_info(commands)
    _add_check(commands)
    _add_import(commands)
    _add_export(commands)
    label = _add_label(commands)
    _add_sheet(commands)
    options = parser.parse_args(args)
    if options.command == "label":
        _check_label_options(options, label)
    return options


def dataset_path(options: argparse.Namespace) -> Path:
    """Return the dataset's folder."""
    return Path(options.dataset or options.data_dir / "dataset")


_Commands = argparse._SubParsersAction  # argparse has no public name for it


def _add_command(
    commands: _Commands[argparse.ArgumentParser], name: str, summary: str, epilog: str = ""
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary[0].lower() + summary[1:].rstrip("."),
        description=summary,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--data-dir",
        type=full_path,
        default=DEFAULT_DATA_DIR,
        metavar="FOLDER",
        help="the robot's data folder, with dataset/ in it (default: %(default)s)",
    )
    where.add_argument(
        "--dataset", type=full_path, metavar="FOLDER", help="the dataset's own folder"
    )
    return parser


def _add_info(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add_command(commands, "info", "Show labels, images, times, cameras and disk space.")
    parser.add_argument("--json", action="store_true", help="print JSON, with times in ns")


def _add_check(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "check", "Compare every file with the index.", epilog=_CHECK_EPILOG
    )
    parser.add_argument(
        "--repair", action="store_true", help="repair faults; stop the robot's client first"
    )


def _add_import(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "import", "Import rosbags and folders of images.", epilog=_IMPORT_EPILOG
    )
    parser.add_argument(
        "paths", type=full_path, nargs="+", metavar="PATH", help="a rosbag or a folder"
    )
    parser.add_argument(
        "--labels", type=full_path, metavar="FILE", help="label file of the rosbags, CSV or YAML"
    )
    parser.add_argument(
        "--topics",
        type=topic_list,
        action="extend",
        metavar="TOPIC,...",
        help="image topics of the rosbags, as front/image,rear/image (default: those of --params, "
        "else all)",
    )
    parser.add_argument(
        "--rate",
        type=setting_value(ClientSettings, "sample_rate_hz"),
        metavar="HZ",
        help="frames kept per second and camera of a rosbag "
        f"(default: that of --params, else {_RATE_HZ})",
    )
    parser.add_argument(
        "--params",
        type=full_path,
        metavar="FILE",
        help="parameter file of a client, whose masks, labels and limits apply to rosbags",
    )
    parser.add_argument(
        "--label",
        type=_label,
        default="",
        metavar="NAME",
        help="label of images without a class folder",
    )


def _add_export(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "export", "Copy the images into a folder.", epilog=_EXPORT_EPILOG
    )
    parser.add_argument(
        "--to",
        type=full_path,
        required=True,
        metavar="FOLDER",
        help="a new or empty folder",
    )
    parser.add_argument(
        "--format", choices=("folder", "tfrecord"), default="folder", help="default: %(default)s"
    )
    parser.add_argument(
        "--unlabelled", action="store_true", help="include the review pool, in unlabelled/"
    )


def _add_label(commands: _Commands[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = _add_command(commands, "label", "Give samples a label.", epilog=_LABEL_EPILOG)
    parser.add_argument(
        "--id",
        type=option_type(parse_ids),
        metavar="IDS",
        help="samples with these ids, as 3,7-12",
    )
    parser.add_argument(
        "--from-time", type=_time, metavar="T", help="samples captured at this time or later"
    )
    parser.add_argument(
        "--to-time", type=_time, metavar="T", help="samples captured before this time"
    )
    parser.add_argument("--topic", metavar="TOPIC", help="with times, only samples of this topic")
    parser.add_argument(
        "--csv", type=full_path, metavar="FILE", help="samples and labels of a file"
    )
    parser.add_argument(
        "--from-folder",
        type=full_path,
        metavar="FOLDER",
        help="exported samples, sorted into class folders",
    )
    parser.add_argument(
        "--as", dest="label", type=_label, metavar="LABEL", help="the label to give"
    )
    parser.add_argument("--all", action="store_true", help="also change labelled samples")
    return parser


def _add_sheet(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "sheet", "Draw a contact sheet of all labels.", epilog=_SHEET_EPILOG
    )
    parser.add_argument(
        "--out", type=full_path, required=True, metavar="PNG", help="file to write"
    )
    parser.add_argument(
        "--per-label",
        type=whole_number(1),
        default=12,
        metavar="N",
        help="most images of a label, spread over time (default: %(default)s)",
    )
    parser.add_argument(
        "--label",
        type=_label,
        metavar="NAME",
        help='draw only this label; "" for the review pool',
    )


def _check_label_options(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    start_ns, end_ns = options.from_time, options.to_time
    by_time = start_ns is not None or end_ns is not None
    others = (options.id, options.csv, options.from_folder)
    if by_time + sum(way is not None for way in others) != 1:
        parser.error("expected one of --id, --from-time and --to-time, --csv, --from-folder")
    if (options.id is not None or by_time) != (options.label is not None):
        parser.error("--as LABEL belongs to --id and to times; files and folders name labels")
    if options.topic is not None and not by_time:
        parser.error("--topic belongs to --from-time and --to-time")
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        parser.error("--to-time is not after --from-time")


_label = option_type(clean_label)
_time = option_type(parse_label_stamp)
