"""What fl_streamer plays: folders of images, videos, cameras and bags. Free of ROS."""
