"""Keras models: architecture, training, evaluation, export. Free of ROS and Flower."""
