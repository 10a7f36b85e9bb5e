"""Settings are checked when they are made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.config import (
    ClientSettings,
    PerceptionSettings,
    ServerSettings,
    StreamerSettings,
    expand_path,
    resolve_data_dir,
    resolve_server_address,
)
from fl_robot_ros.errors import SettingError
from fl_robot_ros.setting import Settings, describe_range, setting_type

# What has no default.
REQUIRED: dict[type[Settings], dict[str, Any]] = {ServerSettings: {"classes": ("cup", "phone")}}
CLASSES = (ClientSettings, PerceptionSettings, StreamerSettings, ServerSettings)
EVERY_SETTING = [
    pytest.param(cls, field, id=f"{cls.__name__}.{field.name}")
    for cls in CLASSES
    for field in dataclasses.fields(cls)
]
LIMITS = [
    pytest.param(cls, field, limit, id=f"{cls.__name__}.{field.name}-{limit}")
    for cls in CLASSES
    for field in dataclasses.fields(cls)
    for limit in ("minimum", "maximum")
    if field.metadata[limit] is not None
]


@pytest.mark.parametrize(("cls", "field"), EVERY_SETTING)
def test_a_setting_is_described_and_its_default_has_its_type(
    cls: type[Settings], field: dataclasses.Field[Any]
) -> None:
    assert field.metadata["description"].endswith(".")
    assert type(field.default) is setting_type(cls, field.name)


@pytest.mark.parametrize(("cls", "field", "limit"), LIMITS)
def test_a_limit_is_allowed_and_what_lies_beyond_is_not(
    cls: type[Settings], field: dataclasses.Field[Any], limit: str
) -> None:
    kind = setting_type(cls, field.name)
    edge = kind(field.metadata[limit])
    needed = REQUIRED.get(cls, {})
    assert getattr(cls(**needed, **{field.name: edge}), field.name) == edge
    beyond = edge - 1 if limit == "minimum" else edge + 1
    with pytest.raises(SettingError) as caught:
        cls(**needed, **{field.name: beyond})
    for part in (field.name, repr(beyond), describe_range(field), field.metadata["unit"]):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sample_rate_hz", "5", "a number"),
        ("sample_rate_hz", True, "a number"),
        ("sample_rate_hz", None, "a number"),
        ("sample_rate_hz", float("nan"), "0.001 to 1000 Hz"),
        ("sample_rate_hz", float("inf"), "0.001 to 1000 Hz"),
        ("queue_size", 64.0, "a whole number"),
        ("queue_size", False, "a whole number"),
        ("capture_enabled", 1, "true or false"),
        ("data_dir", 5, "a string"),
        ("image_topics", "camera", "a list of strings"),
        ("image_topics", ["camera", 5], "a list of strings"),
        ("publish_if", "better", "'not_worse' or 'better_by' or 'always'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(
    name: str, value: object, expected: str
) -> None:
    with pytest.raises(SettingError) as caught:
        ClientSettings.from_mapping({name: value})
    assert str(caught.value) == f"{name} is {value!r}; expected {expected}"


def test_a_whole_number_is_taken_for_a_fraction() -> None:
    rate = ClientSettings.from_mapping({"sample_rate_hz": 10}).sample_rate_hz
    assert (rate, type(rate)) == (10.0, float)


def test_empty_strings_stand_for_an_empty_list() -> None:
    settings = ClientSettings.from_mapping({"bag_paths": [""], "image_topics": ["a", "", "b"]})
    assert settings.bag_paths == ()
    assert settings.image_topics == ("a", "b")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingError, match=r"unknown setting 'min_node'; .*min_nodes"):
        ServerSettings.from_mapping({"min_node": 2})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PerceptionSettings().num_threads = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"classes": []}, "classes is []; expected the names of two or more classes"),
        ({"classes": ["cup"]}, "classes is ['cup']; expected the names of two or more"),
        ({"classes": ["cup", "phone", "cup"]}, "classes has 'cup' and 'cup'; expected distinct"),
        ({"classes": ["cup", "Cup"]}, "classes has 'cup' and 'Cup'; expected distinct names"),
        ({"input_channels": 2}, "input_channels is 2; expected 1 or 3"),
        ({"input_height": 9}, "input_height is 9; expected 10 to 4096 px"),
        ({"strategy": "Median"}, "strategy is 'Median'; expected 'FedAvg' or 'FedAvgM' or"),
        (
            {"strategy": "FedMedian"},
            "min_nodes is 2; expected 3 or more for the strategy FedMedian",
        ),
        ({"strategy": "MultiKrum"}, "expected 4 or more for the strategy MultiKrum with"),
        ({"strategy": "Krum", "max_malicious": 3, "min_nodes": 6}, "expected 7 or more"),
        ({"strategy": "FedTrimmedAvg", "max_malicious": 2, "min_nodes": 4}, "expected 5 or more"),
        ({"strategy": "Bulyan", "min_nodes": 6}, "expected 7 or more for the strategy Bulyan"),
        ({"loss": "hinge"}, "loss is 'hinge'; expected 'calibrated' or 'plain'"),
        ({"ssl_certfile": "a"}, "ssl_keyfile not given; expected ssl_certfile and ssl_keyfile"),
        ({"ssl_keyfile": "a"}, "ssl_certfile not given; expected ssl_certfile and"),
    ],
)
def test_server_settings_that_cannot_work_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        ServerSettings.from_mapping({"classes": ["cup", "phone"], **values})
    assert words in str(caught.value)


def test_a_range_of_brightness_without_any_is_refused() -> None:
    ClientSettings(min_brightness=30.0, max_brightness=30.0)
    with pytest.raises(SettingError, match=r"min_brightness is 40\.0; expected at most max_bri"):
        ClientSettings(min_brightness=40.0, max_brightness=30.0)


def test_a_published_file_that_no_version_has_is_refused() -> None:
    ClientSettings(published_file="model_int8.tflite", export_int8=True)
    with pytest.raises(SettingError, match="expected export_int8: true beside it"):
        ClientSettings(published_file="model_int8.tflite")


@pytest.mark.parametrize(
    ("address", "environment", "expected"),
    [
        ("", {}, "127.0.0.1:8000"),
        ("", {"SERVER_IP": "10.0.0.5"}, "10.0.0.5:8000"),
        ("", {"SERVER_PORT": "9100"}, "127.0.0.1:9100"),
        ("", {"SERVER_IP": "fleet.example.org", "SERVER_PORT": "443"}, "fleet.example.org:443"),
        ("", {"SERVER_IP": "", "SERVER_PORT": ""}, "127.0.0.1:8000"),
        ("robots:1", {"SERVER_IP": "10.0.0.5", "SERVER_PORT": "9100"}, "robots:1"),
        ("[::1]:8000", {}, "[::1]:8000"),
    ],
)
def test_the_server_address_comes_from_parameter_environment_or_default(
    address: str, environment: dict[str, str], expected: str
) -> None:
    assert resolve_server_address(address, environment) == expected


@pytest.mark.parametrize(
    ("data_dir", "namespace", "expected"),
    [
        ("", "/", "/home/me/.ros/fl_robot_ros"),
        ("", "/robot1", "/home/me/.ros/fl_robot_ros/robot1"),
        ("", "/fleet/robot1", "/home/me/.ros/fl_robot_ros/fleet/robot1"),
        ("~/data", "/robot1", "/home/me/data"),
    ],
)
def test_robots_of_one_machine_have_data_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, data_dir: str, namespace: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert resolve_data_dir(data_dir, namespace) == Path(expected)


@pytest.mark.parametrize(
    ("address", "environment"),
    [
        ("fleet.example.org", {}),
        ("fleet.example.org:", {}),
        (":8000", {}),
        ("fleet:http", {}),
        ("fleet:0", {}),
        ("fleet:65536", {}),
        ("fleet:-1", {}),
        ("", {"SERVER_PORT": "eight thousand"}),
        ("", {"SERVER_PORT": "70000"}),
        ("fleet:\N{SUPERSCRIPT TWO}", {}),
        ("http://fleet:8000", {}),
        ("https://fleet.example.org:443", {}),
        ("fleet/path:8000", {}),
        ("user@fleet:8000", {}),
        ("a fleet:8000", {}),
        ("::1:8000", {}),
        ("[fleet]:8000", {}),
    ],
)
def test_an_address_without_a_port_is_refused(address: str, environment: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="expected host:port with a port from 1 to 65535"):
        resolve_server_address(address, environment)


ascii_text = st.text(st.characters(max_codepoint=127))


@given(ascii_text, st.dictionaries(st.sampled_from(["SERVER_IP", "SERVER_PORT"]), ascii_text))
def test_whatever_is_given_there_is_an_address_with_a_port_or_a_setting_error(
    address: str, environment: dict[str, str]
) -> None:
    try:
        host, _, port = resolve_server_address(address, environment).rpartition(":")
    except SettingError:
        return
    assert host
    assert 1 <= int(port) <= 65535


def test_paths_are_expanded_and_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROBOT", "r2")
    monkeypatch.chdir(tmp_path)
    assert expand_path("~/data") == tmp_path / "home" / "data"
    assert expand_path("$ROBOT/data") == tmp_path / "r2" / "data"
    assert expand_path("${ROBOT}/data") == tmp_path / "r2" / "data"
    assert expand_path("/srv/data") == Path("/srv/data")
    assert expand_path("") == tmp_path
