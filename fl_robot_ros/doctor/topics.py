"""Checks of what a robot's topics show: labels, clocks, the battery, and our own nodes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.doctor.cameras import check_cameras, check_stamps
from fl_robot_ros.doctor.child_process import last_line, run_child
from fl_robot_ros.doctor.disk import client_process
from fl_robot_ros.doctor.finding import Check, Finding, ok, problem, warning
from fl_robot_ros.doctor.packages import import_modules
from fl_robot_ros.doctor.robot_graph import INVALID_CODE, ListenRequest, RobotGraph
from fl_robot_ros.doctor.rule_signals import check_rule_signals
from fl_robot_ros.errors import RunFailedError
from fl_robot_ros.name_list import name_list
from fl_robot_ros.worker_link.run_status import RunState

SECTION = "ROS"
_MODULE = "fl_robot_ros.nodes.graph_listener"
# Beside the time of listening: for the start of Python and ROS, and for discovery.
_START_SEC = 30.0
_LABEL_TYPE = "std_msgs/msg/String"
_BATTERY_TYPE = "sensor_msgs/msg/BatteryState"
# Frames and labels are matched by their times of publication.
_CLOCKS_SEC = 1.0
_VARIABLES_FIX = "look at RMW_IMPLEMENTATION, ROS_DOMAIN_ID and the other variables of ROS"


def checks(
    request: ListenRequest,
    given: Mapping[str, Any],
    settings: ClientSettings | None,
    has_labels: bool,
    data_dir: Path,
) -> list[Check]:
    """Return the checks of the topics; the first one listens.

    Args:
        request: What to listen to.
        given: Parameters of `fl_client` from the file.
        settings: Settings of `fl_client`; None for those of one that runs.
        has_labels: Whether frames get labels without the topic.
        data_dir: The robot's data folder.
    """
    heard: list[RobotGraph] = []

    def listen_first() -> Iterator[Finding]:
        if not has_ros():
            yield warning("the checks of ROS were left out", "see 'packages' above")
            return
        heard.append(listen(request))
        yield from check_middleware(heard[0], os.environ)

    def later(check: Callable[[RobotGraph], Iterable[Finding]]) -> Callable[[], Iterator[Finding]]:
        def find() -> Iterator[Finding]:
            for graph in heard:
                yield from check(graph)

        return find

    return [
        Check(SECTION, "middleware", listen_first, 2 * _START_SEC + request.seconds),
        Check(SECTION, "fl_client", later(partial(check_client, data_dir=data_dir))),
        Check(SECTION, "cameras", later(check_cameras)),
        Check(SECTION, "labels", later(partial(check_labels, has_labels=has_labels))),
        Check(SECTION, "clocks", later(partial(check_clocks, given=given))),
        Check(SECTION, "battery", later(check_battery)),
        Check(SECTION, "rules", later(partial(check_rule_signals, settings=settings))),
        Check(SECTION, "perception", later(check_perception)),
    ]


def listen(request: ListenRequest) -> RobotGraph:
    """Listen in a process of its own.

    Raises:
        RunFailedError: ROS cannot be started or ends without a result, or a name is invalid.
        OSError: The process cannot be started.
        subprocess.TimeoutExpired: It hangs.
    """
    command = [sys.executable, "-m", _MODULE, json.dumps(asdict(request))]
    done = run_child(command, _START_SEC + request.seconds)
    if done.returncode == INVALID_CODE:
        raise RunFailedError(f"{last_line(done)}; correct it in the parameter file")
    try:
        return RobotGraph.from_json(done.stdout.strip().splitlines()[-1])
    except (ValueError, TypeError, LookupError) as error:
        raise RunFailedError(f"ROS does not start: {last_line(done)}; {_VARIABLES_FIX}") from error


def check_middleware(graph: RobotGraph, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Say which ROS this is, and whether it sees any other program."""
    parts = [environment.get("ROS_DISTRO") or "ROS", f"with {graph.middleware}"]
    parts.append(f"domain {environment.get('ROS_DOMAIN_ID') or '0'}")
    for name in ("ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_STATIC_PEERS"):
        if environment.get(name):
            parts.append(f"{name}={environment[name]}")
    line = f"{parts[0]} {', '.join(parts[1:])}; other nodes seen: {graph.num_nodes}"
    if graph.num_nodes:
        yield ok(line)
    else:
        yield warning(
            line,
            "if some run, compare their ROS_DOMAIN_ID, ROS_LOCALHOST_ONLY and "
            "ROS_AUTOMATIC_DISCOVERY_RANGE",
        )
    if graph.bridge_fault:
        yield warning(
            f"cv_bridge does not work: {graph.bridge_fault}; fl_client decodes images without, "
            "other nodes may crash",
            f"{sys.executable} -m pip install 'numpy<2'",
        )


def check_client(graph: RobotGraph, data_dir: Path) -> Iterator[Finding]:
    """Say whether the robot's client runs, and what it says."""
    state, others = graph.status.get("state"), graph.client_namespaces
    if state is not None:
        detail = graph.status.get("detail", "")
        line = f"fl_client runs: {state}{f', {detail}' if detail else ''}"
        if state == RunState.FAILED:
            yield warning(line, "see worker.log in its data folder, then fl_call start_round")
        else:
            yield ok(line)
        if graph.status.get("why"):
            yield ok(graph.status["why"])
    elif graph.namespace in others:
        yield warning("fl_client runs and says nothing on fl/status", "start it again")
    elif client_process(data_dir) is not None:
        yield problem(
            f"process {client_process(data_dir)} uses {data_dir}, and no fl_client is seen in the "
            f"namespace {graph.namespace}",
            "give fl_doctor its ROS_DOMAIN_ID and --namespace",
        )
    elif others:
        yield warning(
            f"no fl_client in the namespace {graph.namespace}; there is one in "
            f"{name_list(others)}",
            f"fl_doctor --namespace {others[0]}",
        )
    else:
        yield ok("no fl_client runs")


def check_labels(graph: RobotGraph, has_labels: bool) -> Iterator[Finding]:
    """Find out whether labels can come.

    Args:
        graph: What was seen.
        has_labels: Whether frames get labels without the topic.
    """
    labels = graph.labels
    wrong = [one for one in labels.publishers if one.type_name != _LABEL_TYPE]
    for publisher in wrong:
        yield problem(
            f"{publisher.node} publishes {labels.name} as {publisher.type_name}, which is ignored",
            f"publish {_LABEL_TYPE}",
        )
    if labels.arrivals:
        yield ok(f"{len(labels.arrivals)} labels came on {labels.name}")
    elif len(labels.publishers) > len(wrong):
        nodes = name_list(sorted({one.node for one in labels.publishers}))
        yield warning(
            f"no label came on {labels.name} in {graph.seconds:g} s, though {nodes} publishes it",
            "publish a label when it changes, latched, so that it holds for who comes later",
        )
    elif not wrong and not has_labels:
        yield warning(
            f"nobody publishes {labels.name}: frames get no label, and wait for a person",
            f"ros2 topic pub --once {labels.name} {_LABEL_TYPE} 'data: pallet'; or set "
            "topic_labels; or fl_dataset label",
        )


def check_clocks(graph: RobotGraph, given: Mapping[str, Any]) -> Iterator[Finding]:
    """Find clocks that disagree, or stand still.

    Args:
        graph: What was seen.
        given: Parameters of `fl_client` from the file.
    """
    is_simulated = graph.client_parameters.get("use_sim_time", given.get("use_sim_time", False))
    if is_simulated and not graph.has_clock:
        yield problem(
            "use_sim_time is true, and nobody publishes /clock: time stands still",
            "start the simulator, play bags with 'ros2 bag play --clock', or use_sim_time:=false",
        )
    agree = True
    for topic in (*graph.cameras, graph.labels):
        lag = topic.clock_lag_sec
        # A latched label was published long before somebody came to listen.
        is_old = lag > 0 and any(one.is_latched for one in topic.publishers)
        if topic.arrivals and abs(lag) > _CLOCKS_SEC and not is_old:
            agree = False
            side = "behind" if lag > 0 else "ahead of"
            yield problem(
                f"the clock of {topic.publisher_names}, on {topic.name}, is {abs(lag):,.1f} s "
                f"{side} this machine's: labels meet the wrong frames",
                "set both computers' clocks by NTP: chronyc tracking",
            )
    for camera in graph.cameras:
        found = list(check_stamps(camera, graph))
        agree = agree and not found
        yield from found
    if agree and any(camera.arrivals for camera in graph.cameras):
        yield ok("the clocks of cameras and labels agree with this machine's")


def check_battery(graph: RobotGraph) -> Iterator[Finding]:
    """Find a battery that is silent, or counts in per cent."""
    topic, battery = graph.battery_topic, graph.battery
    if topic is None:
        return
    others = name_list(graph.battery_topics)
    if not topic.publishers:
        yield problem(
            f"nobody publishes the battery on {topic.name}",
            f"set battery_topic to one of {others}" if others else "start the battery's driver",
        )
    elif topic.types != [_BATTERY_TYPE]:
        yield problem(
            f"{topic.name} carries {name_list(topic.types)}; a battery is {_BATTERY_TYPE}",
            f"set battery_topic to one of {others}" if others else "convert it in a node",
        )
    elif battery is None:
        yield problem(
            f"{topic.publisher_names} publishes {topic.name}, and nothing came in "
            f"{graph.seconds:g} s",
            "look at the battery's driver; listen for longer with --seconds 30",
        )
    elif not battery.is_present:
        yield problem(f"{topic.name} says 'present: false'", "look at the battery's driver")
    elif battery.percentage is None:
        yield problem(f"the percentage on {topic.name} is NaN", "look at the battery's driver")
    elif battery.percentage > 1.0:
        yield warning(
            f"{topic.name} counts in per cent: {battery.percentage:g}",
            "the message has 0 to 1: correct the driver, or its last per cent reads as full",
        )
    else:
        yield ok(f"the battery on {topic.name} has {battery.percentage:.0%}")


def check_perception(graph: RobotGraph) -> Iterator[Finding]:
    """Say which model runs, and find followers that miss the announced one."""
    running, current = graph.perception_model, graph.status.get("model_version", "")
    if running is None:
        yield ok("no fl_perception runs")
    elif not running:
        yield warning("fl_perception runs without a model", "start a run: fl_call start_round")
    elif current and current not in Path(running).parts:
        yield warning(
            f"fl_perception runs {running}, and the current model is {current}",
            "see its log for why it did not take it",
        )
    else:
        yield ok(f"fl_perception runs {running}")
    for follower in graph.model_path.subscribers:
        if not follower.is_latched:
            yield warning(
                f"{follower.node} follows {graph.model_path.name} without durability "
                "TRANSIENT_LOCAL: it gets no model before the next run",
                "subscribe as examples/follow_model.py does",
            )


def has_ros() -> bool:
    """Return whether a ROS program can run in this Python."""
    return import_modules(Path(sys.executable), ["rclpy"])["rclpy"].error is None
