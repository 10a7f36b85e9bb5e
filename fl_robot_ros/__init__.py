"""Federated learning of one perception model by a fleet of ROS 2 robots."""

__version__ = "0.1.0"
