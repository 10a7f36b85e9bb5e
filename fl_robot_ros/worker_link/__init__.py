"""What a robot's node and its worker process say to each other. Python's own library alone."""
