"""Mixed faults for a long time: memory, descriptors and streams must stay flat."""
