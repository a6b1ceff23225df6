"""Test of settlement's store and key before they are relied on: for `serve --check`, and what a start warns of."""

import asyncio

from bridge.settings.model import Settings, SettingsError


def settlement_warning(settings: Settings) -> str:
    """Return what is risky about settlement with these settings, in one line; "" for nothing."""
    if settings.settlement is None:
        return ""
    from bridge.settlement.from_settings import warning  # noqa: PLC0415 - off costs nothing

    return warning(settings)


def settlement_warnings(settings: Settings) -> tuple[str, ...]:
    """Test reach, write, persistence and key; return what is risky, in lines. Raise SettingsError for what is wrong."""
    if settings.settlement is None:
        return ()
    from bridge.settlement.from_settings import examined  # noqa: PLC0415 - likewise

    report = asyncio.run(examined(settings.settlement))
    if report.problem:
        raise SettingsError(report.problem)
    return (settlement_warning(settings), *report.warnings)
