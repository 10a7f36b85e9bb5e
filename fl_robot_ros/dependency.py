"""Third-party packages that this package imports: their versions, and how to install them.

Stays on Python 3.10 and free of third-party imports, since it runs when such a package is missing.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from fl_robot_ros.errors import MissingPackageError

# The requirement for each module, as in setup.py.
REQUIREMENTS = {
    "ai_edge_litert": "ai-edge-litert>=2.1,<3",
    "apsw": "apsw>=3.50,<4",
    "backports.zstd": "backports.zstd>=1.0",
    "cronsim": "cronsim>=2.6,<3",
    "cv2": "opencv-python-headless>=4.5.4",
    "flwr": "flwr>=1.41,<1.43",
    "flwr_datasets": "flwr-datasets>=0.6.1,<0.7",
    "keras": "keras>=3.13",
    "lz4": "lz4>=4.0",
    "matplotlib": "matplotlib>=3.9",
    "numpy": "numpy>=1.21.5",
    "rich": "rich>=11.2",
    "rosbags": "rosbags>=0.11.7,<0.12",
    "sklearn": "scikit-learn>=1.5",
    "tensorflow": "tensorflow>=2.21,<2.22",
    "tensorflow_datasets": "tensorflow-datasets>=4.9.9",
    "yaml": "PyYAML>=5.4.1",
}
# Needed for reading bags only.
BAG_MODULES = ("rosbags", "apsw", "lz4", "backports.zstd")
LEARNING_MODULES = ("flwr", "tensorflow", "keras", "ai_edge_litert", "numpy", "cv2")
SERVER_MODULES = (*LEARNING_MODULES, "cronsim", "yaml")
DEMO_MODULES = (*SERVER_MODULES, *BAG_MODULES, "matplotlib", "sklearn")

LEARNING_ENVIRONMENT = "give learning a virtual environment (README, On a robot, step 2)"

_ROS = ("rclpy", "rcl_interfaces", "builtin_interfaces", "std_srvs")
# A robot has these from apt, in the versions that ROS' own packages need.
_APT = {
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "rich": "python3-rich",
    "yaml": "python3-yaml",
}
_LITERT = "ai_edge_litert"


def require(modules: Iterable[str]) -> None:
    """Check that modules are installed, without importing them.

    Args:
        modules: Keys of `REQUIREMENTS`.

    Raises:
        MissingPackageError: Some are missing; the message says how to install them.
    """
    missing = [module for module in modules if not _is_found(module)]
    if missing:
        raise MissingPackageError(describe_missing(missing))


def describe_missing(modules: Sequence[str]) -> str:
    """Return one line that names missing packages and how to install them.

    Args:
        modules: Keys of `REQUIREMENTS`, one or more.
    """
    names = ", ".join(package_name(module) for module in modules)
    verb = "is" if len(modules) == 1 else "are"
    return f"{names} {verb} not installed for {sys.executable}; {_advice(modules)}"


def describe_unimportable(error: ImportError) -> str:
    """Return one line that says how to repair a failed import."""
    name = error.name or ""
    if not isinstance(error, ModuleNotFoundError):
        text = f"a package is broken for {sys.executable}: {' '.join(str(error).split())}"
        if "numpy" in text:
            # numpy.core.multiarray failed to import: pip installed NumPy 2 over the system's.
            text += (
                "; where OpenCV was built for NumPy 1, install with: "
                f"{sys.executable} -m pip install 'numpy<2'"
            )
        return text
    for module in REQUIREMENTS:
        if f"{name}.".startswith(f"{module}.") or module.startswith(f"{name}."):
            return describe_missing([module])
    package = name.partition(".")[0]
    if package == "cryptography":
        return (
            f"there is no cryptography, which Flower brings; {LEARNING_ENVIRONMENT}, or install "
            "with: sudo apt install python3-cryptography"
        )
    if package in _ROS or package.endswith("_msgs"):
        return f"there is no {package}; source ROS 2 first: source /opt/ros/jazzy/setup.bash"
    return f"the Python package {package} is not installed for {sys.executable}"


def package_name(module: str) -> str:
    """Return the name of the package that contains a module."""
    return re.split("[<>=]", REQUIREMENTS[module])[0]


def fits_requirement(version: str, module: str) -> bool:
    """Return whether a version is within the bounds `>=` and `<` of a module's requirement."""
    bounds = dict(re.findall(r"(>=|<)([\d.]+)", REQUIREMENTS[module]))
    found = _numbers(version)
    lower, upper = _numbers(bounds.get(">=", "0")), _numbers(bounds.get("<", ""))
    return found >= lower and (not upper or found < upper)


def install_command(python: str, modules: Sequence[str], *options: str) -> str:
    """Return the command that installs modules for an interpreter."""
    requirements = [f"'{REQUIREMENTS[module]}'" for module in modules]
    return " ".join([python, "-m pip install", *options, *requirements])


def _advice(modules: Sequence[str]) -> str:
    options = []
    is_of_the_system = sys.prefix == sys.base_prefix
    # They need Python 3.11 and a NumPy that may break the system's OpenCV and cv_bridge.
    if {"flwr", "tensorflow"} & {*modules} and (is_of_the_system or sys.version_info < (3, 11)):
        return LEARNING_ENVIRONMENT
    if is_of_the_system:
        if {*modules} <= {*_APT}:
            return f"install with: sudo apt install {' '.join(_APT[module] for module in modules)}"
        options.append("--user")
        # PEP 668 (Ubuntu 24.04): without this, pip refuses to install even for the user alone.
        if (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file():
            options.append("--break-system-packages")
    if [*modules] == [_LITERT]:
        # Its dependencies raise NumPy above that of Ubuntu 22.04, which breaks the system's OpenCV
        # and cv_bridge. Inference needs only NumPy: 1.21.5 and 1.26.4 were tried.
        options.append("--no-deps")
    return f"install with: {install_command(sys.executable, modules, *options)}"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 21, 0) of "2.21.0rc1"."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _is_found(module: str) -> bool:
    if module == "backports.zstd" and sys.version_info >= (3, 14):
        return True  # Part of Python from 3.14 on.
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
