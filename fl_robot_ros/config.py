"""Every setting of every program, once: default, unit, range, description.

ROS parameters (with their descriptors), the YAML files, `--help` and the README tables are made
from these classes or tested against them. Stays on Python 3.10 and free of third-party imports.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fl_robot_ros.errors import SettingError
from fl_robot_ros.setting import Settings, setting

DEFAULT_SERVER_PORT = 8000
DEFAULT_DATA_DIR = "~/.ros/fl_robot_ros"


@dataclass(frozen=True)
class ClientSettings(Settings):
    """Parameters of the node `fl_client`."""

    robot_name: str = setting(
        "", "Name shown to the fleet operator; empty: the node's namespace, else the host name."
    )
    data_dir: str = setting(
        "",
        "Folder of this robot's dataset, snapshots, models and logs; empty: "
        f"{DEFAULT_DATA_DIR}, in a namespace its subfolder of that name.",
    )
    image_topics: tuple[str, ...] = setting(
        ("camera/image_raw",),
        "Camera topics, sensor_msgs Image or CompressedImage; the type is found from the graph.",
    )
    bag_paths: tuple[str, ...] = setting(
        (), "rosbags to read into the dataset, at start and whenever the parameter is set."
    )
    capture_enabled: bool = setting(True, "Whether frames are taken from the start.")
    sample_rate_hz: float = setting(
        5.0,
        "Frames kept per second and camera, by capture time.",
        unit="Hz",
        minimum=0.001,
        maximum=1000.0,
    )
    jpeg_quality: int = setting(
        95,
        "Quality of stored JPEG files; JPEG frames are stored as they come.",
        minimum=1,
        maximum=100,
    )
    queue_size: int = setting(
        64,
        "Frames that may wait to be encoded; more are dropped and counted.",
        unit="frames",
        minimum=1,
        maximum=10000,
    )
    encoder_threads: int = setting(
        0,
        "Threads that encode frames; 0: as many as there are cores.",
        unit="threads",
        minimum=0,
        maximum=64,
    )
    label_settle_sec: float = setting(
        4.0,
        "How long an encoded frame waits for labels published before it; a lost one is repeated "
        "after up to 3 s.",
        unit="s",
        minimum=0.0,
        maximum=60.0,
    )
    label_hold_sec: float = setting(
        0.0,
        "How long a label holds at most; 0: until the next one.",
        unit="s",
        minimum=0.0,
        maximum=86400.0,
    )
    label_lookback_sec: float = setting(
        0.0,
        "How far a label reaches back over frames without one: what we just passed was a pallet.",
        unit="s",
        minimum=0.0,
        maximum=600.0,
    )
    topic_labels: tuple[str, ...] = setting(
        (), "Fixed labels of topics, for frames without another, as 'camera/image_raw: pallet'."
    )
    privacy_masks: tuple[str, ...] = setting(
        (),
        "Polygons painted black before anything is stored, in shares of width and height, as "
        "'camera/image_raw: 0,0.7 1,0.7 1,1 0,1'.",
    )
    min_brightness: float = setting(
        0.0, "Darker frames are dropped: mean grey value.", minimum=0.0, maximum=255.0
    )
    max_brightness: float = setting(
        255.0, "Brighter frames are dropped: mean grey value.", minimum=0.0, maximum=255.0
    )
    min_sharpness: float = setting(
        0.0,
        "Blurred frames are dropped: variance of the Laplacian at 160 px; 0: none.",
        minimum=0.0,
        maximum=100000.0,
    )
    min_difference_bits: int = setting(
        0,
        "Frames whose difference hash has fewer other bits than a recent one of their class are "
        "dropped; 0: none.",
        unit="bits",
        minimum=0,
        maximum=64,
    )
    review_pool_size: int = setting(
        1000,
        "Frames without a label that are kept for somebody to label them; 0: none.",
        unit="images",
        minimum=0,
        maximum=10000000,
    )
    max_samples_per_label: int = setting(
        0,
        "Most images of one label; fuller classes are thinned out evenly over time; 0: no limit.",
        unit="images",
        minimum=0,
        maximum=10000000,
    )
    max_dataset_mb: int = setting(
        4096,
        "Most space for images; the largest class is thinned out first; 0: no limit.",
        unit="MB",
        minimum=0,
        maximum=100000000,
    )
    disk_reserve_mb: int = setting(
        256,
        "Space that stays free on the disk; capture pauses before it is touched.",
        unit="MB",
        minimum=0,
        maximum=100000000,
    )
    holdout_fraction: float = setting(
        0.2,
        "Share of each class kept for evaluation, of captured images in whole time segments.",
        minimum=0.05,
        maximum=0.5,
    )
    segment_sec: float = setting(
        10.0,
        "Longest stretch of time that goes to training or holdout as a whole.",
        unit="s",
        minimum=0.1,
        maximum=3600.0,
    )
    split_gap_sec: float = setting(
        1.0,
        "Shortest time between training and holdout images of a class.",
        unit="s",
        minimum=0.0,
        maximum=3600.0,
    )
    min_samples: int = setting(
        20,
        "Labelled images needed before a run on the captured dataset is started.",
        unit="images",
        minimum=2,
        maximum=10000000,
    )
    dataset_source: str = setting(
        "capture",
        "What to learn from: capture (the robot's own dataset), folder:/path (one folder per "
        "class), tfds:/path/name/1.0.0 (TensorFlow Datasets) or hub:owner/name (partitioned by "
        "Flower).",
    )
    partition_id: int = setting(
        0,
        "This robot's partition of a hub dataset, below num_partitions.",
        minimum=0,
        maximum=99999,
    )
    num_partitions: int = setting(
        1,
        "Partitions of a hub dataset, the same on all robots.",
        unit="partitions",
        minimum=1,
        maximum=100000,
    )
    dirichlet_alpha: float = setting(
        0.0,
        "How alike the partitions' labels are, the same on all robots; 0: all alike; above: drawn "
        "from a Dirichlet distribution, the smaller the more different.",
        minimum=0.0,
        maximum=1000000.0,
    )
    server_address: str = setting(
        "",
        "host:port of the server; empty: environment variables SERVER_IP and SERVER_PORT, else "
        f"127.0.0.1:{DEFAULT_SERVER_PORT}.",
    )
    root_certificates: str = setting(
        "", "PEM file of the certificate authority of the server; empty: plain HTTP."
    )
    connect_timeout_sec: float = setting(
        10.0,
        "How long to try to reach the server before a run fails.",
        unit="s",
        minimum=0.1,
        maximum=3600.0,
    )
    server_timeout_sec: float = setting(
        120.0,
        "How long a run outlives the loss of the server.",
        unit="s",
        minimum=1.0,
        maximum=86400.0,
    )
    worker_python: str = setting(
        "", "Python interpreter with Flower and TensorFlow; empty: the node's own."
    )
    worker_threads: int = setting(
        0,
        "Threads that the worker trains with; 0: as many as there are cores.",
        unit="threads",
        minimum=0,
        maximum=1024,
    )
    worker_nice: int = setting(
        10,
        "Niceness of the worker: how far training steps back behind the robot's own work.",
        minimum=0,
        maximum=19,
    )
    published_file: str = setting(
        "model.keras",
        "Which file of a model version is announced on fl/model_path.",
        choices=("model.keras", "model.tflite", "manifest.json"),
    )
    keep_versions: int = setting(
        5, "Model versions kept on disk.", unit="versions", minimum=2, maximum=1000
    )

    def check(self) -> None:
        """Check that some brightness is left.

        Raises:
            SettingError: No frame could be kept.
        """
        if self.min_brightness > self.max_brightness:
            raise SettingError(
                f"min_brightness is {self.min_brightness!r}; expected at most max_brightness, "
                f"{self.max_brightness!r}, or no frame would be kept"
            )


@dataclass(frozen=True)
class PerceptionSettings(Settings):
    """Parameters of the node `fl_perception`."""

    image_topic: str = setting(
        "camera/image_raw", "Camera topic to run the model on, Image or CompressedImage."
    )
    model_path: str = setting(
        "", "Model to start with; empty: wait for the first path on fl/model_path."
    )
    queue_size: int = setting(
        30,
        "Frames that may wait for inference; older ones are dropped by the middleware.",
        unit="frames",
        minimum=1,
        maximum=1000,
    )
    num_threads: int = setting(
        1, "Threads of the LiteRT interpreter.", unit="threads", minimum=1, maximum=64
    )
    min_confidence: float = setting(
        0.0, "Below this probability the published label is empty.", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class StreamerSettings(Settings):
    """Parameters of the node `fl_streamer`."""

    source: str = setting("0", "Camera number or device, folder of images, video file, or rosbag.")
    image_topic: str = setting(
        "camera/image_raw",
        "Topic to publish on; a rosbag keeps the names it was recorded with.",
    )
    rate_hz: float = setting(
        0.0,
        "Frames per second; 0: the source's own (5 for a folder).",
        unit="Hz",
        minimum=0.0,
        maximum=1000.0,
    )
    playback_speed: float = setting(
        1.0,
        "Speed of a rosbag or video against its recorded time.",
        minimum=0.01,
        maximum=100.0,
    )
    compressed: bool = setting(
        False, "Publish CompressedImage (JPEG) instead of Image; a rosbag stays as recorded."
    )
    jpeg_quality: int = setting(90, "JPEG quality of compressed images.", minimum=1, maximum=100)
    label: str = setting("", "Label for the whole source; empty: the folder's or bag's own.")
    loop: bool = setting(False, "Start again at the end of the source.")
    wait_for_subscriber_sec: float = setting(
        10.0,
        "How long to wait for a first subscriber before starting.",
        unit="s",
        minimum=0.0,
        maximum=3600.0,
    )


@dataclass(frozen=True)
class ServerSettings(Settings):
    """Settings of the command `fl_server`, in `config/server.yaml`."""

    host: str = setting(
        "127.0.0.1", "Address to listen on; 0.0.0.0 opens the server to the network."
    )
    port: int = setting(DEFAULT_SERVER_PORT, "TCP port; 0: a free one.", minimum=0, maximum=65535)
    state_dir: str = setting(
        "fl_server_state", "Folder of the database, checkpoints, history and logs."
    )
    classes: tuple[str, ...] = setting(
        (), "Class names, two or more, in the order of the outputs; there is no default."
    )
    initial_model: str = setting(
        "", "Keras file with the first global model; empty: the reference CNN."
    )
    input_height: int = setting(
        32, "Height of the model's input.", unit="px", minimum=10, maximum=4096
    )
    input_width: int = setting(
        32, "Width of the model's input.", unit="px", minimum=10, maximum=4096
    )
    input_channels: int = setting(3, "3 for RGB, 1 for grey input.", choices=(1, 3))
    input_scale: float = setting(
        1.0 / 255.0, "Factor from 8-bit pixels to the model's input.", minimum=1e-6, maximum=1.0
    )
    min_nodes: int = setting(
        2,
        "Robots that must be connected before a round starts.",
        unit="robots",
        minimum=1,
        maximum=100000,
    )
    num_rounds: int = setting(3, "Rounds in one run.", unit="rounds", minimum=1, maximum=1000000)
    fraction_train: float = setting(
        0.5,
        "Share of the connected robots that train in a round, at least min_nodes.",
        minimum=0.01,
        maximum=1.0,
    )
    fraction_evaluate: float = setting(
        1.0,
        "Share of the connected robots that evaluate, at least min_nodes.",
        minimum=0.01,
        maximum=1.0,
    )
    local_epochs: int = setting(
        1, "Epochs that a robot trains in a round.", unit="epochs", minimum=1, maximum=10000
    )
    batch_size: int = setting(
        32, "Images in a training batch.", unit="images", minimum=1, maximum=65536
    )
    learning_rate: float = setting(
        0.001, "Learning rate of Adam on the robots.", minimum=1e-8, maximum=10.0
    )
    max_examples: int = setting(
        1000000,
        "Most images that one robot may claim in a round.",
        unit="images",
        minimum=1,
        maximum=1000000000,
    )
    round_timeout_sec: float = setting(
        3600.0,
        "How long to wait for the robots' answers.",
        unit="s",
        minimum=1.0,
        maximum=604800.0,
    )
    continuous: bool = setting(False, "Begin the next run when one has ended.")
    seed: int = setting(
        0, "Seed of the initial weights, shuffling and dropout.", minimum=0, maximum=2147483647
    )
    ssl_certfile: str = setting("", "TLS certificate of the server; empty: plain HTTP.")
    ssl_keyfile: str = setting("", "TLS private key of the server.")

    def check(self) -> None:
        """Check the classes, and that TLS has all of its files or none.

        Raises:
            SettingError: There are too few classes, two are alike, or a file of TLS is not given.
        """
        if len(self.classes) < 2:
            raise SettingError(
                f"classes is {list(self.classes)!r}; expected the names of two or more classes, "
                f"as in 'fl_server --classes cup phone' or 'classes: [cup, phone]' in the file"
            )
        # Robots' labels are matched without regard to case.
        names = [name.casefold() for name in self.classes]
        for number, name in enumerate(names):
            first = names.index(name)
            if first != number:
                raise SettingError(
                    f"classes has {self.classes[first]!r} and {self.classes[number]!r}; expected "
                    f"names that differ in more than upper and lower case"
                )
        files = ("ssl_certfile", "ssl_keyfile")
        absent = [name for name in files if not getattr(self, name)]
        if 0 < len(absent) < len(files):
            raise SettingError(
                f"{' and '.join(absent)} not given; expected {' and '.join(files)} for TLS, or "
                f"neither"
            )


def resolve_server_address(server_address: str, environment: Mapping[str, str]) -> str:
    """Return "host:port" of the server.

    The parameter wins; else SERVER_IP and SERVER_PORT from the environment, as in the seed
    system; else the loopback address with the default port.

    Raises:
        SettingError: The address has no port, or the port is not a number from 1 to 65535.
    """
    address = server_address
    if not address:
        host = environment.get("SERVER_IP") or "127.0.0.1"
        address = f"{host}:{environment.get('SERVER_PORT') or DEFAULT_SERVER_PORT}"
    host, separator, port = address.rpartition(":")
    is_number = port.isascii() and port.isdigit()
    if not separator or not is_number or not 1 <= int(port) <= 65535 or not _is_host(host):
        raise SettingError(
            f"server address is {address!r}; expected host:port with a port from 1 to 65535, "
            "such as 'cloud.example.org:8000' or '[::1]:8000', without http://"
        )
    return address


def _is_host(text: str) -> bool:
    """Say whether this is a host's name or address, one of IPv6 in brackets."""
    if text.startswith("[") and text.endswith("]"):
        try:
            ipaddress.IPv6Address(text[1:-1].partition("%")[0])
        except ValueError:
            return False
        return True
    # Names in a local network may have underscores, and other alphabets.
    return bool(text) and all(c.isalnum() or c in "-_." for c in text)


def resolve_data_dir(data_dir: str, namespace: str) -> Path:
    """Return the folder of a robot's data.

    Args:
        data_dir: The setting, "" for the default.
        namespace: The node's namespace, which parts the robots of one machine.
    """
    if data_dir:
        return expand_path(data_dir)
    return expand_path(DEFAULT_DATA_DIR).joinpath(*namespace.strip("/").split("/"))


def expand_path(path: str) -> Path:
    """Return an absolute path with ~ and environment variables expanded."""
    return Path(os.path.expandvars(path)).expanduser().absolute()


def existing_file(name: str, path: str) -> Path:
    """Return the absolute path of a file that a setting names.

    Args:
        name: The setting.
        path: Its value.

    Raises:
        SettingError: There is no such file, or it cannot be read.
    """
    file = expand_path(path)
    try:
        with file.open("rb"):
            return file
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise SettingError(f"{name} is {path!r}; {file} cannot be read: {reason}") from error
