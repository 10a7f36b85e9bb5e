"""What people do with a dataset: check, label, import, export and look at it. Free of ROS."""
