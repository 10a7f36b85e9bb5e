"""Reading rosbags, whole or damaged: `bag.open_bag` is the front door.

A `BagReader` turns the messages of a `BagStorage`, all storage files of a bag, into frames and
labels; each file is a `Storage`. This package reads mcap and sqlite files by itself, as a robot
loses power in mid-recording: it takes what is readable of a file that is cut off, lacks its index
or is damaged inside, in bounded memory, and says what was lost. rosbags refuses an mcap file
without its end, mcap stops at the first damaged record, and both trust the sizes that a file
claims. ROS 1 bags are read by rosbags, as `rosbag reindex` mends damaged ones.
"""
