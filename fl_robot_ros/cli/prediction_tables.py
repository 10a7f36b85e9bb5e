"""What `fl_predict` prints: tables of predictions, of classes and of confusions."""

from __future__ import annotations

from collections import Counter, defaultdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fl_robot_ros.cli.model_comparison import Comparison
from fl_robot_ros.cli.scoreboard import Outcome, Scoreboard
from fl_robot_ros.cli.terminal import number, say, shown
from fl_robot_ros.name_list import count_list

_EXAMPLES = 10
_MOST_PAIRS = 15
# Narrower columns of a confusion matrix would not tell their classes apart.
_LEAST_COLUMN = 4
_WIDEST_LABEL = 20


def print_predictions(console: Console, board: Scoreboard) -> None:
    """Print telling examples, the score of every class, and which classes are taken for which."""
    console.print(_example_table(board))
    if board.compared:
        console.print(_class_table(board))
        _print_confusions(console, board)
    if board.others:
        console.print(_unlabelled_table(board))
    if board.foreign:
        listed = count_list(board.foreign)
        say(console, f"labels that the model does not know, and their images: {listed}")


def print_accuracy(console: Console, board: Scoreboard, version: str) -> None:
    """Print the line that says how often the model is right."""
    if board.accuracy is None:
        say(console, f"no labels to compare with, model {version}")
        return
    console.print(
        f"accuracy {board.accuracy:.1%} ({board.right} of {len(board.compared)}), model {version}",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )


def print_comparison(console: Console, comparison: Comparison, names: tuple[str, str]) -> None:
    """Print two models side by side.

    Args:
        console: Where to print.
        comparison: Their predictions.
        names: What to call them.
    """
    if comparison.first.compared:
        table = _table("Recall of both models", "class", "images>", *(f"{n}>" for n in names))
        table.add_column("difference", justify="right")
        for item in comparison.recalls():
            before, after = item.before or 0.0, item.after or 0.0
            table.add_row(
                escape(item.name), str(item.images), *map(_percent, (before, after)),
                _difference(before, after),
            )  # fmt: skip
        console.print(table)
    differ = comparison.disagreements
    if differ:
        shown_now = differ[:_EXAMPLES]
        title = f"Where they disagree: {len(shown_now)} of {number(len(differ), 'image')}"
        table = _table(title, "image", "label", *names)
        for one, two in shown_now:
            cells = (_coloured(one, one.predicted), _coloured(two, two.predicted))
            table.add_row(escape(shown(one.name)), escape(one.label), *cells)
        console.print(table)
    say(
        console,
        f"the models disagree on {len(differ)} of {number(comparison.all_images, 'image')}",
    )
    for board, name in zip((comparison.first, comparison.second), names, strict=True):
        print_accuracy(console, board, name)
    if comparison.first.compared:
        say(console, describe_difference(comparison, names))


def describe_difference(comparison: Comparison, names: tuple[str, str]) -> str:
    """Return a line that says whether the difference in accuracy means anything."""
    one, two = comparison.only_first, comparison.only_second
    if one == two:
        return f"no difference: each gets {number(one, 'image')} right that the other gets wrong"
    better, worse = names if one > two else names[::-1]
    more, fewer = max(one, two), min(one, two)
    verdict = "hardly chance" if comparison.is_sure else "perhaps chance"
    return (
        f"{better} gets {number(more, 'image')} right that {worse} gets wrong, and {fewer} the "
        f"other way round: {verdict}, as a coin tossed for each of them would differ that much "
        f"{comparison.chance:.1%} of the time (McNemar's test)"
    )


def _example_table(board: Scoreboard) -> Table:
    has_labels = bool(board.compared)
    examples = board.examples(_EXAMPLES)
    order = ", mistakes first" if has_labels else ""
    title = f"{len(examples)} of {number(len(board.outcomes), 'image')}{order}"
    table = _table(title, "image", "predicted", "confidence>", *(["label"] if has_labels else []))
    for item in examples:
        cells = [escape(shown(item.name)), escape(item.predicted), _percent(item.confidence)]
        table.add_row(*cells, *([_coloured(item, item.label)] if has_labels else []))
    return table


def _class_table(board: Scoreboard) -> Table:
    """Return one row for each class that has images, in the model's order."""
    columns = ("class", "images>", "right>", "recall>", "precision>", "mean confidence>")
    table = _table("By class", *columns)
    for score in board.scores():
        if score.images:
            counts = (str(score.images), str(score.right))
            shares = map(_percent, (score.recall, score.precision, score.confidence))
            table.add_row(escape(score.name), *counts, *shares)
    return table


def _print_confusions(console: Console, board: Scoreboard) -> None:
    """Print the confusion matrix where it fits, else the commonest confusions."""
    pairs = board.confused_pairs()
    if not pairs:
        return
    label_room = min(_WIDEST_LABEL, max(map(len, board.classes)))
    count_room = len(str(board.confusion.max()))
    room = (console.width - label_room - 4) // len(board.classes) - 3
    if room >= max(_LEAST_COLUMN, count_room):
        table = _table("Labels (rows) and predictions (columns, alike)")
        table.add_column("", max_width=label_room, no_wrap=True)
        for name in board.classes:
            header = escape(name)
            table.add_column(header, justify="right", max_width=room, no_wrap=True)
        for place, name in enumerate(board.classes):
            cells = [str(count or "") for count in board.confusion[place]]
            cells[place] = f"[green]{cells[place]}[/]"
            table.add_row(escape(name), *cells)
        console.print(table)
        return
    shown_now = pairs[:_MOST_PAIRS]
    images = {score.name: score.images for score in board.scores()}
    title = f"Most confused: {len(shown_now)} of {number(len(pairs), 'pair')}; see --confusion"
    table = _table(title, "label", "predicted as", "images>", "of the label>")
    for label, predicted, count in shown_now:
        share = _percent(count / images[label])
        table.add_row(escape(label), escape(predicted), str(count), share)
    console.print(table)


def _unlabelled_table(board: Scoreboard) -> Table:
    table = _table("Without a known label", "predicted", "images>", "mean confidence>")
    counts = Counter(item.predicted for item in board.others)
    sums: defaultdict[str, float] = defaultdict(float)
    for item in board.others:
        sums[item.predicted] += item.confidence
    for name in (name for name in board.classes if name in counts):
        table.add_row(escape(name), str(counts[name]), _percent(sums[name] / counts[name]))
    return table


def _table(title: str, *columns: str) -> Table:
    """Return a table; columns whose name ends in ">" hold numbers."""
    table = Table(title=title, title_style="bold", min_width=len(title) + 2)
    for column in columns:
        is_number = column.endswith(">")
        table.add_column(
            escape(column.removesuffix(">")),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_number,
        )
    return table


def _coloured(item: Outcome, text: str) -> str:
    colour = "green" if item.is_right else "red"
    return f"[{colour}]{escape(text)}[/]" if item.label else escape(text)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _difference(before: float, after: float) -> str:
    colour = "green" if after > before else "red" if after < before else "default"
    return f"[{colour}]{(after - before) * 100:+.1f}[/]"
