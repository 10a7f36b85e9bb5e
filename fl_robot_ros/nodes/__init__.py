"""The ROS 2 nodes. They convert messages and call the core."""
