"""Build description for colcon (ament_python) and pip."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "fl_robot_ros"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", sorted(map(str, Path("launch").glob("*.launch.py")))),
        (f"share/{PACKAGE}/config", sorted(map(str, Path("config").iterdir()))),
        (f"share/{PACKAGE}/examples", sorted(map(str, Path("examples").glob("*.py")))),
        (f"share/{PACKAGE}/flower_app", ["flower_app/pyproject.toml"]),
    ],
    python_requires=">=3.10",
    # The oldest of what a robot has from apt are those of Ubuntu 22.04.
    install_requires=[
        "numpy>=1.21.5",
        "opencv-python-headless>=4.5.4",
        "PyYAML>=5.4.1",
        "rich>=11.2",
        # To read bags: rosbags and what it needs itself. Before 0.11.7 it had another zstd.
        "rosbags>=0.11.7,<0.12",
        "apsw>=3.50,<4",
        "lz4>=4.0",
        "backports.zstd>=1.0; python_version < '3.14'",
    ],
    extras_require={
        "learning": [
            "flwr>=1.41,<1.43",
            "tensorflow>=2.21,<2.22",
            "keras>=3.13",
            "ai-edge-litert>=2.1,<3",
            # The server's schedule.
            "cronsim>=2.6,<3",
        ],
        "tfds": ["tensorflow-datasets>=4.9.9"],
        "hub": ["flwr-datasets>=0.6.1,<0.7"],
        "perception": ["ai-edge-litert>=2.1,<3"],
        "demo": ["matplotlib>=3.9", "scikit-learn>=1.5"],
        # colcon runs pytest only where it is named here.
        "test": ["pytest>=6.2", "hypothesis>=6.36"],
    },
    zip_safe=False,
    author="fl_robot_ros contributors",
    maintainer="fl_robot_ros contributors",
    maintainer_email="maintainers@fl-robot-ros.example.org",
    description="Federated learning of one perception model by a fleet of ROS 2 robots.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            f"fl_client = {PACKAGE}.cli.start:client",
            f"fl_perception = {PACKAGE}.cli.start:perception",
            f"fl_streamer = {PACKAGE}.cli.start:streamer",
            f"fl_call = {PACKAGE}.cli.start:call",
            f"fl_server = {PACKAGE}.cli.start:server",
            f"fl_predict = {PACKAGE}.cli.start:predict",
            f"fl_dataset = {PACKAGE}.cli.start:dataset",
            f"fl_keys = {PACKAGE}.cli.start:keys",
            f"fl_model = {PACKAGE}.cli.start:model",
            f"fl_demo = {PACKAGE}.cli.start:demo",
        ],
    },
)
