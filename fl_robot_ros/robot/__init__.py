"""Run control: starts, follows and cancels the worker. Runs in ROS' own Python."""
