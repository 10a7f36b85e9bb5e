"""Runs of a real fleet: SuperLink, ServerApp, workers, TensorFlow."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fleet import (
    CLASSES,
    SIZE_PX,
    Process,
    Worker,
    free_port,
    make_image,
    make_robot,
    server,
    worker,
)
from fleet_keys import write_server_certificate
from link import Link
from waiting import wait_until
from worker_job import make_job

from fl_robot_ros.cloud.checkpoint import load_checkpoint, newest_checkpoint
from fl_robot_ros.cloud.history import History, RunStage
from fl_robot_ros.config import ClientSettings
from fl_robot_ros.data_source import DataSource, SourceKind
from fl_robot_ros.dataset.dataset import Dataset
from fl_robot_ros.dataset.snapshot import freeze
from fl_robot_ros.delivery.manifest import Candidate, Manifest
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.identity.key_folder import KeyFolder
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.publication import Publication
from fl_robot_ros.worker_link.event import (
    Delivered,
    Dismissed,
    Ended,
    Failed,
    Frozen,
    Prepared,
    Progress,
    Reading,
)
from fl_robot_ros.worker_link.job import CANCEL
from fl_robot_ros.worker_link.run_status import RunState

TIMEOUT_SEC = 240.0


def processes_naming(text: str) -> list[str]:
    """Return the command lines of all living processes that name a text."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (entry / "environ").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            continue
        if entry.name != str(os.getpid()) and (text in command or text in environment):
            found.append(command)
    return found


def traces_of(dataset: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what no robot may tell about its dataset, with a description of each."""
    yield "its place", str(dataset.parent).encode()
    yield "its topic", b"camera"
    yield "a label that is no class", b"no_class"
    for path in dataset.rglob("*.jpg"):
        yield f"the name of {path}", path.stem.encode()
        content = path.read_bytes()
        for start in range(0, len(content) - 16, 64):
            yield f"{path}, bytes from {start} on", content[start : start + 16]
        pixels = cv2.imread(str(path))
        small = cv2.resize(pixels, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
        for image in (pixels, pixels[..., ::-1], small, small[..., ::-1]):
            row = np.ascontiguousarray(image[5, :SIZE_PX])
            yield f"{path}, pixels", row.tobytes()
            yield f"{path}, pixels as numbers", row.astype(np.float32).tobytes()
            yield f"{path}, the model's input", (row.astype(np.float32) / 255).tobytes()


def test_two_robots_learn_classes_that_neither_has_alone(tmp_path: Path) -> None:
    port = free_port()
    make_robot(tmp_path / "r1", ["red", "green"], images=40, seed=1)
    make_robot(tmp_path / "r2", ["green", "blue", "no_class"], images=60, seed=2)
    with (
        server(tmp_path / "state", port, num_rounds=4, local_epochs=4) as fl_server,
        Link(port) as link,
    ):
        wait_until(lambda: "serving robots" in fl_server.text, "the server's line", TIMEOUT_SEC)
        with (
            worker(tmp_path / "r1", port) as first,
            worker(tmp_path / "r2", link.port) as second,
        ):
            assert fl_server.popen.wait(TIMEOUT_SEC) == 0
            assert first.popen.wait(60.0) == 0
            assert second.popen.wait(60.0) == 0
            for robot in (first, second):
                assert isinstance(robot.events[0], Frozen)
                assert robot.states[:2] == [RunState.CONNECTING, RunState.WAITING]
                assert {RunState.TRAINING, RunState.EVALUATING} < set(robot.states)
                assert robot.states[-1] == RunState.DELIVERING
                assert isinstance(robot.events[-1], Delivered)

    with History(tmp_path / "state") as history:
        run = history.last_run()
        assert run is not None
        assert run.stage == RunStage.FINISHED
        rounds = history.rounds()
    assert [record.round for record in rounds] == [1, 2, 3, 4]
    best = max(rounds, key=lambda record: (record.accuracy or 0.0, record.round))
    for robot in ("r1", "r2"):
        version = ModelStore(tmp_path / robot / "models", 5).current()
        assert version is not None
        manifest = Manifest.load(version)
        assert (manifest.run, manifest.round, manifest.robot) == (1, best.round, robot)
        predictor = Predictor(version)
        for label in CLASSES:  # each robot recognises what it never saw
            image = cv2.imdecode(np.frombuffer(make_image(label, 999), np.uint8), 1)
            assert predictor.predict(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).label == label

    assert all(record.robots == 2 for record in rounds)
    assert all(record.wall_sec >= record.robot_compute_sec > 0 for record in rounds)
    assert "round 4/4  robots 2  samples" in fl_server.text
    for number in range(5):
        assert load_checkpoint(tmp_path / f"state/checkpoints/round-{number:05d}.npz")
        assert (tmp_path / f"state/checkpoints/round-{number:05d}.keras").is_file()

    # What left the second robot: its name, numbers and weights alone.
    sent = bytes(link.sent)
    assert len(sent) > 10_000
    assert b"r2" in sent
    assert not any(name.encode() in sent for name in CLASSES)
    traces = list(traces_of(tmp_path / "r2" / "dataset"))
    assert len(traces) > 1000
    for what, trace in traces:
        assert trace not in sent, what
    wait_until(lambda: not processes_naming(str(tmp_path)), "the end of all processes")


def test_a_killed_server_and_a_killed_server_app_go_on_where_they_were(tmp_path: Path) -> None:
    port = free_port()
    for name in ("r1", "r2"):
        make_robot(tmp_path / name, ["red", "blue"])
    state = tmp_path / "state"
    with (
        worker(tmp_path / "r1", port) as first,
        worker(tmp_path / "r2", port) as second,
    ):
        with server(state, port, num_rounds=3, local_epochs=1) as fl_server:
            wait_until(lambda: "round 1/3" in fl_server.text, "the server's line", TIMEOUT_SEC)
            fl_server.popen.kill()
            fl_server.popen.wait()
        wait_until(
            lambda: not any("superlink" in line for line in processes_naming(str(state))),
            "the SuperLink ends with its parent",
            60.0,
        )
        # An unfinished run goes on at once, and the next one begins at the new year.
        yearly = ["0 0 1 1 *"]
        with (
            server(state, port, num_rounds=3, local_epochs=1, schedule=yearly) as fl_server,
            History(state) as now,
        ):
            # Killed between the last round and the delivery.
            wait_until(lambda: len(now.rounds()) == 3, "the last round's model", TIMEOUT_SEC)
            run = now.last_run()
            assert run is not None
            assert run.pid is not None
            os.kill(run.pid, signal.SIGKILL)
            wait_until(lambda: "the next run begins" in fl_server.text, "the end", TIMEOUT_SEC)
            assert "resuming run 1" in fl_server.text
            assert "going on from the newest checkpoint" in fl_server.text
            assert re.search(r"model of round \d delivered to r1, r2", fl_server.text)
            assert first.popen.wait(60.0) == 0
            assert second.popen.wait(60.0) == 0
            delivered = first.events[-1]
            assert isinstance(delivered, Delivered)
            with worker(tmp_path / "r1", port) as early:
                assert early.popen.wait(60.0) == 1
                assert "no run is on; the next one begins at" in reason_of(early)
                told = early.events[-1]
            assert isinstance(told, Failed)
            assert 0.0 < told.come_back_sec < delivered.come_back_sec + 10.0
            assert fl_server.stop(signal.SIGINT) == 130
    # Robots do not wait for the rest of what the killed ServerApp was sending.
    log = (tmp_path / "state" / "superlink.log").read_text()
    assert log.count("ControlServicer.StopRun") == 1
    with History(state) as history:
        assert [record.round for record in history.rounds()] == [1, 2, 3]
        assert {record.run for record in history.rounds()} == {1}
        assert None not in {record.accuracy for record in history.rounds()}
    newest, _ = newest_checkpoint(state / "checkpoints")
    assert newest is not None
    assert newest.momentum is not None


def make_image_folder(folder: Path, labels: Sequence[str]) -> Path:
    """Write a folder of class folders."""
    for label in labels:
        (folder / label).mkdir(parents=True)
        for number in range(12):
            (folder / label / f"{number}.jpg").write_bytes(make_image(label, number))
    return folder


def reason_of(failed: Worker) -> str:
    """Return the reason in the last event of a worker."""
    event = failed.events[-1]
    assert isinstance(event, Failed)
    return event.reason


def test_a_robot_with_a_folder_and_a_stock_supernode_share_a_run_with_keys(
    tmp_path: Path,
) -> None:
    port = free_port()
    keys = KeyFolder.create(tmp_path / "keys", ["fleet.example.org"])
    enrolments = {name: tmp_path / f"{name}.json" for name in ("r1", "stock", "lost")}
    for name, file in enrolments.items():
        keys.enrol(name, file, "")
    keys.revoke("lost")
    folder = make_image_folder(tmp_path / "r1" / "images", ["red", "green", "unknown"])
    source = DataSource(SourceKind.FOLDER, str(folder), 0, 1, 0.0, 0.2)
    job: dict[str, Any] = {"source": source, "freeze": None, "robot": "another name"}
    make_robot(tmp_path / "r2", ["red", "blue"])
    snapshot = tmp_path / "snapshot.json"
    with Dataset(tmp_path / "r2" / "dataset") as dataset:
        frozen = freeze(dataset, 0.25, 3.0)
    frozen.save(snapshot)
    values = json.loads(enrolments["stock"].read_text())
    (tmp_path / "stock.key").write_text(values["private_key"])
    (tmp_path / "ca.pem").write_text(values["ca_certificate"])
    with server(
        tmp_path / "state", port, num_rounds=1, keys_dir=str(keys.path), host="0.0.0.0"
    ) as fl_server:
        wait_until(lambda: "serving robots" in fl_server.text, "the server's line", TIMEOUT_SEC)
        with worker(tmp_path / "r1", port, **job, enrolment=str(enrolments["lost"])) as lost:
            assert lost.popen.wait(60.0) == 1
        assert "robot lost was revoked at" in reason_of(lost)
        models = tmp_path / "r2" / "models"
        bin_dir = Path(sys.executable).parent
        supernode = Process(
            [
                str(bin_dir / "flower-supernode"),
                "--root-certificates",
                str(tmp_path / "ca.pem"),
                "--auth-supernode-private-key",
                str(tmp_path / "stock.key"),
                "--superlink",
                f"127.0.0.1:{port}",
                "--port",
                str(free_port()),
                "--node-config",
                f'snapshot="{snapshot}" models-dir="{models}" '
                f'enrolment="{enrolments["stock"]}" publish-if="always"',
            ],
            tmp_path / "supernode.log",
            env={
                "FLWR_HOME": str(tmp_path / "flwr"),
                "FLWR_TELEMETRY_ENABLED": "0",
                "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
            },
        )
        try:
            with worker(tmp_path / "r1", port, **job, enrolment=str(enrolments["r1"])) as first:
                assert fl_server.popen.wait(TIMEOUT_SEC) == 0, supernode.text
                assert first.popen.wait(60.0) == 0
        finally:
            supernode.stop()
    assert Prepared(20, 4, {"unknown": 12}) in first.events
    assert first.events[:3] == [
        Progress(RunState.CONNECTING),
        Reading(str(source)),
        Progress(RunState.WAITING),
    ]
    for folder, name, held_out in (
        (tmp_path / "r1" / "models", "r1", 4),
        (models, "stock", len(frozen.holdout)),
    ):
        version = ModelStore(folder, 5).current()
        assert version is not None, supernode.text
        manifest = Manifest.load(version)
        assert (manifest.robot, manifest.metrics["holdout_images"]) == (name, held_out)
        assert manifest.key_id == keys.model_key_id()
        assert manifest.counter > 0
        image = cv2.imdecode(np.frombuffer(make_image("red", 999), np.uint8), 1)
        assert Predictor(version).predict(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).label in CLASSES
    assert "delivered to r1, stock" in fl_server.text
    assert "refused lost: robot lost was revoked at" in fl_server.text
    assert "another name" not in fl_server.text


def make_split_folder(folder: Path, shift: int) -> Path:
    """Write a folder of images with a hand-checked test side.

    Args:
        folder: The folder.
        shift: Training images of a class lie in the folder of the class that is so many further.
    """
    for number, label in enumerate(CLASSES):
        claimed = CLASSES[(number + shift) % len(CLASSES)]
        for side, told, count in (("train", claimed, 12), ("test", label, 4)):
            (folder / side / told).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                image = make_image(label, 100 * len(side) + index)
                (folder / side / told / f"{label}{index}.jpg").write_bytes(image)
    return folder


def test_a_mislabelled_fleet_spoils_the_operators_model_and_every_robot_keeps_its_own(
    tmp_path: Path,
) -> None:
    """Over TLS, with a certificate of another authority; two of three robots have wrong labels."""
    # Here, so that no other process that collects tests loads TensorFlow.
    import keras

    from fl_robot_ros.learning.export import export_model

    model = keras.Sequential(
        [
            keras.Input((SIZE_PX, SIZE_PX, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(CLASSES), "softmax", name="operators_own"),
        ]
    )
    # Red, green and blue of an image, in the order of the classes: blue, green, red.
    model.set_weights([3 * np.eye(3)[:, ::-1], np.zeros(3)])
    model.save(tmp_path / "own.keras")

    def build(folder: Path) -> Candidate:
        export_model(model, folder)
        preprocessing = Preprocessing(SIZE_PX, SIZE_PX, 3, 1 / 255)
        return Candidate(classes=list(CLASSES), preprocessing=preprocessing.to_dict())

    authority = KeyFolder.create(tmp_path / "authority", ["elsewhere"])
    certificate = tmp_path / "server.pem"  # without 127.0.0.1
    write_server_certificate(authority, certificate, begins_days=-1, ends_days=2, host="localhost")
    port = free_port()
    way = {
        "server_address": f"localhost:{port}",
        "root_certificates": str(authority.path / "ca.pem"),
    }
    jobs: dict[str, dict[str, Any]] = {}
    for name, shift in (("r1", 1), ("r2", 1), ("r3", 0)):
        folder = make_split_folder(tmp_path / name / "images", shift)
        source = DataSource(SourceKind.FOLDER, str(folder), 0, 1, 0.0, 0.2)
        publication = Publication.from_settings(ClientSettings())
        jobs[name] = {"source": source, "freeze": None, "publication": publication}
        ModelStore(tmp_path / name / "models").add(build)
    with (
        server(
            tmp_path / "state",
            port,
            min_nodes=3,
            num_rounds=1,
            local_epochs=20,
            learning_rate=0.3,
            loss="plain",
            initial_model=str(tmp_path / "own.keras"),
            ssl_certfile=str(certificate),
            ssl_keyfile=str(certificate),
        ) as fl_server,
        ExitStack() as stack,
    ):
        wait_until(lambda: "serving robots" in fl_server.text, "the server's line", TIMEOUT_SEC)
        with worker(tmp_path / "r1", port, **jobs["r1"], server_timeout_sec=2.0) as plain:
            assert plain.popen.wait(60.0) == 1
        assert "speaks TLS, and this robot was told plain HTTP" in reason_of(plain)
        robots = [
            stack.enter_context(worker(tmp_path / name, port, **job, **way))
            for name, job in jobs.items()
        ]
        assert fl_server.popen.wait(TIMEOUT_SEC) == 0, fl_server.text
        assert [robot.popen.wait(60.0) for robot in robots] == [0, 0, 0]
    assert "model of round 1 delivered to no robot" in fl_server.text
    halted = "the release is halted: 2 of the first 2 robots did not take it"
    assert (
        "the release of run 1 is halted: 2 of the first 2 robots did not take it" in fl_server.text
    )
    assert [robot.events[-1] for robot in robots].count(Dismissed(halted)) == 1
    for name, robot in zip(jobs, robots, strict=True):
        current = ModelStore(robot.models_dir).current()
        assert current is not None
        assert current.name == "v00001"
        if isinstance(robot.events[-1], Dismissed):
            assert not (robot.models_dir / "v00002").exists()
            continue
        spoilt = robot.models_dir / "v00002"
        reason = Manifest.load(spoilt).reason
        assert "on its 12 images, 1.000 before; publish_margin is 0.05" in reason
        event = robot.events[-1]
        assert isinstance(event, Delivered)
        assert (event.is_current, event.version) == (False, "v00002")
        assert reason in event.note
        assert f"  {name} keeps v00001: {reason}" in fl_server.text
        delivered = keras.saving.load_model(spoilt / "model.keras")
        assert [layer.name for layer in delivered.layers] == [layer.name for layer in model.layers]
        assert not np.allclose(delivered.get_weights()[0], model.get_weights()[0])
    with History(tmp_path / "state") as history:
        run = history.last_run()
        assert run is not None
        assert run.stage == RunStage.FINISHED


def test_an_absent_server_is_told_in_time(tmp_path: Path) -> None:
    make_robot(tmp_path / "r1", ["red", "blue"])
    port = free_port()
    with worker(tmp_path / "r1", port, connect_timeout_sec=1.0) as first:
        assert first.popen.wait(60.0) == 1
    assert f"no server at 127.0.0.1:{port} after 1 s" in reason_of(first)


def test_a_worker_that_is_kept_outlives_an_absent_server_and_no_fault(tmp_path: Path) -> None:
    make_robot(tmp_path / "r1", ["red", "blue"])
    changes = {"connect_timeout_sec": 0.1, "nice": 3, "memory_limit_mb": 4096, "keep_warm": True}
    port = free_port()
    with worker(tmp_path / "r1", port, **changes) as kept:
        again = make_job(tmp_path / "r1", server_address=f"127.0.0.1:{port}", **changes)

        def run(number: int) -> tuple[int, int]:
            if number:
                kept.say("pause a goal is active")  # late, and nobody's
                kept.say(again.to_json())
            wait_until(lambda: len(kept.events) == 4 * (number + 1), f"run {number}", TIMEOUT_SEC)
            threads = len(list(Path(f"/proc/{kept.popen.pid}/task").iterdir()))
            return os.getpriority(os.PRIO_PROCESS, kept.popen.pid), threads

        # It steps back once, and one watch for its memory is enough.
        assert len({run(number) for number in range(3)}) == 1
        kinds = [type(event) for event in kept.events]
        assert kinds == [Frozen, Progress, Failed, Ended] * 3
        kept.say(replace(again, freeze=replace(again.freeze, dataset_dir="/none")).to_json())
        assert kept.popen.wait(60.0) == 1
        assert isinstance(kept.events[-1], Failed)
    with worker(tmp_path / "r1", port, **changes) as orphan:
        wait_until(lambda: Ended() in orphan.events, "the run's end", TIMEOUT_SEC)
        assert orphan.close() == 3


def test_something_that_is_no_superlink_is_told(tmp_path: Path) -> None:
    make_robot(tmp_path / "r1", ["red", "blue"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_nonsense, args=(listener,), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        with worker(tmp_path / "r1", port, server_timeout_sec=2.0) as first:
            assert first.popen.wait(120.0) == 1
    assert f"127.0.0.1:{port}" in reason_of(first)


def _answer_nonsense(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
            with client:
                client.recv(1000)
                client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            return


def test_waiting_workers_can_be_ended(tmp_path: Path) -> None:
    port = free_port()
    robots = [tmp_path / name for name in ("cancelled", "left_alone", "terminated")]
    for robot in robots:
        make_robot(robot, ["red", "blue"])
    with server(tmp_path / "state", port, min_nodes=4) as fl_server, ExitStack() as stack:
        wait_until(lambda: "serving robots" in fl_server.text, "the server's line", TIMEOUT_SEC)
        workers = [stack.enter_context(worker(robot, port)) for robot in robots]
        for one in workers:
            wait_until(lambda one=one: RunState.WAITING in one.states, "an event", TIMEOUT_SEC)  # type: ignore[misc]
        workers[0].say(CANCEL)
        workers[1].close()
        workers[2].popen.terminate()
        assert [one.popen.wait(60.0) for one in workers] == [3, 3, 3]
        assert fl_server.stop(signal.SIGINT) == 130
    wait_until(lambda: not processes_naming(str(tmp_path)), "the end of all processes")
