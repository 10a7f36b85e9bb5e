"""Run control: start, progress and end of a run's worker. Runs in the Python of ROS."""
