"""Calls to be written into settlement stores, for tests."""

from bridge.settlement.entry import NO_FAILURE, Added, Call, CallEnd, Last, NewCall
from bridge.settlement.sealing import Keys
from bridge.settlement.store import Store

OPERATION = "wallet.v1.WalletService/Terminate"
OPERATIONS = frozenset({OPERATION})
FAR_S = 100_000.0
"""Later than any test lasts: what is due then is not due, and what is leased for so long stays leased."""
TIMEOUT = Last("WALLET_TIMEOUT")
KEYS = Keys([bytes(range(32))])


def new_call(  # noqa: PLR0913 - every one has a default
    request: str = "a",
    *,
    is_owed: bool = True,
    due_in_s: float = 0.0,
    ticket: str = "",
    call_id: str = "call",
    identities: tuple[str, ...] = (),
    provider_id: int = 7,
    operation: str = OPERATION,
    last: Last | None = None,
    never_repeat: bool = False,
    keys: Keys = KEYS,
) -> NewCall:
    """Return a call whose request is distinguished from others by this text."""
    sealed = keys.seal(operation, provider_id, b"content of " + request.encode(), b"body of " + request.encode())
    failure = (TIMEOUT if is_owed else NO_FAILURE) if last is None else last
    return NewCall(
        ticket=ticket or sealed.entry_id,
        call=Call(call_id, identities),
        sealed=sealed,
        due_in_s=due_in_s,
        is_owed=is_owed,
        fingerprint="0123456789abcdef",
        last=failure,
        never_repeat=never_repeat,
    )


async def add(store: Store, call: NewCall) -> Added:
    """Write one call."""
    (added,) = await store.write([call])
    assert added is not None
    return added


async def end(store: Store, call: NewCall, *, is_success: bool = False) -> None:
    """End one call for certain."""
    await store.write([CallEnd(call.ticket, is_success)])
