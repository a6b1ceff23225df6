"""`bridge completion`: a script for a shell that completes commands, flags and values of `bridge`.

Each is written from the flags that the commands themselves declare, and runs without Python, so that a key press
answers at once.
"""
