"""Text from elsewhere, made fit for a terminal and a status."""

from __future__ import annotations

_MOST_CHARACTERS = 1000


def one_line(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Return text as one line without control codes.

    Args:
        text: Text from the network, a file or a library.
        most: Longest result, in characters.
    """
    # An end of line is two characters at times.
    start = text[: 2 * most + 2].replace("\r\n", "\n")
    line = "".join(c if c.isprintable() else " " for c in start).strip()
    return line if len(line) <= most else line[: most - 3].rstrip() + "..."
