"""Telemetry: one module for each place that events go to."""

import os

# With this variable prometheus_client, when it is imported, chooses to count in files that are mapped into memory: on a
# full disk the next count kills the process (mmap(2), SIGBUS). A supervisor adds up workers' counts instead.
for _name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(_name, None)
