"""The doctor's checks of settlement: whether the store can be reached and written, lasts, and fits the key file."""

from collections.abc import AsyncIterator

from bridge.cli.doctor.finding import Finding, Level
from bridge.settings.model import Settings, SettingsError

CHECK = "settlement"


async def settlement_findings(settings: Settings) -> AsyncIterator[Finding]:
    """Yield what a test of the store finds; nothing where settlement is off. The test leaves nothing behind.

    What is wrong or risky with the settings themselves is not its business (start_check.py).
    """
    if settings.settlement is None:
        return
    from bridge.settlement.from_settings import examined  # noqa: PLC0415 - off costs nothing

    try:
        report = await examined(settings.settlement)
    except SettingsError as error:
        yield Finding(Level.FAIL, CHECK, str(error))
        return
    if report.problem:
        yield Finding(Level.FAIL, CHECK, report.problem)
        return
    for text in report.warnings:
        yield Finding(Level.WARN, CHECK, text)
    if not report.warnings:
        yield Finding(Level.OK, CHECK, f"{settings.settlement.store} can be reached and written, and fits the key file")
