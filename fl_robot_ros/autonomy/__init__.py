"""When a robot learns: its rules, the signals that they read, and the autopilot."""
