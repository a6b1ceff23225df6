"""Metrics of calls and of their attempts: counts of events.

An end has the outcome and the reason of errors.py, or OK or CANCELLED in the place of the reason.
"""

from prometheus_client import CollectorRegistry

from bridge.errors import REASONS, BridgeOverloaded, WalletUnreachable, leaves
from bridge.events import AttemptEnded, CallEnded, CallStarted
from bridge.outcome import GrpcCode, Outcome
from bridge.telemetry import families
from bridge.telemetry.families import Labels
from bridge.telemetry.series import Series, Vocabulary

OK, CANCELLED = GrpcCode.OK.name, GrpcCode.CANCELLED.name
ANSWERED = "ANSWERED"
"""In the place of a reason: the wallet answered the attempt."""

CAUSES = ("refused", "timeout", "dns", "tls", "http2_required", "network", "closed")
"""Of WALLET_UNREACHABLE (errors.py)."""

LIMITS = ("bridge", "provider", "queue")
"""Of BRIDGE_OVERLOADED: its causes (admission.py), with a word where there is none."""

HTTP_ERRORS = range(400, 600)
"""To a client, all of these are errors (OpenTelemetry, semantic conventions for HTTP spans, "Status")."""

ENDS: tuple[Labels, ...] = (
    (OK, OK),
    (Outcome.NOT_SENT.name, CANCELLED),
    (Outcome.UNKNOWN.name, CANCELLED),
    *((leaf.outcome.name, leaf.reason) for leaf in leaves()),
)
"""Outcome and reason of every end that a call can have, but for the reasons that an operator adds."""


class CallMetrics:
    """Counts calls and their ends. `methods`: full names, whose series are there from the start."""

    def __init__(self, methods: Labels, registry: CollectorRegistry) -> None:
        method, status = Vocabulary(methods), Vocabulary(GrpcCode.__members__, more=0)
        outcome, reason = Vocabulary({OK, *Outcome.__members__}, more=0), Vocabulary({OK, CANCELLED, *REASONS})
        code, field = Vocabulary(), Vocabulary()

        def full_name(service: str, name: str) -> str:
            return method(f"{service}/{name}")

        self._started = Series(
            families.CALLS_STARTED,
            registry,
            lambda service, name: (full_name(service, name),),
            known=[(name,) for name in methods],
        )
        self._durations = Series(
            families.CALL_DURATION, registry, lambda service, name, grpc: (full_name(service, name), status(grpc))
        )
        self._ends = Series(
            families.CALLS,
            registry,
            lambda service, name, certain, why: (full_name(service, name), outcome(certain or OK), reason(why)),
            known=[(name, *end) for name in methods for end in ENDS],
        )
        self._detached = Series(
            families.DETACHED_ENDS,
            registry,
            lambda certain: (outcome(certain or OK),),
            known=[(OK,), *((name,) for name in Outcome.__members__)],
        )
        self._codes = Series(families.WALLET_CODES, registry, lambda number: (code(str(number)),))
        self._missing = Series(
            families.MISSING_FIELDS, registry, lambda service, name, lacked: (full_name(service, name), field(lacked))
        )
        self._unknown = Series(
            families.UNKNOWN_MEMBERS,
            registry,
            lambda service, name: (full_name(service, name),),
            known=[(name,) for name in methods],
        )
        self._queue = families.ADMISSION_QUEUE.register(registry)
        # Only providers that are configured get as far as admission.
        provider, limit = Vocabulary(), Vocabulary(LIMITS, more=0)
        self._overloaded = Series(
            families.OVERLOADED, registry, lambda id_, cause: (provider(str(id_)), limit(cause or LIMITS[0]))
        )

    def started(self, event: CallStarted) -> None:
        """Count the start of a call."""
        self._started[event.service, event.method].inc()

    def ended(self, event: CallEnded) -> None:
        """Count the end of a call."""
        service, method = event.service, event.method
        # The status of a call that the client has cancelled: gRPC says CANCELLED on its own.
        status = CANCELLED if event.is_detached else event.grpc_code
        self._durations[service, method, status].observe(event.duration_s)
        self._ends[service, method, event.outcome, event.reason or event.grpc_code].inc()
        if event.wallet_code is not None:
            self._codes[event.wallet_code,].inc()
        if event.reason == BridgeOverloaded.reason:
            self._overloaded[event.provider_id, event.cause].inc()
        if event.queue_s:
            self._queue.observe(event.queue_s)
        if event.is_detached:
            self._detached[event.outcome,].inc()
        if event.unknown_count:
            self._unknown[service, method].inc(event.unknown_count)
        for field in event.missing_fields:
            self._missing[service, method, field].inc()


class AttemptMetrics:
    """Counts attempts: POSTs to the wallet."""

    def __init__(self, registry: CollectorRegistry) -> None:
        method, status, reason = Vocabulary(), Vocabulary(), Vocabulary({ANSWERED, *REASONS})
        cause = Vocabulary(CAUSES, more=0)

        def labels(name: str, http_status: int, why: str) -> Labels:
            code = status(str(http_status)) if http_status else ""
            error = code if http_status in HTTP_ERRORS else ""
            return method(name), "POST", code, reason(why) if why else error

        self._durations = Series(families.REQUEST_DURATION, registry, labels)
        self._retries = Series(families.RETRIES, registry, lambda why: (reason(why or ANSWERED),))
        self._unreachable = Series(
            families.UNREACHABLE_ATTEMPTS, registry, lambda why: (cause(why),), known=[(word,) for word in CAUSES]
        )

    def ended(self, event: AttemptEnded) -> None:
        """Count the end of an attempt."""
        self._durations[event.method, event.http_status, event.reason].observe(event.duration_s)
        if event.number > 1:
            self._retries[event.reason,].inc()
        if event.reason == WalletUnreachable.reason:
            self._unreachable[event.cause,].inc()
