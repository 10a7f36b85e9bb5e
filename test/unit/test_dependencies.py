"""What the package imports is what setup.py, package.xml and the lock files say that it needs."""

from __future__ import annotations

import functools
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_import_rule import MODULES, PACKAGE, ROBOT_ROOMS, ROOT, ROS, imports_of, room_of
from test_packaging import pins, read_setup

from fl_robot_ros.dependency import (
    BAG_MODULES,
    DEMO_MODULES,
    LEARNING_MODULES,
    REQUIREMENTS,
)

CHECKOUT = ROOT.parent
# What is imported because another package uses it and brings it: its package, and that one.
COMES_WITH = {
    "cryptography": ("cryptography", "flwr"),
    "h11": ("h11", "uvicorn"),
    "httpx": ("httpx", "flwr"),
    "starlette": ("starlette", "fastapi"),
    "uvicorn": ("uvicorn", "flwr"),
    "google.protobuf": ("protobuf", "tensorflow-datasets"),
    "datasets": ("datasets", "flwr-datasets"),
    "huggingface_hub": ("huggingface-hub", "datasets"),
    "pyarrow": ("pyarrow", "datasets"),
}
# Taken where they are there; nobody needs them.
OPTIONAL = {"PIL", "cv_bridge", "tflite_runtime", "vision_msgs"}
# The rosdep keys of modules that are not named like them.
ROSDEP_KEYS = {
    "PIL": "python3-pil",
    "cryptography": "python3-cryptography",
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "rich": "python3-rich",
    "yaml": "python3-yaml",
    **dict.fromkeys(BAG_MODULES, "python3-rosbags-pip"),
}
# The commands that a robot has no use for.
CLOUD_COMMANDS = {"demo.py", "keys.py", "server.py"}


def third_party(module: Path) -> set[str]:
    """Return the packages of others that a module imports, late or not, as they are imported."""
    names = set()
    for found in imports_of(module.read_text()):
        if found.package in sys.stdlib_module_names or found.package in (PACKAGE, "compression"):
            continue
        # Packages that share a first name with others.
        depth = 2 if found.package in ("backports", "google") else 1
        names.add(".".join(found.name.split(".")[:depth]))
    return names


@functools.cache
def imported_by(name: str) -> frozenset[Path]:
    """Return the modules of this package that one of them imports, at any remove."""
    seen: set[Path] = set()
    pending = [name]
    while pending:
        path = CHECKOUT.joinpath(*pending.pop().split("."))
        if path.name == "__init__" or path.is_dir():
            continue
        if not path.with_suffix(".py").is_file():
            path = path.parent  # The name is that of something in a module.
        file = path.with_suffix(".py")
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        pending += [
            found.name for found in imports_of(file.read_text()) if found.package == PACKAGE
        ]
    return frozenset(seen)


def package_of(module: str) -> str:
    """Return the name of the installed package that a module comes in."""
    if module in COMES_WITH:
        return COMES_WITH[module][0]
    name = canonicalize_name(Requirement(REQUIREMENTS[module]).name)
    return "tensorflow-cpu" if name == "tensorflow" else name


def needs_of(package: str) -> set[str]:
    """Return the packages that an installed one needs itself on this Python."""
    try:
        needed = map(Requirement, metadata.requires(package) or ())
    except metadata.PackageNotFoundError:
        pytest.skip(f"needs {package}")
    return {
        canonicalize_name(one.name) for one in needed if not one.marker or one.marker.evaluate()
    }


def closure(packages: Iterable[str]) -> set[str]:
    """Return packages and all that they need."""
    seen: set[str] = set()
    pending = list(packages)
    while pending:
        package = pending.pop()
        if package not in seen:
            seen.add(package)
            pending += needs_of(package)
    return seen


def declared() -> set[str]:
    """Return the requirements in setup.py, without their markers."""
    arguments = read_setup()
    lists = arguments["extras_require"].items()
    extras = chain.from_iterable(requirements for name, requirements in lists if name != "test")
    everything = [*arguments["install_requires"], *extras]
    return {text.partition(";")[0] for text in everything}


def test_setup_py_declares_what_is_imported_with_a_bound() -> None:
    imported = set().union(*map(third_party, MODULES)) - ROS - OPTIONAL
    assert imported - {*COMES_WITH} == {*REQUIREMENTS}
    assert declared() == {*REQUIREMENTS.values()}
    for text in declared():
        assert ">=" in text, text
    for package, bringer in COMES_WITH.values():
        assert package in needs_of(bringer)


def test_package_xml_declares_what_a_robot_imports() -> None:
    files = [module for module in MODULES if room_of(module) in {*ROBOT_ROOMS, "cli"}]
    imported = set().union(
        *(third_party(file) for file in files if file.name not in CLOUD_COMMANDS)
    )
    for file in (CHECKOUT / "launch").glob("*.py"):
        imported |= third_party(file)
    # README says how a robot gets LiteRT: it has no rosdep key. Results go without vision_msgs.
    others = {"ai_edge_litert", "tflite_runtime", "vision_msgs"}
    wanted = {ROSDEP_KEYS.get(name, name) for name in imported - others}
    manifest = ElementTree.parse(CHECKOUT / "package.xml").getroot()
    assert wanted == {element.text for element in manifest.findall("exec_depend")}


def test_the_file_for_a_workers_environment_is_enough_by_itself() -> None:
    requirements = CHECKOUT / "requirements"
    text = (requirements / "learning.txt").read_text()
    included = re.findall(r"^-r (.+)$", text, re.MULTILINE)
    pinned = {*pins(requirements / "learning.txt")}
    for name in included:
        pinned |= {*pins(requirements / name)}
    assert "requirements/learning.txt" in (CHECKOUT / "README.md").read_text()
    # All that pip would add.
    assert closure(pinned) == pinned
    # All that a worker imports, but for the sources that docs/ names packages for.
    files = imported_by(f"{PACKAGE}.worker.worker")
    assert ROOT / "learning" / "trainer.py" in files
    imported = set().union(*map(third_party, files))
    of_sources = {"flwr_datasets", "tensorflow_datasets"}
    assert of_sources < imported
    named = imported - of_sources - OPTIONAL
    named -= {module for module, (_, bringer) in COMES_WITH.items() if bringer != "flwr"}
    assert {package_of(module) for module in named} <= pinned
    # All of that is what the client asks a worker's Python for.
    assert named - {*COMES_WITH} == {*LEARNING_MODULES}


def test_readme_and_docs_ask_for_the_same_versions() -> None:
    pages = [CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    found = re.findall(r"'([a-z-]+)(?:\[[a-z-]+\])?([<>]=?[\d.,<>=]+)'", text)
    assert {"ai-edge-litert", "flwr", "tensorflow"} <= {name for name, _ in found}
    for name, versions in found:
        assert f"{name}{versions}" in REQUIREMENTS.values()


def test_the_lists_of_modules_are_of_known_ones() -> None:
    assert {*DEMO_MODULES, *BAG_MODULES, *LEARNING_MODULES} <= {*REQUIREMENTS}
