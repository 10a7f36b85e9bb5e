"""What every node needs of ROS: parameters, quality of service, messages, lifetime."""
