"""Every setting of every program, declared once: default, unit, range, description.

ROS parameters (with their descriptors) and `--help` are made from these classes; `make docs`
writes config/*.yaml and docs/settings.md from them. Stays on Python 3.10 and free of third-party
imports.
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
DEFAULT_KEYS_DIR = "fleet_keys"
LOSSES = ("calibrated", "plain")
PUBLISH_CONDITIONS = ("not_worse", "better_by", "always")
INT8_FILE = "model_int8.tflite"
STRATEGIES = ("FedAvg", "FedAvgM", "FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan")


@dataclass(frozen=True)
class ClientSettings(Settings):
    """Parameters of the node `fl_client`."""

    robot_name: str = setting(
        "",
        "Name shown to the fleet operator; empty: that of the enrolment, the node's namespace, or "
        "else the host name.",
    )
    data_dir: str = setting(
        "",
        "Folder for this robot's dataset, snapshots, models and logs; empty: "
        f"{DEFAULT_DATA_DIR}, or in a namespace its subfolder of that name.",
    )
    image_topics: tuple[str, ...] = setting(
        ("camera/image_raw",),
        "Camera topics, sensor_msgs Image or CompressedImage; the publishers tell which.",
    )
    bag_paths: tuple[str, ...] = setting(
        (), "Rosbags to import into the dataset, at start and whenever the parameter is set."
    )
    capture_enabled: bool = setting(True, "Whether capture is on at start.")
    sample_rate_hz: float = setting(
        5.0,
        "Most frames kept per second and camera, by capture time.",
        unit="Hz",
        minimum=0.001,
        maximum=1000.0,
    )
    jpeg_quality: int = setting(
        95,
        "Quality of stored JPEG files; frames that arrive as JPEG are stored unchanged.",
        minimum=1,
        maximum=100,
    )
    queue_size: int = setting(
        64,
        "Frames that may wait for encoding; further ones are dropped and counted.",
        unit="frames",
        minimum=1,
        maximum=10000,
    )
    encoder_threads: int = setting(
        0,
        "Threads that encode frames; 0: one per core.",
        unit="threads",
        minimum=0,
        maximum=64,
    )
    label_settle_sec: float = setting(
        4.0,
        "How long a frame waits for labels that were published before it but arrive late (DDS may "
        "take 3 s to resend one).",
        unit="s",
        minimum=0.0,
        maximum=60.0,
    )
    label_hold_sec: float = setting(
        0.0,
        "How long a label stays in force at most; 0: until the next one.",
        unit="s",
        minimum=0.0,
        maximum=86400.0,
    )
    label_lookback_sec: float = setting(
        0.0,
        "How far back a label applies to frames without one, for 'what we just passed was a "
        "pallet'.",
        unit="s",
        minimum=0.0,
        maximum=600.0,
    )
    topic_labels: tuple[str, ...] = setting(
        (),
        "Fixed labels of topics, for frames without any other, as in 'camera/image_raw: pallet'.",
    )
    privacy_masks: tuple[str, ...] = setting(
        (),
        "Polygons painted black before anything is stored, in fractions of width and height, as "
        "in 'camera/image_raw: 0,0.7 1,0.7 1,1 0,1'.",
    )
    min_brightness: float = setting(
        0.0, "Drop darker frames: lowest mean grey value to keep.", minimum=0.0, maximum=255.0
    )
    max_brightness: float = setting(
        255.0, "Drop brighter frames: highest mean grey value to keep.", minimum=0.0, maximum=255.0
    )
    min_sharpness: float = setting(
        0.0,
        "Drop blurred frames: lowest variance of the Laplacian at 160 px to keep; 0: off.",
        minimum=0.0,
        maximum=100000.0,
    )
    min_difference_bits: int = setting(
        0,
        "Near-duplicate filter: drop a frame whose 64-bit difference hash differs from a recent "
        "frame of its class in fewer bits than this; 0: off.",
        unit="bits",
        minimum=0,
        maximum=64,
    )
    review_pool_size: int = setting(
        1000,
        "Frames without a label that are kept for a person to label; 0: none.",
        unit="images",
        minimum=0,
        maximum=10000000,
    )
    max_samples_per_label: int = setting(
        0,
        "Most images of one label; larger classes are thinned out evenly over time; 0: no limit.",
        unit="images",
        minimum=0,
        maximum=10000000,
    )
    max_dataset_mb: int = setting(
        4096,
        "Most disk space for images; the largest class is thinned out first; 0: no limit.",
        unit="MB",
        minimum=0,
        maximum=100000000,
    )
    disk_reserve_mb: int = setting(
        256,
        "Disk space that stays free; capture pauses before using it.",
        unit="MB",
        minimum=0,
        maximum=100000000,
    )
    holdout_fraction: float = setting(
        0.2,
        "Share of each class held out for evaluation; of captured images, whole time segments.",
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
        "Labelled images needed to start a run on the captured dataset.",
        unit="images",
        minimum=2,
        maximum=10000000,
    )
    dataset_source: str = setting(
        "capture",
        "Training data: capture (the robot's own dataset), folder:/path (one folder per "
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
        "Number of partitions of a hub dataset, the same on all robots.",
        unit="partitions",
        minimum=1,
        maximum=100000,
    )
    dirichlet_alpha: float = setting(
        0.0,
        "How labels are spread over the partitions, the same on all robots; 0: evenly; above 0: "
        "by a Dirichlet distribution, the smaller the value the less evenly.",
        minimum=0.0,
        maximum=1000000.0,
    )
    server_address: str = setting(
        "",
        "Server as host:port; empty: environment variables SERVER_IP and SERVER_PORT, then the "
        f"enrolment, or else 127.0.0.1:{DEFAULT_SERVER_PORT}.",
    )
    enrolment: str = setting(
        "",
        "File of 'fl_keys robot NAME' that makes this robot a member of a fleet: its name, its "
        "key and the server's certificate authority; empty: none.",
    )
    root_certificates: str = setting(
        "",
        "PEM file of the server's certificate authority; empty: that of the enrolment, or else "
        "plain HTTP.",
    )
    insecure: bool = setting(
        False,
        "Whether to go to a server on the network without TLS, where everybody on the network can "
        "read and change what is sent.",
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
        "How long a run goes on without a connection to the server.",
        unit="s",
        minimum=1.0,
        maximum=86400.0,
    )
    worker_python: str = setting(
        "", "Python interpreter with Flower and TensorFlow; empty: the node's own."
    )
    worker_threads: int = setting(
        0,
        "Threads for training; 0: one per core.",
        unit="threads",
        minimum=0,
        maximum=1024,
    )
    worker_nice: int = setting(
        10,
        "Niceness of the fleet worker: the higher, the more training yields to other work.",
        minimum=0,
        maximum=19,
    )
    worker_memory_limit_mb: int = setting(
        4096,
        "Most memory of the fleet worker; a run that needs more is refused or left; 0: no limit.",
        unit="MB",
        minimum=0,
        maximum=100000000,
    )
    worker_keep_warm_sec: float = setting(
        0.0,
        "How long the fleet worker waits after a run for the next one, which then trains some "
        "seconds sooner; it holds about 400 MB meanwhile, more with a large model. 0: it ends "
        "with its run.",
        unit="s",
        minimum=0.0,
        maximum=604800.0,
    )
    published_file: str = setting(
        "model.keras",
        "File of a model version that is announced on fl/model_path.",
        choices=("model.keras", "model.tflite", INT8_FILE, "manifest.json"),
    )
    export_int8: bool = setting(
        False,
        "Whether a version has a file model_int8.tflite too: smaller and faster, its 8-bit ranges "
        "measured on the robot's own training images.",
    )
    publish_if: str = setting(
        "not_worse",
        "When a delivered model becomes the current one, by both models' answers on the held-out "
        "images: not_worse, better_by publish_margin, or always.",
        choices=PUBLISH_CONDITIONS,
    )
    publish_margin: float = setting(
        0.05,
        "Accuracy that a model may lose against the current one with publish_if not_worse, and "
        "must gain with better_by.",
        minimum=0.0,
        maximum=1.0,
    )
    guarded_classes: tuple[str, ...] = setting(
        (),
        "Classes of which a new model must find as many held-out images as the current one does.",
    )
    first_model_min_accuracy: float = setting(
        0.0,
        "Lowest accuracy of a first model, which has none to be compared with; it must be better "
        "than a guess in any case.",
        minimum=0.0,
        maximum=1.0,
    )
    max_latency_ms: float = setting(
        0.0,
        "Longest median time of a model for one image, with one thread; 0: no limit.",
        unit="ms",
        minimum=0.0,
        maximum=600000.0,
    )
    keep_versions: int = setting(
        5, "Number of model versions kept on disk.", unit="versions", minimum=2, maximum=1000
    )
    learn: str = setting(
        "off",
        "Whether the robot starts runs by itself when its rules hold: auto; suggest: it says that "
        "it would, and a person starts them; off: a person starts them.",
        choices=("off", "suggest", "auto"),
    )
    learn_when: tuple[str, ...] = setting(
        (),
        "Rules that must hold, besides learn_while, before the robot starts a run by itself, as "
        "in 'new_samples >= 200', 'hours_since_run >= 6' or 'clock in 22:00-05:00'; see "
        "docs/autonomy.md.",
    )
    learn_while: tuple[str, ...] = setting(
        (),
        "Rules that must hold to begin a run and to go on with it, or else it pauses, as in "
        "'charging for 30 s', 'battery >= 0.4', 'still for 60 s', 'no_goal for 60 s' or "
        "'topic fl/may_learn'; see docs/autonomy.md.",
    )
    start_round_ignores_rules: bool = setting(
        False, "Whether a run that fl/start_round starts ignores learn_while too."
    )
    battery_topic: str = setting(
        "battery_state", "Topic of the rules battery and charging, sensor_msgs BatteryState."
    )
    motion_topics: tuple[str, ...] = setting(
        ("cmd_vel",),
        "Topics of the rule still, geometry_msgs Twist or TwistStamped or nav_msgs Odometry; the "
        "publishers tell which.",
    )
    action_names: tuple[str, ...] = setting(
        ("navigate_to_pose", "navigate_through_poses", "follow_waypoints", "dock_robot"),
        "Actions whose goals the rule no_goal looks at.",
    )
    temperature_topic: str = setting(
        "",
        "Topic of the rule temperature, sensor_msgs Temperature; empty: the hottest thermal zone "
        "of this computer.",
    )
    signal_timeout_sec: float = setting(
        10.0,
        "How long a topic of a rule may be silent before the rule does not hold.",
        unit="s",
        minimum=0.1,
        maximum=3600.0,
    )
    pause_max_sec: float = setting(
        120.0,
        "How long a run may pause before the robot leaves it.",
        unit="s",
        minimum=0.0,
        maximum=86400.0,
    )

    def check(self) -> None:
        """Check that a frame of some brightness would be kept, and a published file written.

        Raises:
            SettingError: `min_brightness` is above `max_brightness`, or `published_file` names a
                file that `export_int8` leaves out.
        """
        if self.min_brightness > self.max_brightness:
            raise SettingError(
                f"min_brightness is {self.min_brightness!r}; expected at most max_brightness, "
                f"{self.max_brightness!r}, or no frame would be kept"
            )
        if self.published_file == INT8_FILE and not self.export_int8:
            raise SettingError(
                f"published_file is {INT8_FILE!r}; expected export_int8: true beside it, or "
                "another file"
            )


@dataclass(frozen=True)
class PerceptionSettings(Settings):
    """Parameters of the node `fl_perception`."""

    image_topics: tuple[str, ...] = setting(
        ("camera/image_raw",),
        "Camera topics to run the model on, sensor_msgs Image or CompressedImage; with several, "
        "each has its results below fl/perception/ and its own name.",
    )
    data_dir: str = setting(
        "",
        "This robot's data folder, that of fl_client: models are taken from its models/; empty: "
        f"{DEFAULT_DATA_DIR}, or in a namespace its subfolder of that name.",
    )
    allowed_model_dirs: tuple[str, ...] = setting(
        (), "Other folders that a model announced on fl/model_path may lie in."
    )
    enrolment: str = setting(
        "",
        "File of 'fl_keys robot NAME': models are taken only with the signature of its fleet; "
        "empty: without one.",
    )
    model_path: str = setting(
        "",
        "Model to start with, in any folder; empty: wait for the first path on fl/model_path.",
    )
    queue_size: int = setting(
        1,
        "Frames of each camera that may wait for inference; beyond that the oldest is dropped and "
        "counted. 1: the newest frame is always the next.",
        unit="frames",
        minimum=1,
        maximum=1000,
    )
    num_threads: int = setting(
        1, "Threads of the LiteRT interpreter.", unit="threads", minimum=1, maximum=64
    )
    min_confidence: float = setting(
        0.0,
        "Lowest probability of a label; below it the published label is empty.",
        minimum=0.0,
        maximum=1.0,
    )
    smoothing_sec: float = setting(
        0.0,
        "Time constant of the exponential mean over a camera's probabilities, from which its "
        "labels come; 0: each frame by itself.",
        unit="s",
        minimum=0.0,
        maximum=60.0,
    )
    probation_sec: float = setting(
        30.0,
        "How long a new model is compared with the one before it, at least, and left again where "
        "it does worse (docs/models.md); 0: no probation.",
        unit="s",
        minimum=0.0,
        maximum=3600.0,
    )
    max_latency_ms: float = setting(
        0.0,
        "Largest median time for one image that a new model may take in its probation; 0: five "
        "times that of the model before, or 100 ms.",
        unit="ms",
        minimum=0.0,
        maximum=60000.0,
    )
    annotated_edge_px: int = setting(
        240,
        "Shorter edge of the images with their labels drawn in; larger ones are scaled down. With "
        "480 and more, a viewer over DDS' default transports makes results late.",
        unit="px",
        minimum=240,
        maximum=4096,
    )

    def check(self) -> None:
        """Check that there is a camera.

        Raises:
            SettingError: There is none.
        """
        if not self.image_topics:
            raise SettingError("image_topics is empty; expected the topic of one or more cameras")


@dataclass(frozen=True)
class ViewerSettings(Settings):
    """Parameters of the node `fl_viewer`."""

    image_topic: str = setting(
        "camera/image_raw", "Camera topic to show, sensor_msgs Image or CompressedImage."
    )
    result_topic: str = setting(
        "fl/perception/result",
        "Topic of what fl_perception says of that camera; with several cameras it has the "
        "camera's name, as in fl/perception/front/image_raw/result.",
    )
    window: bool = setting(
        True, "Whether to open a window where there is a display; else there is a page."
    )
    page_port: int = setting(
        0,
        "TCP port of the page on this machine, http://127.0.0.1:PORT/; 0: a free one.",
        minimum=0,
        maximum=65535,
    )


@dataclass(frozen=True)
class StreamerSettings(Settings):
    """Parameters of the node `fl_streamer`."""

    source: str = setting("0", "Camera number or device, folder of images, video file, or rosbag.")
    image_topic: str = setting(
        "camera/image_raw",
        "Topic to publish on; a rosbag keeps its recorded names.",
    )
    rate_hz: float = setting(
        0.0,
        "Frames per second; 0: the source's own rate (5 for a folder).",
        unit="Hz",
        minimum=0.0,
        maximum=1000.0,
    )
    playback_speed: float = setting(
        1.0,
        "Speed of a rosbag or video relative to its recorded time.",
        minimum=0.01,
        maximum=100.0,
    )
    compressed: bool = setting(
        False,
        "Whether to publish CompressedImage (JPEG) instead of Image; a rosbag stays as it is.",
    )
    jpeg_quality: int = setting(90, "JPEG quality of compressed images.", minimum=1, maximum=100)
    label: str = setting("", "Label for the whole source; empty: the labels in the folder or bag.")
    loop: bool = setting(False, "Whether to start again at the end of the source.")
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
        "fl_server_state", "Folder for the database, checkpoints, history and logs."
    )
    keep_checkpoints: int = setting(
        100,
        "Checkpoints of the newest rounds that are kept, beside those of runs' models; 0: all.",
        unit="checkpoints",
        minimum=0,
        maximum=1000000,
    )
    classes: tuple[str, ...] = setting(
        (), "Class names, two or more, in the order of the model's outputs; required."
    )
    initial_model: str = setting(
        "", "Keras file of the first global model; empty: the reference CNN."
    )
    input_height: int = setting(
        32, "Height of the model's input.", unit="px", minimum=10, maximum=4096
    )
    input_width: int = setting(
        32, "Width of the model's input.", unit="px", minimum=10, maximum=4096
    )
    input_channels: int = setting(
        3, "Channels of the model's input: 3 for RGB, 1 for grey.", choices=(1, 3)
    )
    input_scale: float = setting(
        1.0 / 255.0,
        "Factor from 8-bit pixel values to the model's input.",
        minimum=1e-6,
        maximum=1.0,
    )
    min_nodes: int = setting(
        2,
        "Robots that must be connected before a round starts, and whose updates must count.",
        unit="robots",
        minimum=1,
        maximum=100000,
    )
    num_rounds: int = setting(
        3,
        "Rounds in a run; 0: it sends the released model at once, and nothing else.",
        unit="rounds",
        minimum=0,
        maximum=1000000,
    )
    release: str = setting(
        "auto",
        "Which models go to robots: auto, that of each run; approve, that which a person names "
        "with fl_server release.",
        choices=("auto", "approve"),
    )
    end_when_accuracy: float = setting(
        0.0,
        "End a run early once a round has this accuracy on the robots' held-out images; 0: never.",
        minimum=0.0,
        maximum=1.0,
    )
    end_when_no_gain_rounds: int = setting(
        0,
        "End a run early after so many rounds that did not raise its accuracy; 0: never.",
        unit="rounds",
        minimum=0,
        maximum=1000000,
    )
    fraction_train: float = setting(
        0.5,
        "Share of the connected robots that train in a round, but at least min_nodes.",
        minimum=0.01,
        maximum=1.0,
    )
    over_select: int = setting(
        0,
        "Robots asked to train beyond those that a round needs; it ends with the first replies.",
        unit="robots",
        minimum=0,
        maximum=100000,
    )
    fraction_evaluate: float = setting(
        1.0,
        "Share of the connected robots that evaluate, but at least min_nodes.",
        minimum=0.01,
        maximum=1.0,
    )
    local_epochs: int = setting(
        3, "Epochs that a robot trains per round.", unit="epochs", minimum=1, maximum=10000
    )
    batch_size: int = setting(
        32, "Images per training batch.", unit="images", minimum=1, maximum=65536
    )
    learning_rate: float = setting(
        0.003, "Learning rate of Adam on the robots.", minimum=1e-8, maximum=10.0
    )
    loss: str = setting(
        "calibrated",
        "Loss on the robots: calibrated for robots that see some classes more often than others, "
        "or plain cross-entropy.",
        choices=LOSSES,
    )
    strategy: str = setting(
        "FedAvgM",
        "Flower's strategy that makes one model of a round's updates, see docs/aggregation.md.",
        choices=STRATEGIES,
    )
    server_momentum: float = setting(
        0.5,
        "Share of the last round's step that FedAvgM repeats in the next one.",
        minimum=0.0,
        maximum=0.99,
    )
    max_malicious: int = setting(
        1,
        "Robots in a round that FedTrimmedAvg, Krum, MultiKrum and Bulyan provide against.",
        unit="robots",
        minimum=1,
        maximum=10000,
    )
    norm_limit: float = setting(
        5.0,
        "Refuse an update that is more than this many times as long as the median of its round; "
        "of one or two robots, shorten it to as many times the round before. 0: take any.",
        minimum=0.0,
        maximum=1000000.0,
    )
    min_cosine: float = setting(
        -1.0,
        "Refuse an update, of four or more, whose cosine with the mean of the others is smaller; "
        "-1: take any. For robots that see the same classes: others differ that much honestly.",
        minimum=-1.0,
        maximum=1.0,
    )
    weight_limit: float = setting(
        3.0,
        "Most that an update weighs in the mean, in medians of the images of its round; 0: no "
        "limit.",
        minimum=0.0,
        maximum=1000000.0,
    )
    max_examples: int = setting(
        1000000,
        "Most images that a robot may report for a round; a larger report is refused.",
        unit="images",
        minimum=1,
        maximum=1000000000,
    )
    round_timeout_sec: float = setting(
        3600.0,
        "How long to wait for the robots' replies.",
        unit="s",
        minimum=1.0,
        maximum=604800.0,
    )
    reply_grace: float = setting(
        3.0,
        "How long a round waits for further replies when min_nodes are there, as a multiple of "
        "the time that the last of them took, and at least 10 s; 0: always round_timeout_sec.",
        minimum=0.0,
        maximum=1000.0,
    )
    continuous: bool = setting(False, "Whether to begin the next run when one has ended.")
    schedule: tuple[str, ...] = setting(
        (),
        "When runs begin, as lines of cron in local time ('0 2 * * *': 02:00 every day); in "
        "between robots are sent away until then. Empty: at once.",
    )
    gather_sec: float = setting(
        0.0,
        "How long a run waits, once min_nodes are there, for as many robots as the last one had.",
        unit="s",
        minimum=0.0,
        maximum=86400.0,
    )
    come_back_sec: float = setting(
        0.0,
        "How long robots stay away after a run without a schedule; 0: as long as they like.",
        unit="s",
        minimum=0.0,
        maximum=31536000.0,
    )
    seed: int = setting(
        0, "Seed for the initial weights, shuffling and dropout.", minimum=0, maximum=2147483647
    )
    keys_dir: str = setting(
        "",
        "Key folder of the fleet, made by fl_keys: TLS, enrolled robots alone, and signed models; "
        "empty: none of that.",
    )
    insecure: bool = setting(
        False,
        "Whether to serve the network without TLS, where everybody can join, and read and change "
        "what is sent.",
    )
    ssl_certfile: str = setting(
        "",
        "TLS certificate of another authority; empty: that of keys_dir, or else plain HTTP.",
    )
    ssl_keyfile: str = setting("", "TLS private key to that certificate.")

    def check(self) -> None:
        """Check the classes, the strategy, the TLS files, and the way to the network.

        Raises:
            SettingError: There are fewer than two classes, two classes have the same name, runs
                begin by two rules, the strategy needs more robots, some TLS files are missing, or
                the host is on the network and TLS is neither set up nor given up.
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
                    "distinct names; upper and lower case count as the same"
                )
        if self.schedule and self.continuous:
            raise SettingError(
                f"schedule is {list(self.schedule)!r} and continuous is True; expected one of them"
            )
        needed = updates_needed(self.strategy, self.max_malicious)
        if self.min_nodes < needed:
            raise SettingError(
                f"min_nodes is {self.min_nodes!r}; expected {needed} or more for the strategy "
                f"{self.strategy} with max_malicious {self.max_malicious}"
            )
        files = ("ssl_certfile", "ssl_keyfile")
        absent = [name for name in files if not getattr(self, name)]
        if 0 < len(absent) < len(files):
            raise SettingError(
                f"{' and '.join(absent)} not given; expected {' and '.join(files)} for TLS, or "
                f"neither"
            )
        if self.insecure and self.uses_tls:
            raise SettingError(
                "insecure is true, and TLS is set up with keys_dir or ssl_certfile; expected one "
                "of them"
            )
        if not (self.insecure or self.uses_tls or is_loopback(self.host)):
            raise SettingError(
                f"host {self.host!r} opens the server to the network, and there is no TLS: make "
                f"keys with 'fl_keys init --host NAME' and set keys_dir: {DEFAULT_KEYS_DIR}; or "
                "set insecure: true, where everybody on the network may join and read"
            )

    @property
    def uses_tls(self) -> bool:
        """Whether the server speaks TLS."""
        return bool(self.keys_dir or self.ssl_certfile)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone.

    Args:
        host: A name or an address, IPv6 with brackets or without.
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def updates_needed(strategy: str, max_malicious: int) -> int:
    """Return how many updates a strategy needs in a round.

    Args:
        strategy: One of STRATEGIES.
        max_malicious: Malicious updates that it provides against. Bulyan needs four times as many
            and three (El Mhamdi et al., ICML 2018). Krum compares an update with all but so many
            and two others, its proof asks for twice as many and three (Blanchard et al., NeurIPS
            2017); the malicious ones must be fewer than the others.
    """
    honest_majority = 2 * max_malicious + 1
    return {
        "FedMedian": 3,
        "FedTrimmedAvg": honest_majority,
        "Krum": max(honest_majority, max_malicious + 3),
        "MultiKrum": max(honest_majority, max_malicious + 3),
        "Bulyan": 4 * max_malicious + 3,
    }.get(strategy, 1)


def resolve_server_address(
    server_address: str, environment: Mapping[str, str], enrolled_address: str = ""
) -> str:
    """Return "host:port" of the server.

    Args:
        server_address: The setting; "" for the environment's SERVER_IP and SERVER_PORT, whose
            defaults are the loopback address and port 8000.
        environment: Environment variables.
        enrolled_address: host:port in the robot's enrolment, where the environment has neither;
            "" without one.

    Raises:
        SettingError: The address has no port, or the port is not a number from 1 to 65535.
    """
    address = server_address
    if not address and not (environment.get("SERVER_IP") or environment.get("SERVER_PORT")):
        address = enrolled_address
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
    """Return whether the text is a host name or an address, IPv6 in brackets."""
    if text.startswith("[") and text.endswith("]"):
        try:
            ipaddress.IPv6Address(text[1:-1].partition("%")[0])
        except ValueError:
            return False
        return True
    # Host names of a local network may have underscores and letters of other alphabets.
    return bool(text) and all(c.isalnum() or c in "-_." for c in text)


def resolve_data_dir(data_dir: str, namespace: str) -> Path:
    """Return the folder of a robot's data.

    Args:
        data_dir: The setting, "" for the default.
        namespace: The node's namespace, which separates the robots of one machine.
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
        name: Name of the setting, for the message.
        path: Value of the setting.

    Raises:
        SettingError: The file is missing or cannot be read.
    """
    file = expand_path(path)
    try:
        with file.open("rb"):
            return file
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise SettingError(f"{name} is {path!r}; {file} cannot be read: {reason}") from error
