"""An independent wallet for local runs and tests: real HTTP/2, its own checks, answers like the wallet's page, faults.

It shares no code with the rest of the bridge, so that it can check what the bridge sends.

    async with serve() as sandbox:
        ...  # point the bridge at sandbox.url; sandbox.received has what arrived

`server.FaultServer` is the server below it: it does what a behaviour says, also what HTTP/2 forbids.
"""

from bridge.sandbox.operations import OPERATIONS, TERMINATE, TEXT, UINT64, FieldRule, Operation
from bridge.sandbox.providers import SAMPLE_PROVIDERS, Provider
from bridge.sandbox.rows import ROWS, TokenRow
from bridge.sandbox.service import Sandbox, serve
from bridge.sandbox.tokens import markdown, plain_text
from bridge.sandbox.wallet import Received

__all__ = [
    "OPERATIONS",
    "ROWS",
    "SAMPLE_PROVIDERS",
    "TERMINATE",
    "TEXT",
    "UINT64",
    "FieldRule",
    "Operation",
    "Provider",
    "Received",
    "Sandbox",
    "TokenRow",
    "markdown",
    "plain_text",
    "serve",
]
