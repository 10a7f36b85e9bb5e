"""The process on a robot that learns: it answers the server's requests. Free of ROS."""
