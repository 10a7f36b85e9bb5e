"""The server: SuperLink, runs, checkpoints and history."""
