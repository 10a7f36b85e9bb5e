"""The labelled dataset: index, image files, snapshots, split and retention. Free of ROS."""
