"""Exit codes of the commands."""

from bridge.start_error import StartError

CANNOT_START = (StartError, OSError)
"""Errors that keep a command from starting: printed in plain lines, never as a traceback."""

CANNOT_START_CODE = 2
