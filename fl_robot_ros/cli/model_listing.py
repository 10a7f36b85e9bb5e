"""Model versions as tables and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fl_robot_ros.cli.terminal import say, size
from fl_robot_ros.delivery.hold import HoldKind
from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.model_versions import ModelVersions
from fl_robot_ros.errors import ModelError
from fl_robot_ros.images.preprocessing import Preprocessing

_COLOURS = {"accepted": "green", "refused": "red", "taken back": "red", "unreadable": "red"}


@dataclass(frozen=True)
class Listed:
    """One version.

    Attributes:
        name: Its name.
        manifest: Its manifest, None where that cannot be read.
        problem: Why it cannot be read, else "".
        withdrawal: Why it was taken back, None where it was not.
        is_current: Whether it is the current version.
        size_bytes: Size of its files.
    """

    name: str
    manifest: Manifest | None
    problem: str
    withdrawal: str | None
    is_current: bool
    size_bytes: int

    @classmethod
    def read(cls, store: ModelVersions, folder: Path) -> Listed:
        """Read what there is to say of a version."""
        manifest, problem = None, ""
        try:
            manifest = Manifest.load(folder)
        except ModelError as error:
            problem = str(error)
        current = store.current()
        return cls(
            name=folder.name,
            manifest=manifest,
            problem=problem,
            withdrawal=store.withdrawal(folder.name),
            is_current=current is not None and current.name == folder.name,
            size_bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        )

    @property
    def verdict(self) -> str:
        """What the robot or a person thinks of it, in one or two words."""
        if self.manifest is None:
            return "unreadable"
        if self.withdrawal is not None:
            return "taken back"
        return "accepted" if self.manifest.accepted else "refused"

    def to_json(self) -> dict[str, Any]:
        """Return everything by name, ready for JSON."""
        return {
            "version": self.name,
            "is_current": self.is_current,
            "verdict": self.verdict,
            "withdrawal": self.withdrawal,
            "problem": self.problem,
            "size_bytes": self.size_bytes,
            "manifest": self.manifest.to_dict() if self.manifest else None,
        }


def listing_to_json(store: ModelVersions) -> dict[str, Any]:
    """Return all versions and the hold, ready for JSON."""
    current, hold = store.current(), store.hold()
    return {
        "models": str(store.models_dir),
        "current": current.name if current else None,
        "hold": hold and {"kind": str(hold.kind), "version": hold.version, "reason": hold.reason},
        "versions": [Listed.read(store, folder).to_json() for folder in store.versions()],
    }


def print_listing(store: ModelVersions, console: Console) -> None:
    """Print a table of all versions, the oldest first, and what holds the current one."""
    listed = [Listed.read(store, folder) for folder in store.versions()]
    hold = store.hold()
    table = Table(box=SIMPLE, padding=0)  # At most 80 columns.
    for name in ("version", "", "run/round", "accuracy", "verdict", "created (UTC)"):
        table.add_column(name, no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    for item in listed:
        mark = "current" if item.is_current else ""
        if item.is_current and hold and hold.kind == HoldKind.PINNED:
            mark = "pinned"
        cells = ["", "", ""]
        if item.manifest:
            manifest = item.manifest
            cells = [
                f"{manifest.run}/{manifest.round}",
                _accuracy(manifest),
                manifest.created[:16].replace("T", " "),
            ]
        verdict = f"[{_COLOURS[item.verdict]}]{item.verdict}[/]"
        row = (item.name, f"[bold]{mark}[/]", cells[0], cells[1], verdict, cells[2])
        table.add_row(*row, size(item.size_bytes))
    console.print(table)
    for item in listed:
        if item.problem:
            say(console, f"{item.name}: {item.problem}")
    if not any(item.is_current for item in listed):
        say(console, "no version is current; 'fl_model use VERSION' makes one so")
    if hold:
        say(console, f"{hold}; {_way_forward(hold.kind)}")


def _way_forward(kind: HoldKind) -> str:
    if kind == HoldKind.PINNED:
        return "no other becomes current until 'fl_model unpin' or 'fl_model use VERSION'"
    return (
        "only a better version becomes current by itself; 'fl_model use VERSION' takes any, "
        "'fl_model unpin' the next accepted one"
    )


def print_version(store: ModelVersions, folder: Path, console: Console) -> None:
    """Print all that is known of a version.

    Raises:
        ModelError: Its manifest cannot be read.
    """
    item = Listed.read(store, folder)
    if item.manifest is None:
        raise ModelError(item.problem)
    manifest = item.manifest
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in _lines(item, manifest):
        if value:
            table.add_row(name, escape(value))
    console.print(table)
    if manifest.per_class:
        console.print(_class_table(manifest))
    hold = store.hold()
    if item.is_current and hold:
        say(console, f"{hold}; {_way_forward(hold.kind)}")


def _lines(item: Listed, manifest: Manifest) -> list[tuple[str, str]]:
    """Return names and values, "" for what is unknown."""
    metrics = dict(manifest.metrics)
    accuracy = _accuracy(manifest)
    images = metrics.pop("holdout_images", None)
    if accuracy and images is not None:
        accuracy += f" of {images:.0f} images held out"
    for name in ("holdout_accuracy", "holdout_accuracy_before"):
        metrics.pop(name, None)
    verdict = item.verdict
    reason = item.withdrawal if item.withdrawal is not None else manifest.reason
    return [
        ("version", f"{item.name}{', current' if item.is_current else ''}"),
        ("verdict", f"{verdict}: {reason}" if reason else verdict),
        ("accuracy", accuracy),
        *((name.replace("_", " "), f"{value:.4g}") for name, value in metrics.items()),
        ("origin", f"run {manifest.run}, round {manifest.round}"),
        ("server", manifest.server),
        ("robot", manifest.robot),
        ("snapshot", manifest.snapshot),
        ("previous", manifest.previous),
        ("created", manifest.created),
        ("classes", ", ".join(manifest.classes)),
        ("input", str(Preprocessing.from_dict(manifest.preprocessing))),
        ("signed by", manifest.key_id and f"{manifest.key_id}, counter {manifest.counter}"),
        ("size", size(item.size_bytes)),
        *((name, f"SHA-256 {digest[:16]}…") for name, digest in manifest.files.items()),
    ]


def _class_table(manifest: Manifest) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("class", overflow="fold")
    for name in ("images", "recall before", "recall", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    known = [name for name in manifest.classes if name in manifest.per_class]
    for name in (*known, *(name for name in manifest.per_class if name not in known)):
        numbers = manifest.per_class[name]
        before, after = numbers.get("recall_before"), numbers.get("recall")
        change = ""
        if before is not None and after is not None:
            colour = "red" if after < before else "green"
            change = f"[{colour}]{after - before:+.3f}[/]"
        table.add_row(
            escape(name), f"{numbers['images']:.0f}", _rate(before), _rate(after), change
        )
    return table


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _accuracy(manifest: Manifest) -> str:
    """Return the accuracy before and after, "" where it is unknown."""
    after = manifest.metrics.get("holdout_accuracy")
    before = manifest.metrics.get("holdout_accuracy_before")
    if after is None:
        return ""
    return f"{after:.3f}" if before is None else f"{before:.3f} -> {after:.3f}"
