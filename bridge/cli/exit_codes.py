"""How a command's end is told to its shell."""

from bridge.start_error import StartError

CANNOT_START = (StartError, OSError)
"""What keeps a command from starting: told in plain lines, and never in a traceback."""

CANNOT_START_CODE = 2
