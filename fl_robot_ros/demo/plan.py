"""The numbers of a demonstration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fl_robot_ros.config import ServerSettings

ROBOTS = ("robot1", "robot2")
IMAGE_TOPIC = "camera/image_raw"
# Enough for signs that fill the image, and 1.6 times quicker to train than 32x32 in colour.
INPUT_SIZE_PX = 24
INPUT_CHANNELS = 1


@dataclass(frozen=True)
class DemoPlan:
    """Numbers of one demonstration.

    Attributes:
        scene: "digits" or "shapes".
        out_dir: Folder for everything that the demonstration writes.
        frames: Labelled frames in each robot's bag.
        test_frames: Labelled frames in the test bag.
        rounds: Rounds of the federation.
        local_epochs: Epochs that a robot trains in a round.
        batch_size: Images in a batch.
        playback_speed: Speed at which the streamer plays a bag, against recorded time.
        seed: Seed of scene and training.
    """

    scene: str = "digits"
    out_dir: Path = Path("build/demo")
    frames: int = 900
    test_frames: int = 600
    rounds: int = 7
    local_epochs: int = ServerSettings.local_epochs
    batch_size: int = ServerSettings.batch_size
    playback_speed: float = 3.0
    seed: int = 2

    @property
    def bags_dir(self) -> Path:
        """Folder of the bags."""
        return self.out_dir / "bags"

    @property
    def log_dir(self) -> Path:
        """Folder of the processes' output."""
        return self.out_dir / "logs"

    @property
    def state_dir(self) -> Path:
        """Folder of the server's state."""
        return self.out_dir / "server"

    def robot_dir(self, robot: str) -> Path:
        """Folder of a robot's data."""
        return self.out_dir / robot

    def bag(self, split: str) -> Path:
        """Bag of a robot, or of "test"."""
        return self.bags_dir / split
