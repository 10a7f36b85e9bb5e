"""The way of frames and labels, live or from a bag, to stored samples. Free of ROS."""
