"""Any bytes in any pieces: no callback of a connection raises, and none needs the guard that would hide it."""

import asyncio
import logging
import logging.handlers
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.http2.connection import Connection
from bridge.http2.exchange import Exchange
from bridge.http2.faults import LOGGER
from tests.support.examples import examples
from tests.support.http2.conversation import BODY, GREETING, OPEN_STREAMS, REQUEST
from tests.support.http2.strategies import ANY_BYTES, SPEECHES


class Wire(asyncio.Transport):
    """A transport without a socket: what is written is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._is_closing = False

    def write(self, _data: bytes | bytearray | memoryview) -> None:
        """Drop it."""

    def is_closing(self) -> bool:
        """Whether the connection has closed it."""
        return self._is_closing

    def close(self) -> None:
        """Take nothing more."""
        self._is_closing = True

    abort = close


@contextmanager
def faults_collected() -> Iterator[list[logging.LogRecord]]:
    """Collect what the guards report."""
    handler = logging.handlers.BufferingHandler(capacity=1000)
    LOGGER.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        LOGGER.removeHandler(handler)


@settings(max_examples=examples(300))
@given(data=st.lists(ANY_BYTES | SPEECHES, min_size=1, max_size=3), lost=st.booleans())
async def test_any_bytes(data: list[bytes], *, lost: bool) -> None:
    """Whatever a server sends, no callback raises, and nothing is a fault: each call ends by what the bytes prove."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _loop, complaint: complaints.append(complaint))
    connection = Connection(loop, 64 * 1024, lambda: None)
    connection.connection_made(Wire())
    connection.data_received(GREETING)
    sent = [Exchange(REQUEST, BODY, loop.create_future()) for _ in OPEN_STREAMS]
    for each in sent:
        connection.begin(each)
    await asyncio.sleep(0)
    with faults_collected() as faults:
        for piece in data:
            connection.data_received(piece)
            await asyncio.sleep(0)
        if lost:
            connection.connection_lost(ConnectionResetError())
        else:
            connection.close()
            connection.connection_lost(None)
    assert (faults, complaints) == ([], [])
    assert all(each.answer.done() for each in sent)
