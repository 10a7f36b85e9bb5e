"""`fl_predict`: runs a model on a folder of images or a rosbag and shows how well it does."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fl_robot_ros.bags.bag import is_bag
from fl_robot_ros.capture.labelled_bag import LabelledBag
from fl_robot_ros.cli.option_type import full_path, topic_list, whole_number
from fl_robot_ros.cli.scoreboard import ClassScore, Scoreboard
from fl_robot_ros.cli.sheet_file import write_sheet
from fl_robot_ros.cli.terminal import print_error, progress, say, shown
from fl_robot_ros.curation.contact_sheet import Tile, draw_predictions, fit_image
from fl_robot_ros.delivery.predictor import Prediction, Predictor
from fl_robot_ros.errors import FlRobotError, FrameError, SourceError
from fl_robot_ros.images.decode import decode_frame
from fl_robot_ros.images.image_files import read_image
from fl_robot_ros.labels.image_folder import read_image_folder
from fl_robot_ros.name_list import count_list

_SHEET_TILES = 64
_TILE_PX = 128

_DESCRIPTION = """\
Run a model on images: a table of predictions, the accuracy where labels are
known, and a contact sheet.
"""

_EPILOG = """\
the labels that the predictions are compared with:
  FOLDER  class folders, split folders (train, valid, test, ...) of them, or a
          metadata.csv or _classes.csv beside the images
  BAG     as an import would give them: a label file (--labels, or labels.csv
          or labels.yaml in the bag's folder), then the topic fl/label
          (std_msgs/String), that of each robot for its own cameras
Images without a label, or with one that the model does not know, are
predicted and do not count towards the accuracy.

examples:
  fl_predict --model ~/.ros/fl_robot_ros/models/current --images test/ --sheet sheet.png
  fl_predict --model models/v00003/model.tflite --images drive.mcap --limit 500
  fl_predict --model models/current --images drive/ --topics robot1/camera/image_raw

exit code: 0 done; 1 the model or the images cannot be used; 2 wrong command
line; 130 interrupted
"""


@dataclass(frozen=True)
class Example:
    """One image to predict.

    Attributes:
        name: File name, or number in the bag.
        image: uint8 (H, W, 3), RGB; None where it could not be read.
        label: Its true label, "" where it is not known.
    """

    name: str
    image: NDArray[np.uint8] | None
    label: str


class _FolderImages:
    """The images of a folder, labelled as `read_image_folder` does."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        self._folder = folder
        found = read_image_folder(folder)
        self.notes = [*found.remarks, *(f"left out: {line}" for line in found.left_out_lines())]
        self._images = [(image.path, image.label) for image in found.images]
        if limit is not None and limit < len(self._images):
            count = len(self._images)
            self._images = [self._images[n * count // limit] for n in range(limit)]
        self.total = len(self._images)

    def examples(self) -> Generator[Example, None, None]:
        """Yield the images in the order of their names."""
        for path, label in self._images:
            yield Example(str(path.relative_to(self._folder)), read_image(path), label)


class _BagImages:
    """The frames of a bag, each with the label that an import would give it."""

    def __init__(self, bag: LabelledBag, limit: int | None) -> None:
        self._bag = bag
        self._limit = limit
        self._counts: Counter[str] = Counter()

    @property
    def total(self) -> int | None:
        """How many frames there will be, None where the bag does not say."""
        expected = self._bag.report.frames_expected or self._limit
        return min(expected, self._limit) if expected and self._limit else expected

    @property
    def notes(self) -> list[str]:
        """Lines about the topics that were read, where labels are from, and what was lost."""
        report = self._bag.report
        label_file = report.label_file
        read = ", ".join(f"{topic} ({count:,})" for topic, count in self._counts.items())
        lines = [f"image topics and their images: {read}"]
        left_out = [topic for topic in report.image_topics if topic not in self._counts]
        if left_out:
            lines[0] += f"; not read: {', '.join(left_out)}"
        if len(self._counts) > 1:
            lines[0] += "; see --topics"
        sources = [str(label_file)] if label_file and report.is_label_file_used else []
        sources += report.label_topics
        lines.append(f"labels: {', '.join(sources) or 'none'}")
        if label_file and not report.is_label_file_used:
            lines.append(
                f"label file {label_file} has the time of none of these images; its times are "
                f"compared with those of the frames' headers, or count from the beginning of the "
                f"recording"
            )
        if report.loss:
            lines.append(f"it could not be read whole: {report.loss}")
        return lines

    def examples(self) -> Generator[Example, None, None]:
        """Yield the frames in the order of recording."""
        with self._bag as bag:
            for count, (frame, label) in enumerate(bag.frames(), 1):
                self._counts[frame.topic] += 1
                name = f"{frame.topic} #{self._counts[frame.topic]}"
                try:
                    yield Example(name, decode_frame(frame), label)
                except FrameError:
                    yield Example(name, None, label)
                if count == self._limit:
                    return


class _TileChoice:
    """Keeps a bounded number of tiles, spread evenly over a stream of unknown length."""

    def __init__(self, limit: int) -> None:
        self.tiles: list[Tile] = []
        self._limit = limit
        self._stride = 1
        self._seen = 0

    def offer(self, example: Example, prediction: Prediction) -> None:
        """Keep every n-th; when there are too many, every second of them and half as often."""
        if self._seen % self._stride == 0 and example.image is not None:
            image = fit_image(example.image, _TILE_PX)
            truth = example.label or None
            self.tiles.append(Tile(image, prediction.label, prediction.confidence, truth))
            if len(self.tiles) > self._limit:
                self.tiles = self.tiles[::2]
                self._stride *= 2
        self._seen += 1


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(args)
    console = Console()
    try:
        _predict(options, console)
    except (FlRobotError, OSError) as error:
        print_error(f"fl_predict: {error}")
        return 1
    except KeyboardInterrupt:
        print_error("fl_predict: interrupted")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fl_predict",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        type=full_path,
        required=True,
        metavar="PATH",
        help="version folder (for example models/current), a file in it, or a .tflite file with "
        "its manifest.json beside it",
    )
    parser.add_argument(
        "--images",
        type=full_path,
        required=True,
        metavar="FOLDER|BAG",
        help="folder of images, or a rosbag: its folder, or one .mcap or .db3 file",
    )
    parser.add_argument(
        "--topics",
        type=topic_list,
        action="extend",
        metavar="TOPIC,...",
        help="image topics of the rosbag, as front/image,rear/image (default: all)",
    )
    parser.add_argument(
        "--labels", type=full_path, metavar="FILE", help="label file of the rosbag, CSV or YAML"
    )
    parser.add_argument(
        "--sheet",
        type=full_path,
        metavar="PNG",
        help=f"write a contact sheet of up to {_SHEET_TILES} images: green right, red wrong, "
        "grey without a label",
    )
    parser.add_argument(
        "--limit",
        type=whole_number(1),
        metavar="N",
        help="at most N images: spread evenly over a folder, the first of a bag",
    )
    return parser


def _predict(options: argparse.Namespace, console: Console) -> None:
    """Predict every image, then print the tables and write the sheet."""
    choice = _TileChoice(_SHEET_TILES)
    with progress(console, "predicting") as on_progress:
        predictor = Predictor(options.model)
        images = _images(options)
        board = Scoreboard(predictor.classes)
        with closing(images.examples()) as examples:
            for done, example in enumerate(examples, 1):
                on_progress(done, images.total)
                if example.image is None:
                    board.unreadable += 1
                    continue
                prediction = predictor.predict(example.image)
                board.add(example.name, example.label, prediction)
                if options.sheet:
                    choice.offer(example, prediction)
    if not board.images:
        raise SourceError(f"no image of {options.images} could be read")
    _print_tables(board, predictor, console)
    for note in images.notes:
        say(console, note)
    if options.sheet:
        write_sheet(options.sheet, draw_predictions(choice.tiles, tile_px=_TILE_PX))
        say(console, f"contact sheet: {options.sheet}")


def _images(options: argparse.Namespace) -> _FolderImages | _BagImages:
    path = options.images
    if not path.exists():
        raise SourceError(f"there is no {path}; expected a folder of images or a rosbag")
    if is_bag(path):
        return _BagImages(LabelledBag(path, options.topics, options.labels), options.limit)
    if options.topics or options.labels:
        raise SourceError(f"--topics and --labels are for rosbags; {path} is none")
    if not path.is_dir():
        raise SourceError(f"{path} is neither a folder of images nor a rosbag")
    return _FolderImages(path, options.limit)


def _print_tables(board: Scoreboard, predictor: Predictor, console: Console) -> None:
    has_labels = bool(board.by_label)
    first = Table(title=f"First {len(board.rows)} of {board.images} images", title_style="bold")
    first.add_column("image", overflow="fold")
    first.add_column("predicted")
    first.add_column("confidence", justify="right")
    if has_labels:
        first.add_column("label")
    for name, predicted, confidence, label in board.rows:
        cells = [escape(shown(name)), escape(predicted), f"{confidence:.1%}"]
        if has_labels:
            colour = "green" if label == predicted else "red"
            cells.append(f"[{colour}]{escape(label)}[/]" if label else "")
        first.add_row(*cells)
    console.print(first)
    if has_labels:
        console.print(_score_table("By label", board.by_label, predictor.classes, True))
    if board.by_prediction:
        title = "Without a known label, by prediction"
        console.print(_score_table(title, board.by_prediction, predictor.classes, False))
    if board.unreadable:
        say(console, f"images that could not be read: {board.unreadable:,}")
    if board.foreign:
        listed = count_list(board.foreign)
        say(console, f"labels that the model does not know, and their images: {listed}")
    if has_labels:
        share = board.right / board.compared
        console.print(
            f"accuracy {share:.1%} ({board.right} of {board.compared}), model {predictor.version}",
            style="bold",
            highlight=False,
        )
    else:
        console.print(f"no labels to compare with, model {predictor.version}", highlight=False)


def _score_table(
    title: str, scores: dict[str, ClassScore], classes: Sequence[str], with_accuracy: bool
) -> Table:
    """Return one row for each class that has images, in the model's order."""
    table = Table(title=title, title_style="bold")
    table.add_column("class")
    table.add_column("images", justify="right")
    if with_accuracy:
        table.add_column("right", justify="right")
        table.add_column("accuracy", justify="right")
    table.add_column("mean confidence", justify="right")
    for name in (name for name in classes if name in scores):
        score = scores[name]
        cells = [escape(name), str(score.images)]
        if with_accuracy:
            cells += [str(score.right), f"{score.right / score.images:.1%}"]
        table.add_row(*cells, f"{score.confidence_sum / score.images:.1%}")
    return table


if __name__ == "__main__":
    sys.exit(main())
