"""Why the bridge, or a command of it, cannot start: each package raises its own kind."""


class StartError(Exception):
    """The text is one line for each thing that is wrong: what it is and what to do. It holds no secret."""
