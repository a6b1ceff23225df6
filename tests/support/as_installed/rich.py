"""It is not there for the bridge's processes: only the tools of developers need it (tests/support/processes.py)."""

raise ImportError("requirements/run.txt has no rich", name="rich")
