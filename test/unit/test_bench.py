"""What benchmarks, examples and the generators of docs import from the package is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from test_import_rule import PACKAGE, ROOT, imports_of

CHECKOUT = ROOT.parent
SCRIPTS = sorted(
    script
    for folder in ("bench", "docs", "examples")
    for script in (CHECKOUT / folder).glob("*.py")
)


def is_there(name: str) -> bool:
    """Say whether a dotted name is a module of the package, or a name in one."""
    path = CHECKOUT.joinpath(*name.split("."))
    if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    if not module.is_file():
        module = path.parent / "__init__.py"
    names: set[str] = set()
    for node in ast.parse(module.read_text()).body if module.is_file() else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return path.name in names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_import_is_there(script: Path) -> None:
    found = [item.name for item in imports_of(script.read_text()) if item.package == PACKAGE]
    assert [name for name in found if not is_there(name)] == []


def test_a_name_that_moved_is_missed() -> None:
    assert is_there(f"{PACKAGE}.demo.ros_domain.private_ros_domain")
    assert not is_there(f"{PACKAGE}.demo.fleet.private_ros_domain_of_before")
    assert not is_there(f"{PACKAGE}.no_module.name")
