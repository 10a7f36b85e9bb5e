"""Sources that fl_streamer plays: image folders, videos, cameras and bags. Free of ROS."""
