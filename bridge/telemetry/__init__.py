"""What the bridge tells its operator: events as values, and one module for each place they go to."""
