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
a robot's data folder, {DEFAULT_DATA_DIR} unless said otherwise. They work while
fl_client captures; only `check --repair` needs the dataset for itself.
`fl_dataset COMMAND --help` tells more.

examples:
  fl_dataset info
  fl_dataset check --repair
  fl_dataset import drive.mcap photos/ --label pallet
  fl_dataset sheet --out sheet.png
  fl_dataset export --to sorted/ --unlabelled
  fl_dataset label --from-folder sorted/

exit code: 0 done; 1 not all of it can be done, or something is wrong with the
dataset; 2 wrong command line; 130 interrupted
"""

_CHECK_EPILOG = """\
A repair forgets samples whose file is gone or no image any more, takes
images that the index does not know into it, with the label of their folder,
and removes broken files with a sample's name. A lost index is made anew; the
names of the cameras are lost with it. Other files are left alone, and so are
files that cannot be read, copies of a sample in another folder, and images
in a folder whose name is no label's: move them away, or mend their disk or
their rights.

exit code: 0 all is well, or was repaired; 1 something is wrong
"""

_IMPORT_EPILOG = """\
PATH is one of these:
  BAG     a rosbag2 folder, one .mcap or .db3 file, or a ROS 1 .bag. Labels
          come from a label file (--labels, or labels.csv or labels.yaml in the
          bag's folder, or drive.mcap.labels.csv beside drive.mcap) and from
          the topic fl/label.
  FOLDER  images, in one subfolder for each class, named like the class; or in
          split folders (train, valid, test, ...), with class folders in them
          or they in class folders; or with a list of labels beside them:
          metadata.csv or .jsonl (Hugging Face), _classes.csv (Roboflow).
          Images in none of these, or in "unlabelled", have no label. A folder
          named like a split is a class where it lies among class folders.
What has no label goes to the review pool. Importing again adds nothing twice,
and gives labels to what waits in the pool; a FOLDER of other images than an
export's is known by its name, so that under another name it is new.

Nothing is masked, and of a rosbag every frame at --rate is taken, unless
--params FILE says otherwise: the parameter file of a client, like
config/client.yaml. From it come image_topics, sample_rate_hz, jpeg_quality,
label_hold_sec, label_lookback_sec, topic_labels, privacy_masks and the limits
min_... and max_brightness, for rosbags alone; images of a FOLDER are never
masked. --topics and --rate go before the file.

JPEG files in colour are stored byte for byte, other images as JPEG. Like
frames of a camera, they are not turned as EXIF says. The capture time is when
a file was last changed; a file with a name as the dataset gives them keeps its
time, and with the samples.csv of an export its camera. The topic of the others
is import/FOLDER. Class folders have no folders of their own; a dataset is to be
exported first. Files are known by their content where the suffix says nothing.
Of 16-bit images with one channel (depth, thermal) the range is spread, as of
16UC1 from a rosbag.

examples:
  fl_dataset import drive.mcap --labels drive.csv --topics camera_left/image_raw --rate 2
  fl_dataset import drive.mcap --params my_client.yaml
  fl_dataset import photos/
  fl_dataset import pallets/ --label pallet
"""

_EXPORT_EPILOG = """\
formats:
  folder    one subfolder for each class, as
            keras.utils.image_dataset_from_directory reads them; characters of
            a label beyond letters, digits, "-", "_" and space are written as
            %XX
  tfrecord  files of tf.train.Example with image/encoded, image/format,
            image/filename, image/class/text and image/class/label, the number
            of the line in labels.txt, from 0; tfds.builder_from_directory
            reads them too, as splits "train" and "unlabelled"
Beside them, samples.csv has id, label, topic, stamp_ns, path and sha256 of
each image. `fl_dataset import FOLDER` brings a folder back, into another
dataset too, as it was.
"""

_LABEL_EPILOG = """\
Only the review pool gets labels, so that nothing is overwritten by mistake;
with --all labelled samples do too, and --as "" puts them back into the pool. T
is seconds since the epoch, or a date with its time zone.

FILE lists images and their labels, CSV or JSON Lines, as a labelling tool
writes it of an export's images: Label Studio's CSV, Roboflow's _classes.csv (a
column of 0 and 1 for each class), Hugging Face's metadata.csv. A column of
image files (image, filename, file_name, path, ...; paths or URLs) says which
samples are meant, by their file names; with a column sha256, as in an export's
samples.csv, by content too. A list without such a column goes by id. The label
is in the column label, or in the only one called choice, class, category, ...
The command says which columns it took. A list that contradicts itself changes
nothing. Or FILE has start,end,label[,topic].

examples:
  fl_dataset label --id 3,7-12 --as pallet
  fl_dataset label --from-time 2024-05-01T12:00:00Z --to-time 2024-05-01T12:05:00Z --as "stop sign"
  fl_dataset label --csv labels.csv --all
  fl_dataset export --to sorted/ --unlabelled    # then move files out of sorted/unlabelled/
  fl_dataset label --from-folder sorted/         # into folders named like their labels, and this
"""

_SHEET_EPILOG = """\
Of letters that OpenCV has no glyph for (before its version 5: all but ASCII),
accents are dropped, others become their code points, such as \\u6258. The number
under an image is its id for `fl_dataset label --id`.
"""


def parse_options(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; a wrong one ends the program with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="fl_dataset",
        description="Look after a robot's dataset: see, check, fill, label and export it.",
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
        help="the robot's data folder, whose dataset/ is meant (default: %(default)s)",
    )
    where.add_argument(
        "--dataset", type=full_path, metavar="FOLDER", help="the dataset's own folder"
    )
    return parser


def _add_info(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add_command(commands, "info", "Show labels, images, times, cameras and space.")
    parser.add_argument("--json", action="store_true", help="print JSON, with times in ns")


def _add_check(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "check", "Compare every file with the index.", epilog=_CHECK_EPILOG
    )
    parser.add_argument(
        "--repair", action="store_true", help="mend what is found; stop the robot's client first"
    )


def _add_import(commands: _Commands[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "import", "Take rosbags and folders of images in.", epilog=_IMPORT_EPILOG
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
        help="image topics of the rosbags, as front/image,rear/image (default: as --params says, "
        "else all)",
    )
    parser.add_argument(
        "--rate",
        type=setting_value(ClientSettings, "sample_rate_hz"),
        metavar="HZ",
        help="frames kept per second and camera of a rosbag "
        f"(default: as --params says, else {_RATE_HZ})",
    )
    parser.add_argument(
        "--params",
        type=full_path,
        metavar="FILE",
        help="parameter file of a client, whose masks, labels and limits apply to the rosbags",
    )
    parser.add_argument(
        "--label",
        type=_label,
        default="",
        metavar="NAME",
        help="label of images in no class folder",
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
        help="a folder that is new or empty",
    )
    parser.add_argument(
        "--format", choices=("folder", "tfrecord"), default="folder", help="default: %(default)s"
    )
    parser.add_argument(
        "--unlabelled", action="store_true", help="also the review pool, into unlabelled/"
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
        "--from-time", type=_time, metavar="T", help="samples captured from then on"
    )
    parser.add_argument("--to-time", type=_time, metavar="T", help="samples captured before")
    parser.add_argument("--topic", metavar="TOPIC", help="of the times, only this camera's")
    parser.add_argument(
        "--csv", type=full_path, metavar="FILE", help="samples and labels that a file names"
    )
    parser.add_argument(
        "--from-folder",
        type=full_path,
        metavar="FOLDER",
        help="samples whose exported files were sorted there",
    )
    parser.add_argument(
        "--as", dest="label", type=_label, metavar="LABEL", help="the label to give"
    )
    parser.add_argument("--all", action="store_true", help="change labelled samples too")
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
        help="most images of a label, spread over its time (default: %(default)s)",
    )
    parser.add_argument(
        "--label",
        type=_label,
        metavar="NAME",
        help='draw this label alone; "" for the review pool',
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
