"""What `fl_doctor` looks at on a robot, and what it says; needs the standard library alone."""
