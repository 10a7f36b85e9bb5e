"""Checks of cameras: whether their images come, whole and in time, and to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fl_robot_ros.doctor.finding import Finding, ok, problem, warning
from fl_robot_ros.doctor.robot_graph import Endpoint, RobotGraph, Topic
from fl_robot_ros.name_list import name_list

_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_RAW = _IMAGE_TYPES[0]
# Of the frames, above which gaps are loss and not jitter.
_MUCH_LOST = 1 / 3
# A stamp that is older is of another clock: no camera takes so long.
_STAMP_SEC = 5.0
_RMEM_MAX = Path("/proc/sys/net/core/rmem_max")


def check_cameras(graph: RobotGraph) -> Iterator[Finding]:
    """Find cameras that are silent, of another type, or lose images."""
    for camera in graph.cameras:
        yield from _check_camera(camera, graph)
        yield from _check_subscribers(camera)


def check_stamps(camera: Topic, graph: RobotGraph) -> Iterator[Finding]:
    """Find stamps that stand still, or are of another clock."""
    stamps = {one.stamp_ns for one in camera.arrivals}
    age = camera.stamp_age_sec
    if len(camera.arrivals) > 1 and len(stamps) == 1:
        yield warning(
            f"{camera.name}: every image has the same stamp; images are told apart by the time of "
            "publication",
            "have the driver stamp each image when it is taken",
        )
    elif abs(age) > _STAMP_SEC:
        side = "behind" if age > 0 else "ahead of"
        fix = "set the camera's clock, or have its driver stamp with ROS' time"
        if graph.has_clock:
            fix = "use_sim_time:=true for fl_client, since there is a /clock"
        yield warning(
            f"{camera.name}: stamps are {abs(age):,.0f} s {side} the time of publication", fix
        )


def _check_camera(camera: Topic, graph: RobotGraph) -> Iterator[Finding]:
    images = [one for one in camera.publishers if one.type_name in _IMAGE_TYPES]
    others = name_list(name for name in graph.image_topics if name != camera.name)
    if not camera.publishers:
        yield problem(
            f"nobody publishes {camera.name}",
            f"start the camera; or set image_topics, of which there are {others}"
            if others
            else "start the camera's driver, or correct image_topics",
        )
    elif not images:
        yield problem(
            f"{camera.name} carries {name_list(camera.types)}, no image",
            f"set image_topics, of which there are {others}"
            if others
            else f"image_topics takes {' and '.join(_IMAGE_TYPES)}",
        )
    elif not camera.arrivals:
        yield problem(
            f"{camera.publisher_names} publishes {camera.name}, and no image came in "
            f"{graph.seconds:g} s",
            f"look whether the driver has stopped; if not, {_transport_fix(camera, graph)}",
        )
    elif camera.lost_share > _MUCH_LOST:
        yield warning(
            f"{camera.name}: about {camera.lost_share:.0%} of the images are lost, "
            f"{_describe(camera, images)}",
            _transport_fix(camera, graph),
        )
    else:
        yield ok(f"{camera.name}: {_describe(camera, images)}")
    if images and len(camera.types) > 1:
        yield warning(
            f"{camera.name} carries {name_list(camera.types)}; one of them is taken",
            "give each type a topic of its own",
        )


def _check_subscribers(camera: Topic) -> Iterator[Finding]:
    """Find other nodes that get nothing of a camera, whatever ours do."""
    unreliable = [one for one in camera.publishers if not one.is_reliable]
    volatile = [one for one in camera.publishers if not one.is_latched]
    for one in camera.subscribers:
        if one.is_reliable and unreliable:
            asked, offered = "reliable images", f"{unreliable[0].node} publishes best effort"
        elif one.is_latched and volatile:
            asked, offered = "earlier images", f"{volatile[0].node} keeps none"
        else:
            continue
        yield warning(
            f"{one.node} gets nothing of {camera.name}: it asks for {asked}, and {offered}",
            f"have {one.node} subscribe with qos_profile_sensor_data",
        )


def _describe(camera: Topic, images: Iterable[Endpoint]) -> str:
    manner = "reliable" if all(one.is_reliable for one in images) else "best effort"
    kind = _RAW if _RAW in camera.types else _IMAGE_TYPES[1]
    size = max(one.size_bytes for one in camera.arrivals)
    count = len(camera.arrivals)
    rate = f"{camera.rate_hz:.1f} Hz" if count > 1 else "1 image"
    return f"{rate}, {kind.rpartition('/')[2]} of {size / 1e6:.2f} MB, {manner}"


def _transport_fix(camera: Topic, graph: RobotGraph) -> str:
    """Return what helps images that get lost on their way."""
    if _RAW not in camera.types:
        return "relieve the network, or lower the camera's rate"
    if graph.image_profile:
        return f"start the camera's driver with {graph.image_profile}"
    try:
        buffer = f", which is {int(_RMEM_MAX.read_text(encoding='ascii')):,}"
    except (OSError, ValueError):
        buffer = ""
    return (
        f"raise net.core.rmem_max{buffer}: sudo sysctl -w net.core.rmem_max=67108864; or publish "
        "compressed images"
    )
