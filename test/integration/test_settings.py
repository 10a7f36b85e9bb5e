import dataclasses

import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from fl_robot_ros.config import (
    ClientSettings,
    PerceptionSettings,
    StreamerSettings,
    ViewerSettings,
)
from fl_robot_ros.errors import SettingError
from fl_robot_ros.ros.settings import declare_settings
from fl_robot_ros.setting import Settings, SettingsT


def declare(
    context: rclpy.Context,
    cls: type[SettingsT],
    *overrides: str,
    changeable: tuple[str, ...] = (),
) -> tuple[Node, SettingsT]:
    """Declare the settings in a node that was given parameters on its command line."""
    arguments = ["--ros-args"] + [word for text in overrides for word in ("-p", text)]
    node = rclpy.create_node("settings", context=context, cli_args=arguments)
    try:
        return node, declare_settings(node, cls, changeable=changeable)
    finally:
        context.on_shutdown(node.destroy_node)


@pytest.mark.parametrize(
    "cls", [ClientSettings, PerceptionSettings, StreamerSettings, ViewerSettings]
)
def test_without_overrides_the_settings_are_the_defaults(
    context: rclpy.Context, cls: type[Settings]
) -> None:
    node, settings = declare(context, cls)
    assert settings == cls()
    for field in dataclasses.fields(cls):
        descriptor = node.describe_parameter(field.name)
        assert descriptor.read_only
        assert field.metadata["description"] in descriptor.description
        assert field.metadata["unit"] in descriptor.description
        spans = [*descriptor.floating_point_range, *descriptor.integer_range]
        limits = (field.metadata["minimum"], field.metadata["maximum"])
        assert [(s.from_value, s.to_value) for s in spans] == [limits] * (limits[0] is not None)


def test_lists_are_lists_of_strings_even_when_empty(context: rclpy.Context) -> None:
    node, settings = declare(
        context, ClientSettings, 'image_topics:=[""]', changeable=("bag_paths",)
    )
    assert settings.image_topics == ()
    assert settings.bag_paths == ()
    for name in ("image_topics", "bag_paths"):
        assert node.get_parameter(name).type_ == Parameter.Type.STRING_ARRAY
    (result,) = node.set_parameters([Parameter("bag_paths", value=["a", "b"])])
    assert result.successful
    (result,) = node.set_parameters([Parameter("jpeg_quality", value=5)])
    assert not result.successful


def test_numbers_are_taken_for_what_is_meant(context: rclpy.Context) -> None:
    _, settings = declare(context, StreamerSettings, "rate_hz:=10", "label:=5", "source:=0")
    assert (settings.rate_hz, settings.label, settings.source) == (10.0, "5", "0")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sample_rate_hz:=0.0", "sample_rate_hz is 0.0; expected 0.001 to 1000 Hz"),
        ("queue_size:=1.5", "queue_size is 1.5; expected a whole number"),
        ("image_topics:=one", "image_topics is 'one'; expected a list of strings"),
        ("bag_paths:=[1, 2]", r"bag_paths is \[1, 2\]; expected a list of strings"),
        ("capture_enabled:=7", "capture_enabled is 7; expected true or false"),
        ("published_file:=other", "published_file is 'other'; expected 'model.keras' or"),
    ],
)
def test_an_invalid_value_is_named_with_what_was_expected(
    context: rclpy.Context, override: str, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        declare(context, ClientSettings, override)


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("privacy_mask:=['camera: 0,0 1,0 1,1']", "privacy_masks"),
        ("sample_rate:=5.0", "sample_rate_hz"),
        ("min_brightnes:=30.0", "min_brightness"),
    ],
)
def test_a_misspelt_setting_is_refused(context: rclpy.Context, override: str, meant: str) -> None:
    given = override.partition(":")[0]
    with pytest.raises(SettingError, match=f"unknown parameter '{given}'; did you mean '{meant}'"):
        declare(context, ClientSettings, override)


def test_parameters_of_other_programs_are_left_alone(
    context: rclpy.Context, capfd: pytest.CaptureFixture[str]
) -> None:
    others = ("use_sim_time:=true", "frame_rate_hz:=30.0", "base_frame:=b")
    _, settings = declare(context, ClientSettings, *others)
    assert settings == ClientSettings()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("cls", "override", "expected"),
    [
        (
            ClientSettings,
            "image_topic:=front",
            "'image_topic' has no effect on settings: it is a setting of fl_streamer and "
            "fl_viewer; its own is 'image_topics'",
        ),
        (
            PerceptionSettings,
            "worker_python:=python3",
            "'worker_python' has no effect on settings: it is a setting of fl_client",
        ),
    ],
)
def test_a_setting_of_another_node_of_ours_is_named(
    context: rclpy.Context,
    capfd: pytest.CaptureFixture[str],
    cls: type[Settings],
    override: str,
    expected: str,
) -> None:
    _, settings = declare(context, cls, override)
    assert settings == cls()
    assert f"{expected}\n" in capfd.readouterr().err
