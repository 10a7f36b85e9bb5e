"""What any node can hold to follow the fleet's models."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node
from std_msgs.msg import String

from fl_robot_ros.delivery.loader import ModelLoader
from fl_robot_ros.delivery.manifest import MANIFEST_FILE, Manifest
from fl_robot_ros.delivery.model_access import ModelAccess
from fl_robot_ros.errors import FlRobotError
from fl_robot_ros.ros.qos import LATCHED


class ModelFollower:
    """Calls a node back with each verified model that is announced on `fl/model_path`.

        class MyNode(Node):
            def __init__(self):
                super().__init__("my_node")
                self.follower = ModelFollower(self, self.on_model)

            def on_model(self, manifest: Manifest, path: Path) -> None:
                ...

    A thread checks a model: that its files have the SHA-256 of the manifest, and what `access`
    asks for. What fails a check is logged, and the node keeps the model that it has.
    """

    def __init__(
        self,
        node: Node,
        on_model: Callable[[Manifest, Path], None],
        access: ModelAccess | None = None,
    ) -> None:
        """Subscribe.

        Args:
            node: The node. Its executor makes the calls, so `on_model` needs no lock.
            on_model: Called with the manifest and the announced file or folder, without links. An
                FlRobotError that it raises is logged.
            access: Which models may be taken; None: every whole one, wherever it lies.
        """
        self._node = node
        self._on_model = on_model
        self._access = access
        self._verified: deque[tuple[Manifest, Path]] = deque()
        self._is_verified = node.create_guard_condition(self._deliver)
        self._loader = ModelLoader(self._verify, self._take, self._report)
        self._subscription = node.create_subscription(
            String, "fl/model_path", lambda message: self._loader.request(message.data), LATCHED
        )

    def destroy(self) -> None:
        """Unsubscribe and end the thread."""
        self._node.destroy_subscription(self._subscription)
        self._loader.stop()
        self._node.destroy_guard_condition(self._is_verified)

    def _verify(self, path: str) -> tuple[Manifest, Path]:
        """Return the manifest and the place of a model.

        Raises:
            FlRobotError: It may not be taken, or is not whole.
        """
        place = self._access.check(path) if self._access is not None else Path(path).resolve()
        folder = place if place.is_dir() else place.parent
        manifest = Manifest.load(folder / MANIFEST_FILE)
        manifest.verify(folder)
        return manifest, place

    def _take(self, verified: tuple[Manifest, Path]) -> None:
        self._verified.append(verified)
        self._is_verified.trigger()

    def _deliver(self) -> None:
        while self._verified:
            manifest, path = self._verified.popleft()
            try:
                self._on_model(manifest, path)
            except FlRobotError as error:
                self._report(str(path), error)

    def _report(self, path: str, error: FlRobotError) -> None:
        self._node.get_logger().error(f"the model at {path!r} was not taken: {error}")
