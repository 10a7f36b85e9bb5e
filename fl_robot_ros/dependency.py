"""The packages of others that this one imports: which versions, and how to get them.

Stays on Python 3.10 and free of third-party imports: it is asked when such a package is missing.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from fl_robot_ros.errors import MissingPackageError

# The requirement behind each module, as in setup.py.
REQUIREMENTS = {
    "ai_edge_litert": "ai-edge-litert>=2.1,<3",
    "apsw": "apsw>=3.50,<4",
    "backports.zstd": "backports.zstd>=1.0",
    "cv2": "opencv-python-headless>=4.5.4",
    "flwr": "flwr>=1.41,<1.42",
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
# What bags are read with; a robot that reads none need not have them.
BAG_MODULES = ("rosbags", "apsw", "lz4", "backports.zstd")
LEARNING_MODULES = ("flwr", "tensorflow", "keras", "ai_edge_litert", "numpy", "cv2")
SERVER_MODULES = (*LEARNING_MODULES, "yaml")
DEMO_MODULES = (*SERVER_MODULES, *BAG_MODULES, "matplotlib", "sklearn")

LEARNING_ENVIRONMENT = "give learning a virtual environment (README, On a robot, step 2)"

_ROS = ("rclpy", "rcl_interfaces", "builtin_interfaces", "std_srvs")
# What a robot has from its system, so that ROS' own packages fit it.
_APT = {
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "rich": "python3-rich",
    "yaml": "python3-yaml",
}
_LITERT = "ai_edge_litert"


def require(modules: Iterable[str]) -> None:
    """Check that modules can be found, without importing them.

    Args:
        modules: Keys of `REQUIREMENTS`.

    Raises:
        MissingPackageError: Some cannot; the message says how to get them.
    """
    missing = [module for module in modules if not _is_found(module)]
    if missing:
        raise MissingPackageError(describe_missing(missing))


def describe_missing(modules: Sequence[str]) -> str:
    """Return in one line which packages this Python lacks, and how it gets them.

    Args:
        modules: Keys of `REQUIREMENTS`, one or more.
    """
    names = ", ".join(package_name(module) for module in modules)
    verb = "is" if len(modules) == 1 else "are"
    return f"{names} {verb} not installed for {sys.executable}; {_advice(modules)}"


def describe_unimportable(error: ImportError) -> str:
    """Return in one line what is to be done about a package that cannot be imported."""
    name = error.name or ""
    if not isinstance(error, ModuleNotFoundError):
        text = f"a package is broken for {sys.executable}: {' '.join(str(error).split())}"
        if "numpy" in text:
            # numpy.core.multiarray failed to import: pip put NumPy 2 before the system's.
            text += (
                "; where OpenCV was built for NumPy 1, install with: "
                f"{sys.executable} -m pip install 'numpy<2'"
            )
        return text
    for module in REQUIREMENTS:
        if f"{name}.".startswith(f"{module}.") or module.startswith(f"{name}."):
            return describe_missing([module])
    package = name.partition(".")[0]
    if package in _ROS or package.endswith("_msgs"):
        return f"there is no {package}; source ROS 2 first: source /opt/ros/jazzy/setup.bash"
    return f"the Python package {package} is not installed for {sys.executable}"


def package_name(module: str) -> str:
    """Return the name of the package that a module comes in."""
    return re.split("[<>=]", REQUIREMENTS[module])[0]


def install_command(python: str, modules: Sequence[str], *options: str) -> str:
    """Return the command with which an interpreter gets modules."""
    requirements = [f"'{REQUIREMENTS[module]}'" for module in modules]
    return " ".join([python, "-m pip install", *options, *requirements])


def _advice(modules: Sequence[str]) -> str:
    options = []
    is_of_the_system = sys.prefix == sys.base_prefix
    # They need Python 3.11, and bring a NumPy that the system's OpenCV and cv_bridge may not fit.
    if {"flwr", "tensorflow"} & {*modules} and (is_of_the_system or sys.version_info < (3, 11)):
        return LEARNING_ENVIRONMENT
    if is_of_the_system:
        if {*modules} <= {*_APT}:
            return f"install with: sudo apt install {' '.join(_APT[module] for module in modules)}"
        options.append("--user")
        # PEP 668, Ubuntu 24.04: pip leaves even the user's own folder alone without this.
        if (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file():
            options.append("--break-system-packages")
    if [*modules] == [_LITERT]:
        # What its package asks for lifts NumPy over that of Ubuntu 22.04, so that the system's
        # OpenCV and cv_bridge fail. Inference needs NumPy alone: 1.21.5 and 1.26.4 were tried.
        options.append("--no-deps")
    return f"install with: {install_command(sys.executable, modules, *options)}"


def _is_found(module: str) -> bool:
    if module == "backports.zstd" and sys.version_info >= (3, 14):
        return True  # It is a part of Python there.
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
