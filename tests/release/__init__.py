"""A release: the same bytes at every build, and what is in them."""
