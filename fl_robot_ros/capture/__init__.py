"""Capture: from frames and labels, live or from a bag, to stored samples. Free of ROS.

Both ways share one core. Frames are sampled, encoded by one pool of threads, wait in a
`SettlingQueue` until their labels are sure, and reach the dataset through one `SampleSink`.
`CapturePipeline` is the entrance.
"""
