"""Start one `fl_perception`."""

from launch import LaunchDescription

from fl_robot_ros.nodes.launch_description import describe_launch


def generate_launch_description() -> LaunchDescription:
    return describe_launch(__file__, ["fl_perception"])
