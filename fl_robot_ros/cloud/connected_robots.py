"""The robots of a run: who is connected, what they are called, and whom to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from flwr.serverapp import Grid

from fl_robot_ros.cloud.history import History
from fl_robot_ros.cloud.update_check import Reply

_POLL_SEC = 0.25
_WAITING_NOTE_SEC = 30.0
# A robot that has had no connection for so long is asked nothing.
_RECONNECT_SEC = 5.0
# So long its reply is waited for: where there is a quorum or another robot to ask, and where there
# is none. A robot that trains connects again with its next heartbeat, after 16 s at most.
_LOST_SEC, _LONG_LOST_SEC = 20.0, 45.0


class ConnectedRobots:
    """Asks Flower's Grid who is there, and the history whom the gate has lost."""

    def __init__(
        self,
        grid: Grid,
        history: History,
        sleep: Callable[[float], None],
        enrolled_name: Callable[[bytes], str] | None,
    ) -> None:
        """Ask nobody yet.

        Args:
            grid: Flower's Grid.
            history: Knows names and absences, and takes lines for the operator.
            sleep: Waits, in s.
            enrolled_name: Returns the name of the robot with a public key; None: robots say their
                names themselves.
        """
        self._grid = grid
        self._history = history
        self._sleep = sleep
        self._enrolled_name = enrolled_name
        self._names = history.robot_names()
        self._keys: dict[int, bytes] = {}

    def online(self) -> list[int]:
        """Return the connected robots."""
        return sorted(self._registered() - self._gone(_RECONNECT_SEC))

    def reachable(self) -> list[int]:
        """Return the connected robots, and those whose connection ended a short time ago.

        A robot that was busy for some seconds has none; what it just replied is known sooner than
        that it is back.
        """
        return sorted(self._registered() - self._gone(_LOST_SEC))

    def lost(self, asked: Collection[int], *, is_quorum: bool) -> set[int]:
        """Return those of some robots whose replies are waited for no longer.

        Args:
            asked: The robots.
            is_quorum: Whether enough replies are there.
        """
        lost = self._gone(_LOST_SEC) & {*asked}
        if lost and not is_quorum and not set(self.online()) - {*asked}:
            return lost & self._gone(_LONG_LOST_SEC)
        return lost

    def wait(self, wanted: int) -> list[int]:
        """Wait until so many robots are connected; return all of them."""
        noted: tuple[int, float] | None = None
        while len(nodes := self.online()) < wanted:
            now = time.monotonic()
            if noted is None or noted[0] != len(nodes) or now - noted[1] > _WAITING_NOTE_SEC:
                self._history.add_event(f"waiting for robots: {len(nodes)} of {wanted} connected")
                noted = (len(nodes), now)
            self._sleep(_POLL_SEC)
        return nodes

    def gather(self, nodes: Sequence[int], wait_sec: float) -> Sequence[int]:
        """Wait for more robots, at most for as many as the last run had; return all.

        Args:
            nodes: The robots that are there.
            wait_sec: Longest wait in s.
        """
        expected = self._history.robots_in_last_run()
        if 0 < expected <= len(nodes):
            return nodes
        wanted = f"the {expected} of the last run" if expected else "more"
        self._history.add_event(
            f"robots connected: {len(nodes)}; waiting up to {wait_sec:g} s for {wanted}"
        )
        end = time.monotonic() + wait_sec
        while time.monotonic() < end and not 0 < expected <= len(nodes):
            self._sleep(_POLL_SEC)
            nodes = self.online()
        self._history.add_event(f"robots connected: {len(nodes)}; the run begins")
        return nodes

    def name(self, node: int) -> str:
        """Return the name of a robot, "" where it is not known."""
        return self._names.get(node, "")

    def named(self, reply: Reply) -> Reply:
        """Return the reply with the enrolled name, or that which the robot gave in its first."""
        if reply.is_named and self._enrolled_name is None:
            self._names[reply.node_id] = reply.robot
        return replace(reply, robot=self._names.get(reply.node_id, reply.robot))

    def _registered(self) -> set[int]:
        """Return the robots that Flower knows, and take their keys and enrolled names."""
        connected = {node.node_id: node.public_key for node in self._grid.get_nodes()}
        self._keys |= connected
        if self._enrolled_name is not None:
            self._names |= {node: self._enrolled_name(key) for node, key in connected.items()}
        return {*connected}

    def _gone(self, seconds: float) -> set[int]:
        """Return the robots that the gate has had no connection of for so long."""
        before = time.time() - seconds
        absent = {key for key, since in self._history.absent().items() if since < before}
        return {node for node, key in self._keys.items() if key in absent}
