"""What `nodes.graph_listener` saw of a robot's ROS graph, without ROS' own types."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from fl_robot_ros.name_list import name_list

# The listener's exit code where a name to listen to is invalid.
INVALID_CODE = 3

_NS_PER_SEC = 1e9
# Fewer frames tell nothing of gaps.
_MIN_FRAMES = 6
# Quantile of the steps between stamps that counts as the camera's period: steps jitter, and frames
# that are lost make some of them longer.
_PERIOD_QUANTILE = 0.2


class Endpoint(NamedTuple):
    """A publisher or a subscription.

    Attributes:
        node: Full name of its node.
        type_name: Message type, for example "sensor_msgs/msg/Image".
        is_reliable: Whether its reliability is RELIABLE.
        is_latched: Whether its durability is TRANSIENT_LOCAL.
    """

    node: str
    type_name: str
    is_reliable: bool
    is_latched: bool


class Arrival(NamedTuple):
    """A message that arrived.

    Attributes:
        arrived_ns: When, in ns since the epoch by this machine's clock.
        published_ns: When it was published by the publisher's clock, as `arrived_ns` where the
            middleware does not say.
        stamp_ns: Its header's stamp, as `published_ns` without one.
        size_bytes: Size of its data.
    """

    arrived_ns: int
    published_ns: int
    stamp_ns: int
    size_bytes: int


@dataclass(frozen=True)
class Topic:
    """A topic, and what came on it while somebody listened.

    Attributes:
        name: Full name.
        publishers: Its publishers.
        subscribers: The subscriptions of others.
        arrivals: The messages, in their order.
    """

    name: str
    publishers: tuple[Endpoint, ...] = ()
    subscribers: tuple[Endpoint, ...] = ()
    arrivals: tuple[Arrival, ...] = ()

    @property
    def types(self) -> list[str]:
        """The types of the publishers, sorted."""
        return sorted({one.type_name for one in self.publishers})

    @property
    def publisher_names(self) -> str:
        """The nodes that publish it, for people."""
        return name_list(sorted({one.node for one in self.publishers})) or "the publisher"

    @property
    def rate_hz(self) -> float:
        """Messages a second between the first and the last, 0 for fewer than two."""
        if len(self.arrivals) < 2:
            return 0.0
        span_ns = self.arrivals[-1].arrived_ns - self.arrivals[0].arrived_ns
        return (len(self.arrivals) - 1) * _NS_PER_SEC / span_ns if span_ns > 0 else 0.0

    @property
    def clock_lag_sec(self) -> float:
        """How long messages seem to travel at least: below 0, the publisher's clock is ahead."""
        return min((one.arrived_ns - one.published_ns for one in self.arrivals), default=0) / 1e9

    @property
    def stamp_age_sec(self) -> float:
        """How old stamps are when they are published, the median."""
        ages = [one.published_ns - one.stamp_ns for one in self.arrivals]
        return statistics.median(ages) / _NS_PER_SEC if ages else 0.0

    @property
    def lost_share(self) -> float:
        """Share of the frames that did not arrive, by the gaps between stamps: 0 to 1."""
        stamps = sorted({one.stamp_ns for one in self.arrivals})
        if len(stamps) < _MIN_FRAMES:
            return 0.0
        steps = sorted(later - earlier for earlier, later in pairwise(stamps))
        period = steps[int(len(steps) * _PERIOD_QUANTILE)]
        expected = (stamps[-1] - stamps[0]) / period
        return max(0.0, 1.0 - len(steps) / expected)


@dataclass(frozen=True)
class Battery:
    """The newest `sensor_msgs/msg/BatteryState`.

    Attributes:
        percentage: Charge as published, None for NaN.
        is_present: Whether there is a battery.
    """

    percentage: float | None
    is_present: bool


@dataclass(frozen=True)
class RobotGraph:
    """One robot's part of the ROS graph.

    Attributes:
        namespace: The robot's namespace.
        middleware: For example "rmw_fastrtps_cpp".
        image_profile: What the environment of a camera driver needs for large images, as
            NAME=VALUE; "" where the middleware needs none.
        bridge_fault: Why the installed cv_bridge does not work, "" if it does.
        seconds: How long somebody listened.
        num_nodes: Nodes of others.
        cameras: The topics of `image_topics`.
        labels: The topic of labels.
        model_path: The topic on which the model is announced.
        types: Types of every topic that somebody publishes, hidden ones too, by full name.
        image_topics: Every topic of cameras, by name.
        battery_topics: Every topic of batteries, by name.
        battery_topic: The topic asked for, None for none.
        battery: What came on it.
        client_namespaces: Namespaces with an `fl_client`.
        client_parameters: Parameters of this robot's `fl_client`, by name.
        status: `state` and the values on `fl/status`, empty for none.
        perception_model: The model in use by `fl_perception`; None where none runs.
        has_clock: Whether somebody publishes /clock.
    """

    namespace: str
    middleware: str
    image_profile: str
    bridge_fault: str
    seconds: float
    num_nodes: int = 0
    cameras: tuple[Topic, ...] = ()
    labels: Topic = Topic("/fl/label")
    model_path: Topic = Topic("/fl/model_path")
    types: dict[str, list[str]] = field(default_factory=dict)
    image_topics: tuple[str, ...] = ()
    battery_topics: tuple[str, ...] = ()
    battery_topic: Topic | None = None
    battery: Battery | None = None
    client_namespaces: tuple[str, ...] = ()
    client_parameters: dict[str, Any] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    perception_model: str | None = None
    has_clock: bool = False

    def full_name(self, name: str) -> str:
        """Return the full name of a topic of `fl_client`, remappings aside."""
        namespace = self.namespace.rstrip("/")
        if name.startswith("~"):
            return f"{namespace}/fl_client{name[1:]}"
        return name if name.startswith("/") else f"{namespace}/{name}"

    def to_json(self) -> str:
        """Return everything as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RobotGraph:
        """Return what `to_json` wrote.

        Raises:
            ValueError: The text is something else.
            TypeError: A field is missing or of another kind.
        """
        values = json.loads(text)
        battery, topic = values.pop("battery"), values.pop("battery_topic")
        others: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one
            for name, one in values.items()
            if name not in ("cameras", "labels", "model_path")
        }
        return cls(
            cameras=tuple(map(_topic, values["cameras"])),
            labels=_topic(values["labels"]),
            model_path=_topic(values["model_path"]),
            battery=Battery(**battery) if battery else None,
            battery_topic=_topic(topic) if topic else None,
            **others,
        )


@dataclass(frozen=True)
class ListenRequest:
    """What to listen to.

    Attributes:
        namespace: The robot's namespace, which begins with "/".
        image_topics: The cameras; None for those of a running `fl_client`, or else the default.
        battery_topic: The battery; "" for that of a running `fl_client` whose rules need one, or
            else none.
        seconds: How long to listen, s.
    """

    namespace: str
    image_topics: Sequence[str] | None
    battery_topic: str
    seconds: float

    def battery_of(self, parameters: Mapping[str, Any]) -> str:
        """Return the topic of the battery to listen to, "" for none.

        Args:
            parameters: Those of a running `fl_client`, by name; empty where none runs.
        """
        rules = (*parameters.get("learn_when", ()), *parameters.get("learn_while", ()))
        return self.battery_topic or (
            str(parameters.get("battery_topic", "")) if need_battery(rules) else ""
        )


def need_battery(rules: Iterable[str]) -> bool:
    """Say whether any of the rules of `learn_when` and `learn_while` reads the battery."""
    return any(rule.split()[:1] in (["battery"], ["charging"]) for rule in rules)


def _topic(values: dict[str, Any]) -> Topic:
    return Topic(
        values["name"],
        tuple(Endpoint(*one) for one in values["publishers"]),
        tuple(Endpoint(*one) for one in values["subscribers"]),
        tuple(Arrival(*one) for one in values["arrivals"]),
    )
