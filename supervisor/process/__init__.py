"""One operating-system process: loop, signals, deadlines, exit codes."""
