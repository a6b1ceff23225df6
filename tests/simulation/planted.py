"""Bugs to plant in the bridge, one at a time. Each is a line of its source that is replaced while a test runs.

A bug whose line is no longer there is an error: a change of the line says here what a bug in the new one would be.
"""

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any


@dataclass(frozen=True, slots=True)
class Bug:
    """One wrong line. `where`: module and function, `old` and `new`: text that occurs once in its source.

    `kind`: the name of the scenarios that find it. "anything" finds most, but needs more seeds for some.
    """

    name: str
    where: str
    old: str
    new: str
    kind: str = "anything"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug for as long as the context lasts, whichever module has imported the function by now."""
        function = _plain(self._attribute())
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.old) == 1, (
            f"{self.where} has changed: {self.old!r} occurs {source.count(self.old)} times"
        )
        namespace: dict[str, Any] = {}
        # Without postponed annotations they would be looked up in this empty namespace.
        code = compile("from __future__ import annotations\n" + source.replace(self.old, self.new), self.where, "exec")
        exec(code, namespace)  # noqa: S102 - our own source with one line of it replaced
        right = function.__code__
        function.__code__ = _plain(namespace[function.__name__]).__code__
        try:
            yield
        finally:
            function.__code__ = right

    def _attribute(self) -> Any:
        module, _, path = self.where.partition(":")
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = inspect.getattr_static(found, name)
        return found


def _plain(found: Any) -> FunctionType:
    """Return the function behind a property or a class method."""
    function = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    assert isinstance(function, FunctionType)
    return function


BUGS = (
    Bug(
        "RST_STREAM CANCEL taken for REFUSED_STREAM",
        "bridge.http2.exchange:Exchange.reset",
        "error_code == ErrorCode.REFUSED_STREAM",
        "error_code in (ErrorCode.REFUSED_STREAM, ErrorCode.CANCEL)",
        "retry unknown",
    ),
    Bug(
        "a retry after a lost answer",
        "bridge.upstream.retry:RetryPolicy._is_retryable",
        "return self.retry_unknown and idempotent",
        "return idempotent",
    ),
    Bug(
        "GOAWAY's last stream taken for one above it",
        "bridge.http2.exchanges:Exchanges._on_going_away",
        "each.stream_id > event.last_stream_id",
        "each.stream_id >= event.last_stream_id",
        "GOAWAY after each",
    ),
    Bug(
        "a stream that is never forgotten",
        "bridge.http2.exchanges:Exchanges._take",
        "return self._open.pop(stream_id, None)",
        "return self._open.get(stream_id)",
    ),
    Bug("a timer that is not cancelled", "bridge.http2.transport:exchange", "timer.cancel()", "pass", "recycling"),
    Bug(
        "an interim answer is no beginning",
        "bridge.http2.exchange:Exchange.disowned",
        "if not self.has_begun",
        "if True",
        "retry unknown",
    ),
    Bug(
        "the other key version is not tried",
        "bridge.upstream.client:_other_signer",
        "post.keys.instead_of(signers) if may_be_about_keys(error) else None",
        "None",
        "new keys",
    ),
    Bug(
        "a place that is not given back",
        "bridge.service:BridgeService._carry_out",
        "self.admission.leave(call.provider_id)",
        "self.admission.count % 7 == 3 or self.admission.leave(call.provider_id)",
    ),
    Bug(
        "a margin after the deadline",
        "bridge.deadline:Deadline.for_caller",
        "granted_s - margin_s",
        "granted_s + margin_s",
    ),
    Bug(
        "a lost answer forgotten by the next attempt",
        "bridge.upstream.client:WalletClient.call",
        "failure = unknown or error",
        "failure = error",
        "retry unknown",
    ),
    Bug(
        "a call whose client left is not taken up again",
        "bridge.http2.transport:exchange",
        "under_way.resume(pool.loop.create_future())",
        "raise",
    ),
    Bug(
        "an end of the connection that ends no call",
        "bridge.http2.exchanges:Exchanges.fail_all",
        "exchange.fail(what, cause_of_code(self.goaway_code or ErrorCode.NO_ERROR))",
        "pass",
    ),
    Bug(
        "no second address is tried",
        "bridge.http2.connect:Race._due_at",
        "return max(self._next_at, self._addresses.usable_from)",
        "return self._deadline if self._running else self._addresses.usable_from",
        "dead addresses",
    ),
    Bug(
        "connections that retire are not counted",
        "bridge.http2.pool:Pool._room",
        "len(self._connections)",
        "sum(each.is_open for each in self._connections)",
        "GOAWAY storm",
    ),
    Bug(
        "resets without a budget",
        "bridge.http2.reset_budget:ResetBudget.spend",
        "if self._tokens < 1 and not must:",
        "if False:",
        "expiring",
    ),
    Bug(
        "a silent connection that is not asked",
        "bridge.http2.liveness:Liveness._ask_about_silence",
        "if self.is_asking or",
        "if True or",
        "silence",
    ),
    Bug(
        "another token's success",
        "bridge.transcoding.verdict:Classifier._check_echoes",
        "for name in self._operation.echoes:",
        "for name in ():",
        "retry unknown",
    ),
)
