"""`bridge serve` that also reports how many tasks it has: `python -m benchmarks.soak.bridge_main FILE`.

At SIGWINCH, one of the few signals that the bridge leaves alone, it writes the number into the file, which is there
as a whole or not at all.
"""

import asyncio
import signal
import sys
from pathlib import Path

from bridge.cli.main import main


def report_tasks(file: Path) -> None:
    """From now on, write at SIGWINCH how many tasks the running loop has that have not ended."""

    def report(*_signal: object) -> None:
        written = file.with_suffix(".new")
        written.write_text(str(len(asyncio.all_tasks())), encoding="ascii")
        written.rename(file)

    signal.signal(signal.SIGWINCH, report)


if __name__ == "__main__":
    report_tasks(Path(sys.argv[1]))
    sys.exit(main(["serve"]))
