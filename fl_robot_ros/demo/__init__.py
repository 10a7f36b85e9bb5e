"""The demonstration fleet: a synthetic scene, its rosbags, the processes and the report."""
