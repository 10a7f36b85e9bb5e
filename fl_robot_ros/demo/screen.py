"""Progress of the demonstration, for the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text


class Screen:
    """A bar for each stage in a terminal; a line for each stage elsewhere."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        self._console = console
        self._progress: Progress | None = None

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a stage until the end of the `with` block.

        Args:
            title: What is being done.
            total: Number of steps.

        Yields:
            A function to call with the number of steps that were done.
        """
        start = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(f"{title} ...")
            yield lambda steps: None
            self._console.print(f"{title}: done in {time.monotonic() - start:.1f} s")
            return
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=40),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", style="progress.download"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(title, total=total)
            self._progress = progress

            def advance(steps: int) -> None:
                progress.advance(task, steps)

            try:
                yield advance
                progress.update(task, completed=total)
            finally:
                self._progress = None

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one; a long line is wrapped and indented."""
        (self._progress.console if self._progress else self._console).print(
            Padding(Text(text), (0, 0, 0, 2), expand=False)
        )
