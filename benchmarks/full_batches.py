"""`bridge serve` with settlement's transactions as large as at full pace, however slow the process is.

    python -m benchmarks.full_batches

What a transaction costs is shared by the writes in it, and how many they are depends on the calls that end within
writer.GAP_S. Under valgrind a process is some fifty times slower: its transactions would hold a call or two. Here
a transaction begins when it has as many writes as at full pace, and nothing that only passes time is done meanwhile.
"""

import sys

from bridge.cli.main import main
from bridge.settings import file_watch
from bridge.settlement import intake, keeper, settler, writer

CALLS_PER_S = 1300
"""Pace of the bridge on grpcio (docs/performance.md, "Side by side"). On the native engine it is higher: there a
transaction has more calls than here."""
WRITES_OF_CALL = 2
"""It is written before it is sent, and its end is."""
NEVER_S = 3600.0
"""In place of the time after which settlement looks at its store again, and at its key file."""
STALL_S = 5.0
"""In place of the gap: the last calls of a load, which fill no transaction, are written after it."""


def writes_of_batch(gap_s: float) -> int:
    """Return how many writes come in this time at full pace."""
    return round(WRITES_OF_CALL * CALLS_PER_S * gap_s)


def fill_batches() -> None:
    """Have transactions begin by their number of writes."""
    writer.BATCH_MAX = writes_of_batch(writer.GAP_S)
    writer.GAP_S = writer.ENDS_WAIT_S = STALL_S
    intake.WAIT_S = 2 * STALL_S
    settler.POLL_S = keeper.LOOK_S = NEVER_S
    file_watch.INTERVAL_S = NEVER_S


if __name__ == "__main__":
    assert "bridge.server.app" not in sys.modules, "it takes the interval of file_watch when it is imported"
    fill_batches()
    sys.exit(main(["serve"]))
