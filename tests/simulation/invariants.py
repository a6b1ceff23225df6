"""Invariants of every run: no false answer, no second sending, every end in time, nothing left (docs/simulation.md)."""

from collections.abc import Callable, Iterator

from bridge.outcome import GrpcCode, Outcome
from tests.simulation.run import CONNECTIONS_MAX, End, Run, Violation

DEADLINE_DEFAULT_S = 5.0
SLACK_S = 1e-3
ATTEMPTS_MAX = 3
LINKS_MAX = 2 * CONNECTIONS_MAX
PING_INTERVAL_S = 1.0
REPORTED_S = 0.5
"""How long the end of a connection may be on its way."""
TIMERS_MAX = 2 * LINKS_MAX
"""Once all calls have ended: for each connection its age, its liveness, its close."""
RESETS_BURST, RESETS_PER_S = 15, 2.0
SILENCE_SEEN_S = 2.5
"""How long a silent connection may take calls."""


Check = Callable[[Run], Iterator[Violation]]


def truth(run: Run) -> Iterator[Violation]:
    """Whatever the bridge claims about the wallet is so."""
    for end in run.ends.values():
        record = run.wallet.records[end.call.token]
        if end.is_ok and not (record.processed and _echoes(run, end)):
            yield Violation("OK without the wallet's word about exactly this token", end.call.token)
        if end.outcome in {Outcome.NOT_SENT, Outcome.NOT_PROCESSED, Outcome.REJECTED} and record.processed:
            yield Violation(f"claims {end.outcome.name}, but it was processed", end.call.token)
        if end.outcome is Outcome.NOT_SENT and record.begun_s and _attempts(end) <= 1:
            yield Violation("claims NOT_SENT, but it arrived", end.call.token)
        if end.error and end.error.grpc_code is GrpcCode.UNAVAILABLE and end.outcome is Outcome.UNKNOWN:
            yield Violation("UNAVAILABLE although the outcome is unknown", end.call.token)


def once(run: Run) -> Iterator[Violation]:
    """No call is processed twice unless the operator allows that, and then no more often than there are attempts."""
    most = ATTEMPTS_MAX if run.scenario.kind.retry_unknown else 1
    for token, record in run.wallet.records.items():
        if len(record.processed) > most:
            yield Violation(f"processed {len(record.processed)} times", token)
        for wrong in record.wrong:
            yield Violation(f"the wallet got {wrong}", token)


def in_time(run: Run) -> Iterator[Violation]:
    """Every call ends by its deadline, and each is reported once."""
    for end in run.ends.values():
        limit_s = DEADLINE_DEFAULT_S if end.call.deadline_s is None else end.call.deadline_s
        late_s = end.ended_s - end.began_s - limit_s
        stalled = any(what == "stall" for _, what in run.scenario.faults())
        if not end.ended_s or (late_s > SLACK_S and not stalled):
            yield Violation(f"ends {late_s:.3f} s after its deadline", end.call.token)
        for report in end.reports:
            if report.is_detached and report.grpc_code == GrpcCode.CANCELLED.name:
                yield Violation("was sent, and is not finished without its client", end.call.token)
        if len(end.reports) > 1:
            yield Violation(f"is reported {len(end.reports)} times", end.call.token)
    if run.reported != len(run.ends):
        yield Violation(f"{run.reported} ends reported of {len(run.ends)} calls")


def reported_at_once(run: Run) -> Iterator[Violation]:
    """Report the end of a connection to its calls at once, and not at their deadlines."""
    if run.scenario.kind.retry_unknown:
        return
    for connection in run.wallet.connections:
        # No one sees the end of a connection that is silent.
        for token in connection.tokens if connection.cut_s and not connection.link.is_silent else ():
            attempts, end = run.wallet.records[token].begun_s, run.ends[token]
            if _attempts(end) > len(attempts):
                continue  # a further attempt is on its way, which the wallet has not seen whole
            if (
                attempts[-1] <= connection.cut_s < end.ended_s - REPORTED_S
                and connection.name == run.wallet.records[token].last
            ):
                yield Violation(f"ends {end.ended_s - connection.cut_s:.2f} s after its connection", token)


def nothing_left(run: Run) -> Iterator[Violation]:
    """No task, stream, link or timer is left, no exception is unretrieved, and h2 has nothing to complain about."""
    for what in (*run.left, *run.wallet.complaints):
        yield Violation(what)
    if len(run.timers_after_calls) > TIMERS_MAX:
        yield Violation(f"{len(run.timers_after_calls)} timers after the last call: {run.timers_after_calls[0]}")


def bounded(run: Run) -> Iterator[Violation]:
    """Keep connections, PINGs and resets within their bounds."""
    if run.network.most_links > LINKS_MAX:
        yield Violation(f"{run.network.most_links} connections at once, {CONNECTIONS_MAX} wanted")
    for connection in run.wallet.connections:
        for first, second in zip(connection.pings, connection.pings[1:], strict=False):
            # PINGs are delayed on their way, by different times.
            if second - first < PING_INTERVAL_S / 2:
                yield Violation(f"{connection.name}: two PINGs within {second - first:.3f} s")
        excess = [
            count - RESETS_BURST - RESETS_PER_S * (at_s - connection.began_s)
            for count, at_s in enumerate(connection.resets, 1)
        ]
        if max(excess, default=0) > 1:
            yield Violation(f"{connection.name}: {max(excess):.0f} resets more than its budget")


INVARIANTS: tuple[Check, ...] = (truth, once, in_time, reported_at_once, nothing_left, bounded)


def nothing_more(_run: Run) -> Iterator[Violation]:
    """Promise nothing beyond the invariants."""
    yield from ()


def all_ok(run: Run) -> Iterator[Violation]:
    """Every call is OK: a wallet that recycles connections or changes keys disturbs no one."""
    for end in run.ends.values():
        if not end.is_ok:
            yield Violation(f"ends {end.name}", end.call.token)


def healthy_ok(run: Run) -> Iterator[Violation]:
    """Expect OK of a call that the wallet answers, whatever becomes of its neighbours."""
    for end in run.ends.values():
        if end.call.is_healthy and not end.is_ok:
            yield Violation(f"was answered and ends {end.name}", end.call.token)


def addresses(run: Run) -> Iterator[Violation]:
    """Dead addresses cost no one a call: the first ones take at most 1.5 s, later ones no time."""
    yield from all_ok(run)
    first_s = min(end.began_s for end in run.ends.values())
    for end in run.ends.values():
        limit_s = 1.5 + 0.5 if end.began_s < first_s + 1.5 else 0.5
        if end.is_ok and end.ended_s - end.began_s > limit_s:
            yield Violation(f"takes {end.ended_s - end.began_s:.2f} s", end.call.token)


def silence(run: Run) -> Iterator[Violation]:
    """Only calls that begin before a connection falls silent, or within 2.5 s of that, may fail."""
    for end in run.ends.values():
        at_s = run.silent_from_s
        is_caught = at_s is not None and end.began_s <= at_s + SILENCE_SEEN_S and end.began_s >= at_s - 2.0
        if not end.is_ok and not is_caught:
            yield Violation(f"ends {end.name}", end.call.token)


def drain(run: Run) -> Iterator[Violation]:
    """Expect OK of calls that were taken on, and of later ones a refusal that says so."""
    for end in run.ends.values():
        is_late = run.drained_from_s is not None and end.began_s >= run.drained_from_s
        if end.name != ("BRIDGE_DRAINING" if is_late else "OK"):
            yield Violation(f"ends {end.name}", end.call.token)


def slow(run: Run) -> Iterator[Violation]:
    """Take a wallet that needs 5 s for no dead one: every call is OK, over one connection more than needed at most."""
    yield from all_ok(run)
    streams = min(connection.h2.local_settings.max_concurrent_streams for connection in run.wallet.connections)
    needed = min(-(-len(run.ends) // streams), CONNECTIONS_MAX)
    if len(run.wallet.connections) > needed + 1:
        yield Violation(f"{len(run.wallet.connections)} connections where {needed} are enough")


PROMISES: dict[str, Check] = {
    "anything": nothing_more,
    "all OK": all_ok,
    "healthy": healthy_ok,
    "addresses": addresses,
    "silence": silence,
    "drain": drain,
    "slow": slow,
}


def _echoes(run: Run, end: End) -> bool:
    wanted = run.wallet.requests[end.call.token]
    return all(getattr(end.response, name) == wanted[name] for name in ("token", "player_id", "site_id", "provider_id"))


def _attempts(end: End) -> int:
    return end.error.attempts if end.error is not None else max((report.attempts for report in end.reports), default=0)


def violations(run: Run) -> list[Violation]:
    """Return everything that does not hold."""
    checks = (*INVARIANTS, PROMISES[run.scenario.kind.promise])
    return [violation for check in checks for violation in check(run)]
