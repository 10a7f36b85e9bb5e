"""The download of a hub dataset, from a hub on the loopback interface."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hub_server import Hub
from made_source import make_source

from fl_robot_ros.data_source import DataSource

datasets = pytest.importorskip("datasets", reason="needs the extra hub")
pytest.importorskip("flwr_datasets", reason="needs the extra hub")

NAMES = ["airplane", "cat", "dog"]
PER_CLASS = 30
ALL = [[label, number] for label in range(len(NAMES)) for number in range(PER_CLASS)]
CARD = b"""---
configs:
- config_name: plain_text
  data_files:
  - split: train
    path: plain_text/train-*
  - split: test
    path: plain_text/test-*
---
"""

_OPEN = """
import json, sys
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.learning.hub_data import open_hub
names, sources = json.load(sys.stdin)
for source in sources:
    try:
        data = open_hub(DataSource(**source))
        sides = data.load(names, Preprocessing(height=8, width=8, channels=3, scale=1 / 255))
    except DatasetError as error:
        print(json.dumps(str(error)))
        continue
    seen = [
        sorted([int(n), int(image[0, 0, n]) - 100] for image, n in zip(side.images, side.labels))
        for side in sides
    ]
    print(json.dumps(seen))
"""


def parquet(images: Sequence[Sequence[int]]) -> bytes:
    """Return a file as the hub keeps it; an image's colour tells its label and its number."""
    rows = []
    for label, number in images:
        image = np.zeros((32, 32, 3), np.uint8)
        image[..., 2 - label] = 100 + number  # BGR
        rows.append({"bytes": cv2.imencode(".png", image)[1].tobytes(), "path": None})
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    )
    columns = {"img": rows, "label": [label for label, _ in images]}
    file = io.BytesIO()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {
        "README.md": CARD,
        "plain_text/train-00000-of-00001.parquet": parquet(ALL),
        "plain_text/test-00000-of-00001.parquet": parquet([[0, 99], [1, 99]]),
    }


def opened(hub: Hub, home: Path, sources: Sequence[DataSource], offline: str = "") -> list[Any]:
    """Return of each source the images of both sides, or the error.

    In a process of its own, as a robot's: the library reads its environment once.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment.update(HF_ENDPOINT=hub.url, HF_HOME=str(home), NO_PROXY="127.0.0.1")
    environment["HF_HUB_OFFLINE"] = offline
    done = subprocess.run(
        [sys.executable, "-c", _OPEN],
        input=json.dumps([NAMES, [asdict(source) for source in sources]]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_robots_share_out_what_is_downloaded_and_later_what_is_in_the_cache(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    equal = [make_source("hub", "lab/signs", number, 3) for number in range(3)]
    unequal = [make_source("hub", "lab/signs", number, 3, 0.5) for number in range(3)]
    hub = Hub({"lab/signs": files})
    with hub.running():
        seen = opened(hub, tmp_path, [*equal, *unequal])
    for parts in (seen[:3], seen[3:]):
        assert sorted(image for sides in parts for side in sides for image in side) == ALL
        assert all(len(holdout) >= 3 for _, holdout in parts)
    assert {len(train) + len(holdout) for train, holdout in seen[:3]} == {PER_CLASS}
    assert len({len(train) for train, _ in seen[3:]}) > 1
    # The hub is gone.
    again = opened(hub, tmp_path, [unequal[1], make_source("hub", "lab/other")])
    assert again[0] == seen[4]
    assert f"the hub {hub.url} cannot be reached" in again[1]
    assert "is not in the cache; check the connection, or copy the dataset to this" in again[1]
    # A robot that was switched off in mid-write.
    [cached] = tmp_path.rglob("signs-train.arrow")
    cached.write_bytes(cached.read_bytes()[:5000])
    damaged, absent = opened(hub, tmp_path, [equal[0], make_source("hub", "lab/other")], "1")
    assert f"if the copy in the cache {tmp_path} is damaged, remove it" in damaged
    assert f"the hub {hub.url} cannot be reached (HF_HUB_OFFLINE is set), and" in absent


def test_what_the_hub_does_not_give_is_told_in_one_line(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    hub = Hub(
        {
            "lab/gated": files,
            "lab/torn": files,
            "lab/card": {**files, "README.md": b"---\nconfigs: [\n---\n"},
            "lab/broken": {"train-0.parquet": files["README.md"]},
            "lab/untrained": {"test-0.parquet": parquet(ALL)},
        },
        gated=["lab/gated"],
        torn=["lab/torn"],
    )
    names = ["gone", "gated", "torn", "card", "broken", "untrained"]
    with hub.running():
        errors = opened(hub, tmp_path, [make_source("hub", f"lab/{name}") for name in names])
    for name, error in zip(names, errors, strict=True):
        assert f"hub:lab/{name}, partition 0 of 1 cannot be loaded: " in error
        assert "\n" not in error
    gone, gated, torn, card, broken, untrained = errors
    assert "'lab/gone' doesn't exist on the Hub or cannot be accessed. Check its name" in gone
    assert "'lab/gated' is a gated dataset" in gated
    assert "for a private dataset set HF_TOKEN" in gated
    assert f"the download from {hub.url} failed: ReadError" in torn
    assert "try again, or copy the dataset to this disk and set 'hub:/path'" in torn
    assert "ParserError: while parsing a flow" in card
    assert "Parquet magic bytes not found" in broken
    assert "'train' is not present in the dataset's splits: '['test']'" in untrained
    assert not list(tmp_path.rglob("torn-*.arrow"))  # no part of it is ever used
