"""What all tests share."""

from hypothesis import settings

# No deadline for an example: a busy machine is no bug, and timed assertions are not among our proofs.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
