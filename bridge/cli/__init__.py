"""The command `bridge`: one module for each sub-command, imported when it runs."""
