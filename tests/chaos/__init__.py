"""Settlement under SIGKILL: bridges, store and wallet are processes, and any of them is killed at random moments.

wallet.py       a wallet in a process of its own, with faults; what it did is in a journal that outlives it
processes.py    processes that are started, killed and started again
callers.py      callers, and the result of each of their calls
killer.py       who is killed, and when
verdict.py      what must hold afterwards (docs/design/settlement.md, "Invariants" 1 and 3)
run.py          one run from start to verdict
__main__.py     `make chaos SECONDS=120`
"""
