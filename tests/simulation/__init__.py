"""The whole call path in virtual time, from the service down to bytes: one seed is one history.

clock.py        a loop whose time passes only while nothing can be done, and never by waiting
network.py      names, addresses and links that delay, cut in pieces, break and fall silent
wallet.py       an independent wallet on h2; its own log is the oracle
answers.py      what the wallet may do with a request, honest or not
scenario.py     which faults a seed has, and what must hold although it has them
run.py          one seed: bridge, callers, faults; what happened and what was violated
invariants.py   what is checked after every run
planted.py      bugs that a test plants, each of which must be caught
settled_*.py    the same with settlement: several bridges, one store, what must hold
__main__.py     `make simulate SEEDS=...`
"""
