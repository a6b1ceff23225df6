"""Metrics of settlement: counts of its events."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from bridge.errors import REASONS
from bridge.events import (
    SettlementChanged,
    SettlementNotWritten,
    SettlementOff,
    SettlementSampled,
    SettlementStore,
    SettlementStoreFailed,
)
from bridge.telemetry import families
from bridge.telemetry.families import Family, Labels
from bridge.telemetry.series import Series, Vocabulary

STATES = ("PENDING", "SETTLED", "REJECTED", "UNRESOLVED", "CLOSED")
NO_CODE = "none"
"""In the place of a result code where the wallet gave none."""


class SettlementMetrics:
    """Counts settlement in one process. Several processes look at one store: its gauges are the same in all."""

    def __init__(self, registry: CollectorRegistry) -> None:
        state, reason, code, provider = Vocabulary(STATES, more=0), Vocabulary(REASONS), Vocabulary(), Vocabulary()

        def series(family: Family[Any], labels: Any, known: tuple[Labels, ...] = ()) -> Series[Any]:
            return Series(family, registry, labels, known)

        self._changes = series(families.SETTLEMENT_CHANGES, lambda now, why: (state(now), reason(why)))
        self._rejected = series(families.SETTLEMENT_REJECTED, lambda value: (code(value),))
        self._entries = series(
            families.SETTLEMENT_ENTRIES, lambda name: (state(name),), tuple((name,) for name in STATES)
        )
        self._paused = series(families.SETTLEMENT_PAUSED, lambda provider_id: (provider(str(provider_id)),))
        self._attempts = families.SETTLEMENT_ATTEMPTS.register(registry)
        self._duration = families.SETTLEMENT_DURATION.register(registry)
        self._oldest = families.SETTLEMENT_OLDEST.register(registry)
        self._queued = families.SETTLEMENT_QUEUED.register(registry)
        self._store_errors = families.SETTLEMENT_STORE_ERRORS.register(registry)
        self._store_failing = families.SETTLEMENT_STORE_FAILING.register(registry)
        self._not_written = families.SETTLEMENT_NOT_WRITTEN.register(registry)
        self._off = families.SETTLEMENT_OFF.register(registry)
        self._was_paused: frozenset[int] = frozenset()
        self.listeners: dict[type, Callable[[Any], None]] = {
            SettlementChanged: self.changed,
            SettlementNotWritten: self.not_written,
            SettlementOff: self.off,
            SettlementSampled: self.sampled,
            SettlementStore: self.store,
            SettlementStoreFailed: self.store_failed,
        }

    def changed(self, event: SettlementChanged) -> None:
        """Count an entry that came into a state."""
        self._changes[event.state, event.reason].inc()
        if event.state == "REJECTED":
            self._rejected[NO_CODE if event.wallet_code is None else str(event.wallet_code),].inc()
        elif event.state == "SETTLED":
            self._attempts.observe(event.attempts)
            self._duration.observe(event.duration_s)

    def not_written(self, _event: SettlementNotWritten) -> None:
        """Count a call that could not be written down."""
        self._not_written.inc()

    def off(self, _event: SettlementOff) -> None:
        """Show that settlement is switched off."""
        self._off.set(1)

    def sampled(self, event: SettlementSampled) -> None:
        """Show what the store holds."""
        for name, count in event.entries.items():
            self._entries[name,].set(count)
        self._oldest.set(event.oldest_pending_s)
        self._queued.set(event.queued)
        paused = frozenset(event.paused)
        for provider_id in paused | self._was_paused:
            self._paused[provider_id,].set(provider_id in paused)
        self._was_paused = paused

    def store(self, event: SettlementStore) -> None:
        """Show whether the store works."""
        self._store_failing.set(event.is_failing)

    def store_failed(self, _event: SettlementStoreFailed) -> None:
        """Count a request to the store that failed."""
        self._store_errors.inc()
