"""Output of the commands: progress bars, counts, and names in printable characters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fl_robot_ros.name_list import name_list

# Names shown of a long list.
_MAX_NAMED = 20

_ERRORS = 2  # File descriptor of the error stream.

OnProgress = Callable[[int, "int | None"], None]


@contextmanager
def progress(console: Console, what: str) -> Iterator[OnProgress]:
    """Show a progress bar; yield a function of the number done and the total, None: unknown."""
    if not console.is_terminal:
        # In a file, a bar would leave an empty line.
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", style="progress.download", markup=False),
        TimeRemainingColumn(),
    )
    # A library's warning about a broken image names no file, and would break the bar.
    silence = quiet_libraries() if os.isatty(_ERRORS) else nullcontext()
    bar = Progress(*columns, console=console, transient=True)
    with silence, bar:
        # The bar of a task that is not started moves to and fro, for an unknown total.
        task = bar.add_task(shown(what), start=False, count="")

        def on_progress(done: int, total: int | None) -> None:
            if total:
                bar.start_task(task)
                bar.update(task, total=total)
            bar.update(task, completed=done, count=f"{done}/{total or '?'}")

        yield on_progress


@contextmanager
def quiet_libraries() -> Iterator[Console]:
    """Drop the output of C libraries to the error stream; yield a console that still writes there.

    Python's own output is dropped too; its exceptions are not.
    """
    kept = os.dup(_ERRORS)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), _ERRORS)
        with os.fdopen(kept, "w", closefd=False) as stream:
            yield Console(file=stream)
    finally:
        os.dup2(kept, _ERRORS)
        os.close(kept)


def print_names(console: Console, what: str, names: Sequence[str]) -> None:
    """Print a line with the number of names, and the first of them; nothing for none."""
    if not names:
        return
    say(console, f"{what}: {len(names):,}")
    for name in names[:_MAX_NAMED]:
        say(console, f"  {shown(name)}")
    if len(names) > _MAX_NAMED:
        say(console, f"  and {len(names) - _MAX_NAMED:,} more")


def by_label(counts: Mapping[str, int]) -> str:
    """Return ": label count, ...", for the end of a line."""
    texts = [f"{label or 'to be labelled'} {count:,}" for label, count in sorted(counts.items())]
    return f": {name_list(texts)}" if texts else ""


def number(count: int, noun: str) -> str:
    """Return a number with its noun in singular or plural."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def size(size_bytes: int) -> str:
    """Return a size in the units that the settings use: 1 MB is a million bytes."""
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.1f} kB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f} GB"


def shown(text: str, keep: str = "") -> str:
    """Return a name in printable characters, others escaped, except those to keep."""
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def say(console: Console, text: str) -> None:
    """Print a line."""
    console.print(shown(text), markup=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print an error as one line."""
    line = shown(text.replace("\n", " "))
    Console(stderr=True, highlight=False).print(line, markup=False, soft_wrap=True)
