"""The demonstration from end to end."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fl_robot_ros.cloud.history import History, RoundRecord
from fl_robot_ros.demo.fleet import DemoFleet
from fl_robot_ros.demo.plan import ROBOTS, DemoPlan
from fl_robot_ros.demo.recording import record_bag
from fl_robot_ros.demo.report import DemoReport, RoundResult
from fl_robot_ros.demo.ros_domain import private_ros_domain
from fl_robot_ros.demo.scene import Scene
from fl_robot_ros.demo.screen import Screen
from fl_robot_ros.errors import RunFailedError

if TYPE_CHECKING:
    from fl_robot_ros.demo.baseline import TestFrames
    from fl_robot_ros.demo.child_process import ChildProcess
    from fl_robot_ros.nodes.fleet_console import FleetConsole

_START_TIMEOUT_SEC = 60.0
_CAPTURE_TIMEOUT_SEC = 300.0
# On a busy machine DDS loses some frames of a camera this fast; the demonstration goes on without.
_SETTLED_SEC = 10.0
_LEAST_SHARE = 0.9
_ROUND_TIMEOUT_SEC = 600.0
_DELIVERY_TIMEOUT_SEC = 120.0
_SHEET_TILES = 40
_START_NS = 1_700_000_000_000_000_000


def run_demo(plan: DemoPlan, screen: Screen) -> DemoReport:
    """Run the whole demonstration; write report.json and report.png.

    Args:
        plan: Numbers of the demonstration.
        screen: Where progress is shown.

    Raises:
        FlRobotError: A step failed, or took too long.
    """
    start = time.monotonic()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    scene = Scene(plan.scene)
    # Server and robots would go on from the state of an earlier demonstration.
    for leftover in (plan.bags_dir, plan.log_dir, plan.state_dir, *map(plan.robot_dir, ROBOTS)):
        shutil.rmtree(leftover, ignore_errors=True)
    plan.bags_dir.mkdir(parents=True)

    from fl_robot_ros.nodes.fleet_console import FleetConsole

    with ExitStack() as stack:
        os.environ.update(stack.enter_context(private_ros_domain()))
        fleet = stack.enter_context(DemoFleet(plan, scene.classes))
        server = fleet.start_server()
        _record(plan, scene, screen)
        console = stack.enter_context(FleetConsole(ROBOTS))
        _capture(plan, fleet, console, screen)
        fleet.wait_for_server(server)
        rounds = _learn(plan, fleet, console, server, screen)
        model_paths = _deliver(fleet, console, screen)
        # From here on the processors are for the comparison.
    report = _compare(plan, rounds, model_paths, screen, start)
    report.write_json(plan.out_dir / "report.json")
    return report


def _record(plan: DemoPlan, scene: Scene, screen: Screen) -> None:
    """Record the robots' bags and the test bag, two at a time."""
    sizes = {"robot1": plan.frames, "robot2": plan.frames, "test": plan.test_frames}
    with screen.stage("recording rosbags", sum(sizes.values())) as advance:
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            futures = {
                split: pool.submit(_record_one, plan, scene.name, split, count)
                for split, count in sizes.items()
            }
            for split, future in futures.items():
                future.result()
                advance(sizes[split])


def _record_one(plan: DemoPlan, scene_name: str, split: str, count: int) -> None:
    scene = Scene(scene_name)
    record_bag(
        plan.bag(split),
        scene.frames(split, count, plan.seed),
        compressed=split != "robot1",
        start_ns=_START_NS,
    )


def _capture(plan: DemoPlan, fleet: DemoFleet, console: FleetConsole, screen: Screen) -> None:
    """Start the robots; play one bag over DDS, and let the other robot read its own."""
    first, second = ROBOTS
    with screen.stage("robots capture", 2 * plan.frames) as advance:
        fleet.start_robot(first, [])
        fleet.start_robot(second, [str(plan.bag(second).absolute())])
        console.wait_until(
            lambda: all(view.state for view in console.robots.values()),
            _START_TIMEOUT_SEC,
            "the robots' fl/status",
        )
        streamer = fleet.start_streamer(
            first, str(plan.bag(first).absolute()), plan.playback_speed
        )
        seen, seen_at = 0, time.monotonic()

        def is_captured() -> bool:
            nonlocal seen, seen_at
            fleet.check_running()
            total = sum(sum(view.dataset.values()) for view in console.robots.values())
            if total != seen:
                advance(total - seen)
                seen, seen_at = total, time.monotonic()
            return (
                streamer.exit_code is not None
                and console.robots[first].capture.get("queue_length") == "0"
                and console.robots[second].capture.get("bags_pending") == "0"
                and is_enough(total, 2 * plan.frames, time.monotonic() - seen_at)
            )

        console.wait_until(is_captured, _CAPTURE_TIMEOUT_SEC, "the frames in the datasets")
        streamer.wait(10.0)
        if seen < 2 * plan.frames:
            screen.say(f"{2 * plan.frames - seen} frames were lost: this machine is busy")


def is_enough(total: int, expected: int, settled_sec: float) -> bool:
    """Say whether the robots have what they need of the bags.

    Args:
        total: Images in the datasets.
        expected: Labelled frames in the bags.
        settled_sec: How long no image has come, s.
    """
    return total >= expected or (total >= _LEAST_SHARE * expected and settled_sec >= _SETTLED_SEC)


def _learn(
    plan: DemoPlan,
    fleet: DemoFleet,
    console: FleetConsole,
    server: ChildProcess,
    screen: Screen,
) -> list[RoundRecord]:
    """Call the services that start a run, and follow it to its end."""
    with screen.stage("learning together", plan.rounds) as advance:
        for robot in ROBOTS:
            accepted, message = console.start_round(robot)
            screen.say(f"/{robot}/fl/start_round: {message}")
            if not accepted:
                raise RunFailedError(f"{robot} refused to start: {message}")
        with History(plan.state_dir) as history:
            seen = 0

            def is_done() -> bool:
                nonlocal seen
                fleet.check_running()
                for robot, view in console.robots.items():
                    if view.state == "failed":
                        raise RunFailedError(f"{robot}: {view.values.get('detail')}")
                for record in history.rounds()[seen:]:
                    if record.accuracy is None:
                        break  # The robots are still evaluating it.
                    seen += 1
                    advance(1)
                    screen.say(
                        f"round {record.round}: accuracy {record.accuracy:.3f} on what the robots "
                        f"held out, {record.wall_sec:.1f} s"
                    )
                return seen >= plan.rounds or server.exit_code is not None

            console.wait_until(is_done, plan.rounds * _ROUND_TIMEOUT_SEC, "the last round")
            server.wait(_DELIVERY_TIMEOUT_SEC)
            return history.rounds()


def _deliver(fleet: DemoFleet, console: FleetConsole, screen: Screen) -> dict[str, str]:
    """Wait until both perception nodes run the model that their robot received."""
    with screen.stage("delivering the model", len(ROBOTS)) as advance:
        for robot in ROBOTS:
            view = console.robots[robot]
            console.wait_until(
                lambda view=view: bool(  # type: ignore[misc]
                    view.perception_model_path
                    and _folder(view.perception_model_path) == _folder(view.model_path)
                ),
                _DELIVERY_TIMEOUT_SEC,
                f"/{robot}/fl/perception/model_path",
            )
            advance(1)
        fleet.check_running()
        return {robot: view.perception_model_path for robot, view in console.robots.items()}


def _folder(path: str) -> Path:
    """Return the folder of a version, of which one node may name another file than the other."""
    return Path(path).resolve().parent


def _compare(
    plan: DemoPlan,
    records: list[RoundRecord],
    model_paths: dict[str, str],
    screen: Screen,
    start: float,
) -> DemoReport:
    """Evaluate everything on the test bag."""
    epochs = plan.rounds * plan.local_epochs
    with (
        _stderr_to(plan.log_dir / "comparison.log"),
        screen.stage("comparing", 3 * epochs + len(records)) as advance,
    ):
        # TensorFlow takes seconds to load and is only needed now.
        from fl_robot_ros.demo.baseline import Baseline, load_test_frames

        test = load_test_frames(plan.bag("test"))
        federated, number, sheet = _run_delivered(test, Path(model_paths[ROBOTS[0]]))
        baseline = Baseline(plan, test)
        rounds = []
        for record in records:
            rounds.append(
                RoundResult(
                    round=record.round,
                    accuracy=baseline.round_accuracy(record.round),
                    wall_sec=record.wall_sec,
                    robot_compute_sec=record.robot_compute_sec,
                    overhead_sec=record.wall_sec - record.robot_compute_sec,
                )
            )
            advance(1)
        alone = {robot: baseline.trained_accuracy([robot], lambda: advance(1)) for robot in ROBOTS}
        central = baseline.trained_accuracy(ROBOTS, lambda: advance(1))
    report = DemoReport(
        scene=plan.scene,
        federated_accuracy=federated,
        delivered_round=number,
        alone_accuracy=alone,
        central_accuracy=central,
        rounds=rounds,
        model_paths=model_paths,
        images={robot: baseline.num_images(robot) for robot in ROBOTS},
        total_sec=time.monotonic() - start,
    )
    report.draw(plan.out_dir / "report.png", sheet)
    return report


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Redirect stderr to a file: TensorFlow writes notes that no log level turns off."""
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with path.open("wb") as log:
            os.dup2(log.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)


def _run_delivered(
    test: TestFrames, model_path: Path
) -> tuple[float, int, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """Return accuracy, round and contact sheet of a robot's model, run by LiteRT as on it."""
    from fl_robot_ros.curation.contact_sheet import Tile, draw_predictions
    from fl_robot_ros.delivery.predictor import Predictor

    predictor = Predictor(model_path)
    predictions = [predictor.predict(image) for image in test.images]
    right = sum(
        prediction.label == label
        for prediction, label in zip(predictions, test.labels, strict=True)
    )
    shown = np.linspace(0, len(predictions) - 1, min(_SHEET_TILES, len(predictions))).astype(int)
    tiles = [
        Tile(
            test.images[index],
            predictions[index].label,
            predictions[index].confidence,
            test.labels[index],
        )
        for index in shown
    ]
    sheet = draw_predictions(tiles, columns=8, tile_px=128)
    return right / len(predictions), predictor.manifest.round, sheet
