"""Fixtures of the integration tests: those for a private ROS domain."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: ROS 2 or PyPI's ROS wheels")

from ros_fixtures import context, peer, ros_env, start_node

__all__ = ["context", "peer", "ros_env", "start_node"]
