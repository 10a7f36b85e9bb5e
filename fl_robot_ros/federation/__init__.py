"""Flower apps, the fleet worker, the protocol between them and the server process. Free of ROS."""
