"""What `fl_perception` does between a frame and its result. Free of ROS."""
