"""The exception tree is drawn as it is, and what the package raises is in it."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from pathlib import Path

from test_import_rule import MODULES, ROOT

from fl_robot_ros import errors

# Exceptions of Python that a module raises, by file.
BUILTINS = {
    # argparse turns them into its message about an option.
    "cli/option_type.py": {"ValueError", "ArgumentTypeError"},
    # As Python raises it at a Ctrl-C, but where nothing gets lost.
    "nodes/call.py": {"ArgumentTypeError", "KeyboardInterrupt"},
    # Caught where they are raised, or by their only caller.
    "autonomy/journal.py": {"ValueError"},
    "cli/sheet_file.py": {"OSError"},
    "dataset/dataset.py": {"TimeoutError"},
    "dataset/snapshot.py": {"ValueError"},
    "ros/frame_decoder.py": {"ImportError"},
    "worker/first_contact.py": {"TimeoutError"},
    "worker/fleet_client.py": {"TimeoutError"},
}


def drawn_parents() -> dict[str, str]:
    """Return the parent of each class in the drawing, "" for the root."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"    ((?:[│├└─ ]{3} ?)*)(\w+(?:Error))(?: {2,}.*)?", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else ""
    return parents


def raised_builtins(module: Path) -> set[str]:
    """Return the names of Python's own exceptions that a module raises."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(raised).rpartition(".")[2]
            if isinstance(getattr(builtins, name, None), type) or name.endswith("TypeError"):
                found.add(name)
    return found


def test_the_drawing_shows_the_tree() -> None:
    classes = {
        name: cls.__base__.__name__ if cls.__base__ is not Exception else ""
        for name, cls in inspect.getmembers(errors, inspect.isclass)
    }
    assert drawn_parents() == classes


def test_every_error_is_defined_in_the_tree() -> None:
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if not isinstance(node, ast.ClassDef) or module.name == "errors.py":
                continue
            bases = [ast.unparse(base) for base in node.bases]
            assert not any(base.endswith(("Error", "Exception")) for base in bases), module


def test_what_is_raised_is_of_the_tree() -> None:
    found = {str(module.relative_to(ROOT)): raised_builtins(module) for module in MODULES}
    assert {file: names for file, names in found.items() if names} == BUILTINS


def test_every_class_is_raised_somewhere() -> None:
    code = "\n".join(module.read_text() for module in MODULES)
    for name in {*drawn_parents()} - {"FlRobotError"}:
        assert re.search(rf"(?<!class ){name}\(", code), name
