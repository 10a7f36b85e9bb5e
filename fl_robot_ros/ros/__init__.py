"""ROS parts of every node: parameters, quality of service, messages, lifetime."""
