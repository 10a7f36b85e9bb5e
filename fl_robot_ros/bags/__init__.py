"""Rosbags of all formats, whole or damaged, read as frames and labels. Free of ROS."""
