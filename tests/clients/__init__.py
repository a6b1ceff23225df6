"""Sample callers in four languages, and the cases that all of them must pass."""
