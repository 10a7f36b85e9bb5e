"""Results of the demonstration: JSON, a drawing, and tables for the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from fl_robot_ros.demo.plan import DemoPlan


@dataclass(frozen=True)
class RoundResult:
    """One round of the federation.

    Attributes:
        round: Number, from 1.
        accuracy: Of the global model on the test frames, 0 to 1.
        wall_sec: Time from the last round's model to this one.
        robot_compute_sec: The slowest robot's evaluation and training in that time.
        overhead_sec: The difference.
    """

    round: int
    accuracy: float
    wall_sec: float
    robot_compute_sec: float
    overhead_sec: float


@dataclass(frozen=True)
class DemoReport:
    """All figures of a demonstration; accuracies are on the test frames, 0 to 1.

    Attributes:
        scene: "digits" or "shapes".
        federated_accuracy: Of the model that the robots received, run by LiteRT.
        delivered_round: The round whose model that is.
        alone_accuracy: By robot, of the same model trained on its own images only.
        central_accuracy: Of the same model trained on all robots' images in one place.
        rounds: The rounds.
        model_paths: By robot, the model that its perception node runs.
        images: By robot, its labelled images.
        total_sec: Time of the whole demonstration.
    """

    scene: str
    federated_accuracy: float
    delivered_round: int
    alone_accuracy: dict[str, float]
    central_accuracy: float
    rounds: list[RoundResult]
    model_paths: dict[str, str]
    images: dict[str, int]
    total_sec: float

    @property
    def median_overhead_sec(self) -> float:
        """Median overhead of a round."""
        return float(np.median([result.overhead_sec for result in self.rounds]))

    def write_json(self, path: Path) -> None:
        """Write all figures."""
        values = {**asdict(self), "median_overhead_sec": self.median_overhead_sec}
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def rounds_table(self) -> Table:
        """Return a table of the rounds."""
        table = Table(title="Rounds, with the accuracy on the test frames", title_justify="left")
        for name in ("round", "accuracy", "seconds", "robots' work", "overhead"):
            table.add_column(name, justify="right")
        for result in self.rounds:
            table.add_row(
                str(result.round),
                f"{result.accuracy:.3f}",
                f"{result.wall_sec:.1f}",
                f"{result.robot_compute_sec:.1f}",
                f"{result.overhead_sec:.1f}",
            )
        return table

    def comparison_table(self) -> Table:
        """Return a table of the accuracy of each model."""
        table = Table(title="Accuracy on the test frames", title_justify="left")
        table.add_column("model")
        table.add_column("accuracy", justify="right")
        table.add_column("")
        for robot, accuracy in self.alone_accuracy.items():
            table.add_row(
                f"{robot} alone", f"{accuracy:.3f}", f"{self.images[robot]} images of its own"
            )
        table.add_row(
            "[bold]federated",
            f"[bold]{self.federated_accuracy:.3f}",
            f"round {self.delivered_round}, the best on the robots' own images",
        )
        table.add_row("central", f"{self.central_accuracy:.3f}", "all images in one place")
        return table

    def conclusion(self) -> str:
        """Return the result in words."""
        better = max(self.alone_accuracy, key=lambda robot: self.alone_accuracy[robot])
        alone = self.alone_accuracy[better]
        rounds = len(self.rounds)
        if self.federated_accuracy > alone:
            return (
                f"Together the robots are right {self.federated_accuracy:.0%} of the time, "
                f"alone {alone:.0%} at best, and with all images in one place "
                f"{self.central_accuracy:.0%}."
            )
        curve = [result.accuracy for result in self.rounds]
        is_rising = rounds > 1 and curve[-1] > max(curve[:-1])
        text = (
            f"After {rounds} round{'s' * (rounds != 1)} the robots together are no better than "
            f"{better} alone: the mean of models that were trained on different signs needs some "
            f"rounds to know all of them."
        )
        if is_rising:
            text += " The accuracy was still rising in the last round."
        return f"{text} Try more: --rounds {max(2 * rounds, DemoPlan.rounds)}"

    def draw(self, path: Path, sheet: NDArray[np.uint8]) -> None:
        """Draw the learning curve beside a contact sheet of predictions.

        Args:
            path: PNG file to write.
            sheet: Contact sheet, uint8 (H, W, 3), RGB.
        """
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        figure, (left, right) = plt.subplots(
            1, 2, figsize=(15, 7), width_ratios=(1, 1.15), layout="constrained"
        )
        numbers = [result.round for result in self.rounds]
        left.plot(
            numbers,
            [result.accuracy for result in self.rounds],
            "o-",
            color="tab:green",
            linewidth=2.5,
            label="federated",
        )
        left.plot(
            [self.delivered_round],
            [self.federated_accuracy],
            "o",
            color="tab:green",
            markersize=14,
            markerfacecolor="none",
            markeredgewidth=2,
            label=f"delivered, best on the robots' own images ({self.federated_accuracy:.2f})",
        )
        left.axhline(
            self.central_accuracy,
            color="tab:gray",
            linestyle="--",
            label=f"all images in one place ({self.central_accuracy:.2f})",
        )
        for color, (robot, accuracy) in zip(
            ("tab:red", "tab:orange", "tab:purple"), self.alone_accuracy.items(), strict=False
        ):
            left.axhline(
                accuracy, color=color, linestyle=":", label=f"{robot} alone ({accuracy:.2f})"
            )
        left.set(
            xlabel="round",
            ylabel="accuracy on test frames",
            ylim=(0.0, 1.02),
            xticks=numbers,
            title=f"Two robots learn {self.scene} together",
        )
        left.grid(alpha=0.3)
        left.legend(loc="lower right")
        right.imshow(sheet)
        right.set_title("What the robots' perception says of test frames")
        right.axis("off")
        figure.savefig(path, dpi=100)
        plt.close(figure)
