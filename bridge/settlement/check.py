"""Test of store and key file before they are relied on: for `serve --check`, `bridge doctor` and the start."""

from dataclasses import dataclass

from bridge.settlement.sealing import KeyFinding, Keys
from bridge.settlement.store import Store

REFUSED = frozenset({KeyFinding.WRONG, KeyFinding.OLD_MISSING})


@dataclass(frozen=True, slots=True)
class StoreReport:
    """Result of a check, as lines for people without a secret."""

    problem: str
    """Why settlement cannot work with this store and these keys; "" where it can."""
    warnings: tuple[str, ...]
    finding: KeyFinding
    """Fit of the key file with the store. NEW: a bridge that serves writes its key check (`Store.set_key_check`)."""


async def check_store(store: Store, keys: Keys) -> StoreReport:
    """Test reach, write, persistence and key, and write nothing that stays; raise StoreError."""
    checked = await store.check()
    finding = keys.finding(checked.key_use)
    warnings = tuple(f"settlement store {store.name} {warning.value}" for warning in checked.warnings)
    return StoreReport(finding.value if finding in REFUSED else "", warnings, finding)
