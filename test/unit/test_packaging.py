"""The package as colcon, ament and pip see it."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import fl_robot_ros
from fl_robot_ros.errors import SettingError
from fl_robot_ros.paths import share_path

tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")

ROOT = Path(__file__).parents[2]
PACKAGE = "fl_robot_ros"
EXECUTABLES = (
    *("fl_client", "fl_perception", "fl_streamer", "fl_call"),
    *("fl_server", "fl_keys", "fl_model", "fl_predict", "fl_dataset", "fl_demo"),
)
LOCK_FILES = sorted((ROOT / "requirements").glob("*.txt"))
# The expression with which catkin_pkg checks an e-mail. A package.xml that fails there is taken
# by colcon for plain Python, without a word.
CATKIN_EMAIL = re.compile(r"^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9._%+-]+\.[a-zA-Z]{2,6}$")


@pytest.fixture(scope="module")
def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def read_setup() -> dict[str, Any]:
    """Return what setup.py gives to setup(), by running it with a setup() that takes notes."""
    source = (ROOT / "setup.py").read_text()
    tree = ast.parse(source)
    notes: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr("setuptools.setup", lambda **arguments: notes.update(arguments))
        exec(compile(tree, "setup.py", "exec"), {"__name__": "__main__"})
    return notes


@pytest.fixture(scope="module")
def setup_arguments() -> dict[str, Any]:
    """What setup.py gives to setup()."""
    return read_setup()


def pins(path: Path) -> dict[str, str]:
    """Return version by canonical name of a lock file, which holds nothing else.

    Files that it includes are left out.
    """
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("#", "-r "))]
    found: dict[str, str] = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert match, f"{path.name}: {line!r} is not name==version"
        found[canonicalize_name(match[1])] = match[2]
    assert len(found) == len(lines)
    return found


def test_there_is_one_version(
    manifest: ElementTree.Element, setup_arguments: dict[str, Any]
) -> None:
    assert manifest.findtext("version") == fl_robot_ros.__version__
    assert setup_arguments["version"] == fl_robot_ros.__version__
    app = tomllib.loads((ROOT / "flower_app" / "pyproject.toml").read_text())
    assert app["project"]["version"] == fl_robot_ros.__version__
    assert f"## [{fl_robot_ros.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_colcon_takes_it_for_ament_python(manifest: ElementTree.Element) -> None:
    assert manifest.findtext("name") == PACKAGE
    assert manifest.findtext("export/build_type") == "ament_python"
    maintainers = manifest.findall("maintainer")
    assert maintainers
    for maintainer in maintainers:
        assert CATKIN_EMAIL.match(maintainer.attrib["email"])
        assert maintainer.text


def test_colcon_test_runs_pytest(
    manifest: ElementTree.Element, setup_arguments: dict[str, Any]
) -> None:
    # Without this, colcon takes unittest, which finds nothing and calls that a success.
    needed = [Requirement(text).name for text in setup_arguments["extras_require"]["test"]]
    assert needed == ["pytest", "hypothesis"]
    depends = [element.text for element in manifest.findall("test_depend")]
    assert depends == [f"python3-{name}" for name in needed]


def test_manifest_and_setup_agree(
    manifest: ElementTree.Element, setup_arguments: dict[str, Any]
) -> None:
    assert setup_arguments["name"] == PACKAGE
    assert setup_arguments["license"] == manifest.findtext("license") == "Apache-2.0"
    [maintainer] = manifest.findall("maintainer")
    assert setup_arguments["maintainer_email"] == maintainer.attrib["email"]


def test_no_dependency_is_named_twice(manifest: ElementTree.Element) -> None:
    names = Counter(element.text for element in manifest if element.tag.endswith("depend"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_license_is_there(manifest: ElementTree.Element) -> None:
    [element] = manifest.findall("license")
    text = (ROOT / element.attrib["file"]).read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_no_project_table_beside_setup_py() -> None:
    # setuptools would ignore the executables of setup.py without a word.
    path = ROOT / "pyproject.toml"
    assert not path.exists() or "project" not in tomllib.loads(path.read_text())


def test_every_executable_can_be_called(setup_arguments: dict[str, Any]) -> None:
    found = set()
    for line in setup_arguments["entry_points"]["console_scripts"]:
        name, target = line.split(" = ")
        module, function = target.split(":")
        start = getattr(importlib.import_module(module), function)
        (program, _) = start.args
        assert name == f"fl_{program.rpartition('.')[2]}"
        if ".nodes." in program:
            pytest.importorskip("rclpy", reason="needs rclpy: ROS 2 or PyPI's ROS wheels")
        assert callable(importlib.import_module(program).main)
        found.add(name)
    assert found == set(EXECUTABLES)


def test_ros2_run_finds_the_executables() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["install"]["install_scripts"] == f"$base/lib/{PACKAGE}"
    assert config["develop"]["script_dir"] == f"$base/lib/{PACKAGE}"


def test_everything_goes_into_the_share_folder(setup_arguments: dict[str, Any]) -> None:
    files = dict(setup_arguments["data_files"])
    marker = f"resource/{PACKAGE}"
    assert files["share/ament_index/resource_index/packages"] == [marker]
    assert (ROOT / marker).is_file()
    shared = {path for where, paths in files.items() if PACKAGE in where for path in paths}
    folders = ("config", "launch", "examples", "flower_app")
    here = {str(path.relative_to(ROOT)) for name in folders for path in (ROOT / name).glob("*.*")}
    assert shared == {*here, "package.xml"}
    assert {path for path in shared if path.startswith("launch/")} == {
        f"launch/{name}.launch.py" for name in ("client", "perception", "streamer", "robot")
    }


def test_every_package_is_installed_with_its_type_marker(setup_arguments: dict[str, Any]) -> None:
    folders = {path.parent for path in (ROOT / PACKAGE).rglob("*.py")}
    here = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(setup_arguments["packages"]) == here
    assert "py.typed" in setup_arguments["package_data"][PACKAGE]
    assert (ROOT / PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize(
    "parts", [("config", "server.yaml"), ("flower_app", "pyproject.toml"), ("package.xml",)]
)
def test_shared_files_are_found(parts: tuple[str, ...]) -> None:
    assert share_path(*parts).is_file()


def test_a_missing_shared_file_is_named() -> None:
    with pytest.raises(SettingError, match=r"config/none\.yaml of fl_robot_ros is not installed"):
        share_path("config", "none.yaml")


def test_no_package_is_locked_twice() -> None:
    names = Counter(name for path in LOCK_FILES for name in pins(path))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_locked_versions_are_what_setup_py_asks_for(setup_arguments: dict[str, Any]) -> None:
    locked = {name: version for path in LOCK_FILES for name, version in pins(path).items()}
    # The same TensorFlow, built without a GPU.
    locked["tensorflow"] = locked["tensorflow-cpu"]
    wanted = list(setup_arguments["install_requires"])
    for extra in setup_arguments["extras_require"].values():
        wanted += extra
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_the_flower_app_names_what_is_installed() -> None:
    app = tomllib.loads((ROOT / "flower_app" / "pyproject.toml").read_text())
    for reference in app["tool"]["flwr"]["app"]["components"].values():
        module, _ = reference.split(":")
        assert (ROOT / Path(*module.split("."))).with_suffix(".py").is_file()
    [flower] = [line for line in app["project"]["dependencies"] if line.startswith("flwr")]
    assert flower in (ROOT / "setup.py").read_text()
