"""Console commands that are not ROS nodes."""
