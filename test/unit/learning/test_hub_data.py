"""A partitioned hub dataset as learning data, from local folders: tests have no network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_source import make_source, open_data

from fl_robot_ros.data_source import DataSource
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.images.preprocessing import Preprocessing

datasets = pytest.importorskip("datasets", reason="needs the extra hub")
pytest.importorskip("flwr_datasets", reason="needs the extra hub")

NAMES = ("blue", "green", "red")
INPUT = Preprocessing(height=6, width=8, channels=3, scale=1 / 255)
PER_CLASS = 30
ALL = {(label, number) for label in range(3) for number in range(PER_CLASS)}


def png(label: int, number: int) -> bytes:
    """Return a PNG of one colour whose brightness tells the image's number."""
    image = np.zeros((20, 24, 3), np.uint8)
    image[..., label] = 100 + number  # BGR
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture
def image_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local dataset in the form of class folders."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for label, name in enumerate(NAMES):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number in range(PER_CLASS):
            (folder / f"{number}.png").write_bytes(png(label, number))
    return tmp_path / "images"


@pytest.fixture
def parquet_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local dataset as the hub keeps it: a parquet file with the images in it."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = sorted(ALL)
    features = datasets.Features(
        {
            "key": datasets.Value("int64"),
            "img": datasets.Image(),
            "kind": datasets.ClassLabel(names=list(NAMES)),
        }
    )
    columns = {
        "key": list(range(len(rows))),
        "img": [{"bytes": png(*row), "path": None} for row in rows],
        "kind": [label for label, _ in rows],
    }
    columns["img"][0] = {"bytes": b"broken", "path": None}
    columns["kind"][1] = -1
    made = datasets.Dataset.from_dict(columns, features=features)
    (tmp_path / "copy" / "data").mkdir(parents=True)
    made.to_parquet(tmp_path / "copy" / "data" / "train-00000-of-00001.parquet")
    return tmp_path / "copy"


def images_of(source: DataSource) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Return label and number of every image to train on and held out."""
    sides = []
    for side in open_data(source).load(NAMES, INPUT):
        found = [
            (int(label), int(image[0, 0, 2 - label]) - 100)
            for image, label in zip(side.images, side.labels, strict=True)
        ]
        assert len(set(found)) == len(found)
        sides.append(set(found))
    train, holdout = sides
    assert not train & holdout
    return train, holdout


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_partitions_are_disjoint_and_complete(image_folder: Path, alpha: float) -> None:
    parts = []
    for number in range(3):
        source = make_source("hub", str(image_folder), number, 3, alpha, 0.25)
        train, holdout = images_of(source)
        parts.append(train | holdout)
        assert len(holdout) >= 1
        assert images_of(source) == (train, holdout)  # the same in every run
    assert set.union(*parts) == ALL
    assert sum(map(len, parts)) == len(ALL)
    counts = [Counter(label for label, _ in part) for part in parts]
    if alpha == 0.0:
        assert {len(part) for part in parts} == {PER_CLASS}
        assert all(len(count) == 3 for count in counts)
    else:
        shares = [max(count.values()) / sum(count.values()) for count in counts]
        assert max(shares) > 0.6  # some robot sees mostly one class


def test_a_copy_of_a_hub_dataset_is_read(parquet_folder: Path) -> None:
    data = open_data(make_source("hub", str(parquet_folder), 0, 1, 0.0, 0.2))
    train, holdout = data.load(("RED", "green", "blue"), INPUT)
    assert np.add(train.class_counts(3), holdout.class_counts(3)).tolist() == [30, 30, 28]
    assert train.unreadable + holdout.unreadable == 1
    assert train.unmapped + holdout.unmapped == {"": 1}
    red = train.images[train.labels == 0]
    assert red[..., 0].min() >= 100  # RGB
    assert not red[..., 1:].any()


@pytest.mark.filterwarnings("ignore:The specified min_partition_size")
def test_what_cannot_be_partitioned_is_told(image_folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"partition 0 of 45 cannot be loaded: ValueError: "):
        open_data(make_source("hub", str(image_folder), 0, 45, 0.1))
    for alpha in (0.0, 0.1):
        with pytest.raises(DatasetError, match="dataset has 90 rows; expected at least 2 for"):
            open_data(make_source("hub", str(image_folder), 95, 100, alpha))
    text = image_folder.parent / "text"
    text.mkdir()
    datasets.Dataset.from_dict({"a": [1], "b": [2]}).to_parquet(text / "train.parquet")
    with pytest.raises(DatasetError, match=r"no column of type Image; it has a \(Value\), b"):
        open_data(make_source("hub", str(text)))
    with pytest.raises(DatasetError, match="cannot be loaded: "):
        open_data(make_source("hub", str(image_folder.parent / "gone")))


_OPEN = """
import sys
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.learning import hub_data
hub_data._HUB_TIMEOUT_SEC = 1.0
try:
    hub_data.open_hub(DataSource("hub", "uoft-cs/cifar10", 0, 2, 0.0, 0.2))
except DatasetError as error:
    print(error)
"""


def test_a_silent_hub_is_told_in_bounded_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # In a process of its own: the library reads its environment once.
        environment = {
            **{key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"},
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
        }
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _OPEN],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    assert time.monotonic() - start < 60
    [line] = done.stdout.splitlines()
    assert f"the hub {url} cannot be reached (timed out)" in line
    assert "hub:uoft-cs/cifar10, partition 0 of 2 cannot be loaded" in line


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flwr_datasets", None)
    with pytest.raises(DatasetError, match=r"pip install 'fl_robot_ros\[hub\]'"):
        open_data(make_source("hub", str(tmp_path)))
