"""The bridge as processes: signals, exit codes, workers, logs."""
