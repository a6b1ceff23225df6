"""A run with recognisable secrets, and the search for them in all that was said."""
