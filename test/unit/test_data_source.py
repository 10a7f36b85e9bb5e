"""The description of a data source: what is taken, what is refused and how that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from worker_job import make_job

from fl_robot_ros.config import ClientSettings
from fl_robot_ros.data_source import DataSource
from fl_robot_ros.errors import SettingError
from fl_robot_ros.worker_link.job import Job


def source(**values: Any) -> DataSource:
    return DataSource.from_settings(ClientSettings(**values))


def test_the_captured_dataset_is_the_default() -> None:
    assert source(dataset_source="capture") == source()
    assert source().is_captured
    assert str(source()) == "capture"


def test_a_source_survives_the_way_to_the_worker(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").touch()
    for made in (
        source(dataset_source=f"folder:{tmp_path}", holdout_fraction=0.3),
        source(dataset_source=f"tfds:{tmp_path}"),
        source(dataset_source="hub:uoft-cs/cifar10", partition_id=2, num_partitions=3),
        source(dataset_source=f"hub:{tmp_path}", dirichlet_alpha=0.5),
    ):
        assert not made.is_captured
        job = make_job(tmp_path, source=made, freeze=None)
        assert Job.from_json(job.to_json()) == job
    assert str(source(dataset_source=f"folder:{tmp_path}")) == f"folder:{tmp_path}"
    hub = source(dataset_source="hub:uoft-cs/cifar10", num_partitions=3)
    assert str(hub) == "hub:uoft-cs/cifar10, partition 0 of 3"


def test_a_path_may_begin_with_the_home_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "images").mkdir()
    for text in ("folder:~/images", "hub:$HOME/images"):
        assert source(dataset_source=text).location == str(tmp_path / "images")


@pytest.mark.parametrize(
    "text",
    [
        *("camera", "folder", "folder:", "zip:/tmp", "capture:/tmp", "folder:/not/there", "tfds:"),
        *("folder:/dev/null", "folder:/\0", "folder:/" + 300 * "x", "tfds:/tmp", "hub:"),
        *(
            "hub:a/b/c",
            "hub:a b",
            "hub:../not/there",
            "hub:-x",
            "hub:/not/there",
            "hub:https://x.org",
        ),
    ],
)
def test_what_is_no_source_is_refused_with_its_value(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing lies around there that a relative name could mean.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError) as caught:
        source(dataset_source=text)
    assert str(caught.value).startswith(f"dataset_source is {text!r}; expected ")


def test_a_partition_must_exist_and_belong_to_a_hub_dataset(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="partition_id is 2; expected 0 to 1"):
        source(dataset_source="hub:a/b", partition_id=2, num_partitions=2)
    for name, value in (("partition_id", 1), ("num_partitions", 2), ("dirichlet_alpha", 0.1)):
        for text in ("capture", f"folder:{tmp_path}"):
            with pytest.raises(SettingError, match=f"{name} is {value}; only a dataset_source"):
                source(dataset_source=text, **{name: value})
