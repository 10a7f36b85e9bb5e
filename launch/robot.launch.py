"""Start all of one robot, `fl_client` and `fl_perception`, under one namespace."""

from launch import LaunchDescription

from fl_robot_ros.nodes.launch_description import describe_launch


def generate_launch_description() -> LaunchDescription:
    return describe_launch(__file__, ["fl_client", "fl_perception"])
