"""`fl_predict`: runs a model on images, and shows its accuracy and its mistakes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from fl_robot_ros.cli.classifier import Classifier, open_classifier
from fl_robot_ros.cli.example_source import Example, open_examples
from fl_robot_ros.cli.model_comparison import Comparison
from fl_robot_ros.cli.option_type import full_path, topic_list, whole_number
from fl_robot_ros.cli.prediction_report import describe_comparison, describe_predictions
from fl_robot_ros.cli.prediction_tables import (
    print_accuracy,
    print_comparison,
    print_predictions,
)
from fl_robot_ros.cli.scoreboard import Outcome, Scoreboard
from fl_robot_ros.cli.sheet_file import write_sheet
from fl_robot_ros.cli.terminal import print_error, progress, quiet_libraries, say
from fl_robot_ros.curation.confusion_sheet import draw_confusion
from fl_robot_ros.curation.contact_sheet import Tile, draw_predictions, fit_image
from fl_robot_ros.errors import FlRobotError, SourceError

_SHEET_TILES = 64
_TILE_PX = 128

_DESCRIPTION = """\
Run a model on images: what it says of them, its accuracy, and which classes it
confuses, where labels are known. Two models can be compared.
"""

_EPILOG = """\
models:
  a version folder or a file in it; a .tflite file with its manifest.json beside
  it; round-NNNNN.keras of a server's checkpoints, with round-NNNNN.npz beside
  it, which needs TensorFlow

true labels come from:
  FOLDER   class folders, split folders (train, valid, test, ...) of them, or a
           metadata.csv or _classes.csv beside the images
  DATASET  a robot's own, such as ~/.ros/fl_robot_ros/dataset: its index
  BAG      as in an import, a label file (--labels, or labels.csv or labels.yaml
           in the bag's folder), then the topic fl/label (std_msgs/String), that
           of each robot for its own cameras
Images without a label, or with one that the model lacks, are predicted and do
not count towards the accuracy. A model knows the images that it was trained
on: --holdout leaves them out of a dataset.

examples:
  fl_predict --model models/current --images test/ --sheet sheet.png
  fl_predict --model models/v00003/model.tflite --images drive.mcap --limit 500
  fl_predict --model models/current --images dataset/ --holdout
  fl_predict --model models/v00003 --compare models/v00004 --images test/
  fl_predict --model models/current --images test/ --json | jq .accuracy

exit code: 0 done; 1 the model or the images cannot be used; 2 invalid command
line; 130 interrupted
"""


@dataclass
class _Run:
    """A model, and what it said so far."""

    model: Classifier
    outcomes: list[Outcome] = field(default_factory=list)

    def board(self) -> Scoreboard:
        return Scoreboard(self.model.classes, self.outcomes)


class _TileChoice:
    """Keeps up to a number of tiles, spread evenly over a stream of unknown length."""

    def __init__(self, limit: int) -> None:
        self.tiles: list[Tile] = []
        self._limit = limit
        self._stride = 1
        self._seen = 0

    def offer(self, example: Example, outcome: Outcome) -> None:
        """Keep every n-th example; beyond the limit, drop every second tile and double n."""
        if self._seen % self._stride == 0 and example.image is not None:
            image = fit_image(example.image, _TILE_PX)
            truth = example.label or None
            self.tiles.append(Tile(image, outcome.predicted, outcome.confidence, truth))
            if len(self.tiles) > self._limit:
                self.tiles = self.tiles[::2]
                self._stride *= 2
        self._seen += 1


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(args)
    try:
        _predict(options)
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
    add = parser.add_argument
    add("--model", type=full_path, required=True, metavar="PATH", help="the model, see below")
    add(
        "--images",
        type=full_path,
        required=True,
        metavar="PATH",
        help="an image, a folder of images, a robot's dataset, or a rosbag: its folder, or one "
        ".mcap, .db3 or .bag file",
    )
    add("--compare", type=full_path, metavar="PATH", help="a second model, for the same images")
    add(
        "--topics",
        type=topic_list,
        action="extend",
        metavar="TOPIC,...",
        help="image topics of the rosbag, as front/image,rear/image (default: all)",
    )
    add("--labels", type=full_path, metavar="FILE", help="label file of the rosbag, CSV or YAML")
    add(
        "--holdout",
        action="store_true",
        help="of a robot's dataset, only the images that its last run held out",
    )
    add(
        "--limit",
        type=whole_number(1),
        metavar="N",
        help="at most N images, a fair sample: of each label by its share, evenly over time",
    )
    add(
        "--sheet",
        type=full_path,
        metavar="PNG",
        help=f"write a contact sheet of up to {_SHEET_TILES} images: green right, red wrong, "
        "grey without a label",
    )
    add(
        "--confusion",
        type=full_path,
        metavar="PNG",
        help="draw the confusion matrix, with the recall of every class",
    )
    add(
        "--json",
        action="store_true",
        help="print one JSON document instead of tables; docs/models.md describes it",
    )
    return parser


def _predict(options: argparse.Namespace) -> None:
    """Predict every image, print the tables or the document, then write the sheets."""
    for sheet in (options.sheet, options.confusion):
        _check_place(sheet)
    choice = _TileChoice(_SHEET_TILES)
    with quiet_libraries() as terminal, progress(terminal, "predicting") as on_progress:
        runs = [_Run(open_classifier(options.model))]
        if options.compare:
            runs.append(_Run(open_classifier(options.compare)))
        images = open_examples(
            options.images,
            topics=options.topics,
            label_file=options.labels,
            is_holdout=options.holdout,
            limit=options.limit,
        )
        unreadable = 0
        with closing(images.examples()) as examples:
            for done, example in enumerate(examples, 1):
                on_progress(done, images.total)
                if example.image is None:
                    unreadable += 1
                    continue
                for run in runs:
                    said = run.model.predict(example.image)
                    outcome = Outcome(example.name, example.label, said.label, said.confidence)
                    run.outcomes.append(outcome)
                if options.sheet:
                    choice.offer(example, runs[0].outcomes[-1])
    if not runs[0].outcomes:
        raise SourceError(f"no image of {options.images} could be read")
    boards = [run.board() for run in runs]
    comparison = Comparison(*boards) if options.compare else None
    if options.json:
        document = describe_predictions(
            boards[0], runs[0].model, options.images, unreadable, images.notes
        )
        if comparison:
            document["compare"] = describe_comparison(comparison, runs[1].model)
        print(json.dumps(document))
    else:
        _print(Console(), images.notes, unreadable, runs, boards[0], comparison)
    # What was found out is shown even where a sheet cannot be drawn.
    _write_sheets(options, choice.tiles, boards[0], runs[0].model.version)


def _check_place(sheet: Path | None) -> None:
    """Check before the work that there is a folder for a sheet.

    Raises:
        SourceError: There is none.
    """
    if sheet is not None and not sheet.parent.is_dir():
        raise SourceError(f"cannot write {sheet}: there is no folder {sheet.parent}")


def _write_sheets(
    options: argparse.Namespace, tiles: Sequence[Tile], board: Scoreboard, version: str
) -> None:
    """Write the sheets that were asked for, and say so.

    Raises:
        SourceError: There is no confusion matrix, since no image has a label of the model.
        OSError: A file cannot be written.
    """
    written = []
    if options.sheet:
        write_sheet(options.sheet, draw_predictions(tiles, tile_px=_TILE_PX))
        written.append(f"contact sheet: {options.sheet}")
    if options.confusion:
        if board.accuracy is None:
            raise SourceError(
                f"no image of {options.images} has a label of the model; --confusion needs some"
            )
        title = f"{version}: {board.accuracy:.1%} of {len(board.compared):,} images right"
        write_sheet(options.confusion, draw_confusion(board.classes, board.confusion, title))
        written.append(f"confusion matrix: {options.confusion}")
    if not options.json:
        for line in written:
            say(Console(), line)


def _print(
    console: Console,
    notes: Sequence[str],
    unreadable: int,
    runs: Sequence[_Run],
    board: Scoreboard,
    comparison: Comparison | None,
) -> None:
    """Print the tables, the notes and the accuracy."""
    if comparison:
        names = [run.model.version for run in runs]
        if names[0] == names[1]:
            names = ["first", "second"]
        print_comparison(console, comparison, (names[0], names[1]))
    else:
        print_predictions(console, board)
    if unreadable:
        say(console, f"images that could not be read: {unreadable:,}")
    for note in notes:
        say(console, note)
    if not comparison:
        print_accuracy(console, board, runs[0].model.version)


if __name__ == "__main__":
    sys.exit(main())
