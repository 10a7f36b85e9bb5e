"""The process on a robot that learns, at the server's request. Free of ROS."""
