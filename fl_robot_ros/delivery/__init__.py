"""The robot's versioned model store and the predictor that uses it. Free of ROS."""
