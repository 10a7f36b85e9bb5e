"""Text from elsewhere, made fit for a terminal and a status."""

from __future__ import annotations

_MOST_CHARACTERS = 1000


def one_line(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Return text as one line without control codes.

    Args:
        text: Text from the network, a file or a library.
        most: Longest result, in characters.
    """
    start = text[: 4 * most]
    words = "".join(c if c.isprintable() else " " for c in start).split()
    line = " ".join(words)
    return line if len(line) <= most else line[: most - 3] + "..."
