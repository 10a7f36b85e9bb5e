"""Start `fl_streamer`: a camera, a folder of pictures, a video or a rosbag on a topic."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    share = FindPackageShare("fl_robot_ros")
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([share, "config", "streamer.yaml"]),
                description="YAML file with the parameters of fl_streamer.",
            ),
            DeclareLaunchArgument(
                "namespace",
                default_value="",
                description="Namespace of the robot whose topics it publishes.",
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                description="Lowest severity that is logged.",
                choices=["debug", "info", "warn", "error", "fatal"],
            ),
            # Fast DDS loses most large images over its default transports; the user's choice wins.
            SetEnvironmentVariable(
                "FASTDDS_BUILTIN_TRANSPORTS",
                EnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", default_value="LARGE_DATA"),
            ),
            Node(
                package="fl_robot_ros",
                executable="fl_streamer",
                namespace=LaunchConfiguration("namespace"),
                parameters=[LaunchConfiguration("params_file")],
                ros_arguments=["--log-level", LaunchConfiguration("log_level")],
                output="screen",
            ),
        ]
    )
