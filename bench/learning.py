"""What a fleet learns with which settings, and what a harmful robot does to it.

Four robots, in one process: the product's training and aggregation, without network. They learn
handwritten digits (scikit-learn's, 16x16 px): each sees 4 of 10, or all, or three see 20 images.
`--photographs` adds a folder with train/ and test/, each with a folder of images for every class.
The tables show accuracies on images that no robot trained on: the seeds' mean, and the worst.

    .venv/bin/python bench/learning.py --seeds 3 --photographs FOLDER
    .venv/bin/python bench/learning.py --seeds 3 --attacks
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import logging

import numpy as np
from flwr.app import Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from sklearn.datasets import load_digits

from fl_robot_ros.cloud.aggregation import Aggregation
from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.cloud.update_check import check_reply
from fl_robot_ros.config import ServerSettings
from fl_robot_ros.federation import protocol
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.learning.initial_model import initial_model
from fl_robot_ros.learning.trainer import Trainer
from fl_robot_ros.learning.training_data import LabelledImages, load_images

ROBOTS = 4
SEEN_CLASSES = 4
OF_FLOWER = {"strategy": "FedAvg", "loss": "plain", "local_epochs": 1, "learning_rate": 0.001}
LONGER = {"local_epochs": 3, "learning_rate": 0.003}
NO_LIMITS = {"norm_limit": 0.0, "weight_limit": 0.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "mean, 1 epoch at 0.001": OF_FLOWER,
    "mean, 3 epochs at 0.003": {**OF_FLOWER, **LONGER},
    "with momentum": {**OF_FLOWER, **LONGER, "strategy": "FedAvgM"},
    "with the calibrated loss": {**OF_FLOWER, **LONGER, "loss": "calibrated"},
    "with both: the defaults": {},
    "defaults, FedMedian": {"strategy": "FedMedian"},
    "defaults, FedTrimmedAvg": {"strategy": "FedTrimmedAvg"},
    "defaults, Krum": {"strategy": "Krum"},
    "defaults, MultiKrum": {"strategy": "MultiKrum"},
}
DEFENCES: dict[str, dict[str, Any]] = {
    "no limits": NO_LIMITS,
    "defaults": {},
    "MultiKrum": {"strategy": "MultiKrum"},
}


@dataclass(frozen=True)
class Task:
    """Images to learn, and images to test with."""

    preprocessing: Preprocessing
    classes: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages


@dataclass(frozen=True)
class Attack:
    """What the first robot does instead of its part.

    Attributes:
        scale: Factor of its update.
        claim: Images that it claims; 0: those that it has.
        flips: Whether it learns every class as another.
    """

    scale: float = 1.0
    claim: int = 0
    flips: bool = False


ATTACKS = {
    "none": Attack(),
    "update x 1000": Attack(scale=1000.0),
    "update x 10": Attack(scale=10.0),
    "update x -10": Attack(scale=-10.0),
    "update x -1": Attack(scale=-1.0),
    "10^6 images claimed": Attack(claim=1_000_000),
    "both x 1000 and 10^6": Attack(scale=1000.0, claim=1_000_000),
    "labels flipped": Attack(flips=True),
}


def digits(seed: int) -> Task:
    """Return scikit-learn's handwritten digits, a fifth of them for testing."""
    scans: Any = load_digits()
    preprocessing = Preprocessing(16, 16, 1, 1 / 255)
    grey = (scans.images * (255 / 16)).astype(np.uint8)
    images = np.stack([preprocessing.resize(np.repeat(i[..., None], 3, axis=2)) for i in grey])
    order = np.random.default_rng(seed).permutation(len(images))
    test, train = np.split(order, [len(order) // 5])
    return Task(
        preprocessing,
        tuple("0123456789"),
        *(_part(images, scans.target, p) for p in (train, test)),
    )


def photographs(folder: Path) -> Task:
    """Return the images in a folder."""
    preprocessing = Preprocessing(32, 32, 3, 1 / 255)
    classes = tuple(sorted(path.name for path in (folder / "train").iterdir() if path.is_dir()))
    parts = [
        load_images(
            [(f, name) for name in classes for f in sorted((folder / part / name).iterdir())],
            classes,
            preprocessing,
        )
        for part in ("train", "test")
    ]
    return Task(preprocessing, classes, *parts)


def _part(images: Any, labels: Any, numbers: Any) -> LabelledImages:
    return LabelledImages(images[numbers], np.asarray(labels[numbers], np.int32))


def split(task: Task, kind: str, seed: int) -> list[LabelledImages]:
    """Return each robot's images.

    Args:
        task: The images.
        kind: "skewed": a robot sees 4 classes; "even": all alike; "sizes": three robots have 20
            images and the last one the rest.
        seed: Of the draw.
    """
    images, labels = task.train.images, task.train.labels
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    if kind == "even":
        return [_part(images, labels, part) for part in np.array_split(order, ROBOTS)]
    if kind == "sizes":
        return [_part(images, labels, part) for part in np.split(order, [20, 40, 60])]
    parts: list[list[Any]] = [[] for _ in range(ROBOTS)]
    for number in range(len(task.classes)):
        sees = [r for r in range(ROBOTS) if (number - 3 * r) % len(task.classes) < SEEN_CLASSES]
        mine = order[labels[order] == number]
        for robot, part in zip(sees, np.array_split(mine, len(sees)), strict=True):
            parts[robot].append(part)
    return [_part(images, labels, np.concatenate(part)) for part in parts]


class Fleet:
    """Robots that share one trainer: a trainer in its tenth round is as good as new."""

    def __init__(self, task: Task, robots: Sequence[LabelledImages], seed: int) -> None:
        """Make the first model."""
        self._task = task
        self._robots = robots
        self._seed = seed
        self._architecture, self._start = initial_model("", task.preprocessing, task.classes, seed)
        self._trainer = Trainer(self._architecture, task.preprocessing, task.classes)

    def learn(self, rounds: int, attack: Attack, **changes: Any) -> tuple[float, int]:
        """Return the accuracy after some rounds, and how many updates were refused."""
        settings = ServerSettings(classes=self._task.classes, min_nodes=ROBOTS, **changes)
        aggregation = Aggregation(settings)
        model = GlobalModel(
            0, self._start, self._architecture, self._task.classes, self._task.preprocessing
        )
        refused = 0
        for number in range(1, rounds + 1):
            model = replace(model, server_round=number)
            replies = [
                check_reply(
                    node_id,
                    self._reply(node_id, model, settings, Attack() if node_id else attack),
                    model.weights.size,
                    settings.max_examples,
                )
                for node_id in range(len(self._robots))
            ]
            replies = aggregation.compare(model, replies)
            accepted = [reply for reply in replies if reply.accepted]
            refused += len(replies) - len(accepted)
            model = aggregation.aggregate(model, accepted)
        return self._trainer.evaluate(model.weights, self._task.test).accuracy, refused

    def trained(self, data: LabelledImages, epochs: int) -> float:
        """Return the accuracy of the first model trained in one place."""
        settings = ServerSettings(classes=self._task.classes)
        result = self._trainer.train(
            self._start,
            data,
            epochs=epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=self._seed,
        )
        return self._trainer.evaluate(result.weights, self._task.test).accuracy

    def _reply(
        self, node_id: int, model: GlobalModel, settings: ServerSettings, attack: Attack
    ) -> Message:
        data = self._robots[node_id]
        if attack.flips:
            data = replace(data, labels=len(self._task.classes) - 1 - data.labels)
        result = self._trainer.train(
            model.weights,
            data,
            epochs=settings.local_epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=self._seed + model.server_round,
            calibrated=settings.loss == "calibrated",
        )
        weights = model.weights + np.float32(attack.scale) * (result.weights - model.weights)
        metrics: protocol.Metrics = {
            protocol.NUM_EXAMPLES: attack.claim or result.num_examples,
            protocol.LOSS: result.loss,
            protocol.ACCURACY: result.accuracy,
            protocol.SECONDS: result.seconds,
        }
        request = Message(RecordDict(), dst_node_id=node_id, message_type="train")
        return protocol.reply(request, metrics, weights, {protocol.ROBOT: f"robot{node_id}"})


def show_learning(columns: dict[str, Callable[[int], Fleet]], rounds: int, seeds: int) -> None:
    """Print what a fleet learns with each of the settings."""
    print(
        f"{'accuracy after ' + str(rounds) + ' rounds':<28}" + "".join(f"{c:>22}" for c in columns)
    )
    fleets = {name: [make(seed) for seed in range(seeds)] for name, make in columns.items()}
    for name, changes in SETTINGS.items():
        cells = []
        for made in fleets.values():
            found = [fleet.learn(rounds, Attack(), **changes) for fleet in made]
            cells.append(_cell([accuracy for accuracy, _ in found], sum(n for _, n in found)))
        print(f"{name:<28}" + "".join(cells), flush=True)


def show_attacks(fleets: Sequence[Fleet], rounds: int) -> None:
    """Print what is left with a harmful robot, with each of the defences."""
    print(f"{'one robot of four':<28}" + "".join(f"{name:>22}" for name in DEFENCES))
    for name, attack in ATTACKS.items():
        cells = []
        for changes in DEFENCES.values():
            found = [fleet.learn(rounds, attack, **changes) for fleet in fleets]
            cells.append(_cell([accuracy for accuracy, _ in found], sum(n for _, n in found)))
        print(f"{name:<28}" + "".join(cells), flush=True)


def _cell(accuracies: Sequence[float], refused: int) -> str:
    """Return the mean and the worst of some accuracies, and how many updates were refused."""
    text = f"{np.mean(accuracies):.2f} ({min(accuracies):.2f})"
    return f"{text + (f' -{refused}' if refused else ''):>22}"


def main() -> int:
    """Print the tables; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of a run (20)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each settings (3)")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="with train/ and test/")
    parser.add_argument("--attacks", action="store_true", help="the table of attacks alone")
    arguments = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.WARNING)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # to make messages

    def fleet(kind: str, seed: int, folder: Path | None = None) -> Fleet:
        task = photographs(folder) if folder else digits(seed)
        return Fleet(task, split(task, kind, seed), seed)

    print("mean of the seeds, in brackets the worst; -N: N updates were refused")
    if arguments.attacks:
        show_attacks([fleet("skewed", s) for s in range(arguments.seeds)], arguments.rounds)
        return 0
    columns = {
        "digits, 4 of 10 each": lambda seed: fleet("skewed", seed),
        "digits, all": lambda seed: fleet("even", seed),
        "digits, 20:20:20:1378": lambda seed: fleet("sizes", seed),
    }
    if arguments.photographs:
        columns |= {
            "photos, 4 of 10 each": lambda seed: fleet("skewed", seed, arguments.photographs),
            "photos, all": lambda seed: fleet("even", seed, arguments.photographs),
        }
    show_learning(columns, arguments.rounds, arguments.seeds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
