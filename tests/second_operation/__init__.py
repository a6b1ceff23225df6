"""A second and a third operation, added to a copy of the repository."""
