"""What runs on the server: the SuperLink, the runs, their checkpoints and history."""
