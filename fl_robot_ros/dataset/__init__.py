"""The labelled dataset on disk, snapshots, and how samples become model input.

Free of ROS and TensorFlow.
"""
