"""The link between a robot's node and its worker process, of the standard library alone."""
