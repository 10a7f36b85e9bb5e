"""What a robot does in a run, without ROS: run control and the fleet worker's process.

Runs in the interpreter that ROS came with; learning happens in the worker's.
"""
