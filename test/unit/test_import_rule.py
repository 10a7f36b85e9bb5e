"""Who may import what: the rooms, ROS, TensorFlow and Flower."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "fl_robot_ros"
ROOT = Path(__file__).parents[2] / PACKAGE
MODULES = sorted(ROOT.rglob("*.py"))

ROS = {
    *("rclpy", "rcl_interfaces", "ament_index_python", "launch", "launch_ros", "cv_bridge"),
    *("sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs", "builtin_interfaces"),
    *(
        "geometry_msgs",
        "nav_msgs",
        "action_msgs",
        "vision_msgs",
        "rosgraph_msgs",
        "lifecycle_msgs",
        "rosidl_runtime_py",
    ),
}
TENSORFLOW = {"tensorflow", "keras", "tf_keras"}
# What a robot's own Python need not have.
CLOUD = {*TENSORFLOW, "flwr", "pydantic", "grpc", "httpx", "fastapi"}

# In the order in which data meets them. A room knows only rooms before it.
ROOMS = (
    *("errors", "atomic_file", "process_lock", "dependency", "setting", "config", "paths"),
    *("name_list", "one_line", "topic_name", "data_source", "publication"),
    *("images", "labels", "bags", "playback", "capture", "dataset", "curation"),
    *("identity", "worker_link", "delivery", "perception", "learning", "federation", "cloud"),
    *("worker", "robot", "autonomy", "api", "doctor", "ros", "nodes", "demo", "cli"),
)
ROBOT_ROOMS = {
    *("atomic_file", "config", "data_source", "dependency", "errors", "name_list", "paths"),
    *("one_line", "process_lock", "publication", "setting"),
    *("topic_name", "images", "labels", "bags", "playback", "capture", "dataset", "curation"),
    *("identity", "worker_link", "delivery", "perception", "robot", "autonomy", "api", "doctor"),
    *("ros", "nodes"),
}
NODES = ("client", "perception", "streamer", "viewer", "call")


class Import(NamedTuple):
    """One imported name, dotted; `is_lazy` inside a function."""

    name: str
    line: int
    is_lazy: bool

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


def room_of(module: Path) -> str:
    """Return the subpackage of a module, or its name where it lies in none."""
    return module.relative_to(ROOT).with_suffix("").parts[0]


@functools.cache
def imports_of(source: str) -> list[Import]:
    """Return every import of a module, except those for the type checker alone."""
    return list(_imports_of(source))


def _imports_of(source: str) -> Iterator[Import]:
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(source), False)]
    while pending:
        node, is_lazy = pending.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, is_lazy)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", node.lineno, is_lazy)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield Import(str(argument.value), node.lineno, is_lazy)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += [(child, is_lazy) for child in node.orelse]
            continue
        inside = is_lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        pending += [(child, inside) for child in ast.iter_child_nodes(node)]


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def offences(modules: list[Path], packages: set[str], *, lazy_too: bool) -> list[str]:
    """Return "module:line imports name" for every import of one of the packages."""
    return [
        f"{module.relative_to(ROOT)}:{found.line} imports {found.name}"
        for module in modules
        for found in imports_of(module.read_text())
        if found.package in packages and (lazy_too or not found.is_lazy)
    ]


def test_imports_are_found_wherever_they_stand() -> None:
    source = """
import a.b
from c import d
if TYPE_CHECKING:
    import never
else:
    import e
try:
    import f
except ImportError:
    f = None
class C:
    import g
    def m(self):
        import h
        importlib.import_module("i.j")
"""
    found = {found.name: found.is_lazy for found in imports_of(source)}
    assert {name for name, is_lazy in found.items() if not is_lazy} == {
        "a.b",
        "c.d",
        "e",
        "f",
        "g",
    }
    assert {name for name, is_lazy in found.items() if is_lazy} == {"h", "i.j"}


def test_every_module_lies_in_a_known_room() -> None:
    assert {room_of(module) for module in MODULES} == {*ROOMS, "__init__"}


def test_only_ros_and_nodes_know_ros() -> None:
    others = [module for module in MODULES if room_of(module) not in ("ros", "nodes")]
    assert offences(others, ROS, lazy_too=True) == []


def test_only_learning_loads_tensorflow_with_itself() -> None:
    others = [module for module in MODULES if room_of(module) != "learning"]
    assert offences(others, TENSORFLOW, lazy_too=False) == []


def test_the_robots_own_rooms_know_neither_tensorflow_nor_flower() -> None:
    robots = [module for module in MODULES if room_of(module) in ROBOT_ROOMS]
    assert offences(robots, CLOUD, lazy_too=True) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_only_rooms_before_it(room: str) -> None:
    allowed = {*ROOMS[: ROOMS.index(room) + 1]}
    if room in ROBOT_ROOMS:
        allowed &= ROBOT_ROOMS
    wrong = []
    for module in MODULES:
        if room_of(module) != room:
            continue
        for found in imports_of(module.read_text()):
            package, _, inside = found.name.partition(".")
            if package == PACKAGE and inside.partition(".")[0] not in {
                *allowed,
                "",
                "__version__",
            }:
                wrong.append(f"{module.relative_to(ROOT)}:{found.line} imports {found.name}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {
        ".".join((PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)) for path in MODULES
    }
    graph = {}
    for path in MODULES:
        name = ".".join((PACKAGE, *path.relative_to(ROOT).with_suffix("").parts))
        found = {item.name for item in imports_of(path.read_text())}
        graph[name] = names & (found | {item.rpartition(".")[0] for item in found})
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("node", NODES)
def test_a_node_loads_neither_tensorflow_nor_flower(node: str) -> None:
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("needs rclpy: ROS 2 or PyPI's ROS wheels")
    program = (
        f"import sys, {PACKAGE}.nodes.{node}\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "rclpy" in loaded
    # An enrolment is read without cryptography, which apt does not bring to every robot.
    assert loaded & {*CLOUD, "cryptography"} == set()
