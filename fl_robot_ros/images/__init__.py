"""Images: encodings, decoding, JPEG, headers, files and preprocessing. Free of ROS."""
