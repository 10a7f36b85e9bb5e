"""Frames and labels from messages and bags. Free of ROS and TensorFlow."""
