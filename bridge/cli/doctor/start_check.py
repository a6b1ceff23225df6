"""Refusals and warnings of a start with these settings: one list for `serve`, `serve --check` and `bridge doctor`.

What depends on the moment is left to each of them: `serve` opens the ports and the settlement store, and the other two
test whether it could.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.cli.doctor.finding import Finding, Level
from bridge.cli.exit_codes import CANNOT_START
from bridge.cli.fingerprint import warning as fingerprint_warning
from bridge.server.handlers import SERVICES, routes
from bridge.settings.certificate_dates import AUTHORITIES, CERTIFICATES, WARN_DAYS
from bridge.settings.messages import settings_of
from bridge.settings.model import Settings, SettingsError
from bridge.settings.reload import files_of
from bridge.settings.secrets import is_placeholder, looks_like_path
from bridge.settings.types import Section
from bridge.upstream.from_settings import tls_context


@dataclass(frozen=True, slots=True)
class StartReport:
    """Findings, by the side that they concern."""

    refused: tuple[Finding, ...]
    """Why `serve` does not start."""
    warnings: tuple[Finding, ...]
    """Findings that work and need a look, or will soon not work."""
    files: tuple[Finding, ...]
    """Until when the certificates in use are valid. `serve` logs it with each file that comes into use."""

    def raise_refused(self) -> None:
        """Raise SettingsError, one line for each refusal, where there is one."""
        if self.refused:
            raise SettingsError("\n".join(finding.text for finding in self.refused))


def examine(settings: Settings, now: datetime | None = None, warn_days: int = WARN_DAYS) -> StartReport:
    """Return what keeps these settings from serving, now or within so many days. Nothing is left behind."""
    moment = datetime.now(UTC) if now is None else now
    refused = (finding for check, test in REFUSALS for finding in _refusals(check, test, settings))
    files, chains = _certificates(settings, moment, warn_days)
    return StartReport(tuple(refused), (*_warnings(settings), *chains), files)


# --- refusals ---------------------------------------------------------------------------------------------------


def _refusals(check: str, test: Callable[[Settings], None], settings: Settings) -> Iterator[Finding]:
    try:
        test(settings)
    except CANNOT_START as error:
        yield from (Finding(Level.FAIL, check, line) for line in str(error).splitlines())


def _contract(settings: Settings) -> None:
    for service in SERVICES:
        routes(service, settings)


def _wallet_tls(settings: Settings) -> None:
    tls_context(settings.wallet)


def _reflection(settings: Settings) -> None:
    if settings.server.engine == "native" and settings.server.reflection:
        from bridge.server.native.fallback import socket_folder  # noqa: PLC0415 - an extra

        socket_folder().cleanup()


def _tracing(settings: Settings) -> None:
    if settings.telemetry.tracing:
        from bridge.telemetry.tracing import Tracing  # noqa: PLC0415 - an extra, which need not be installed

        asyncio.run(Tracing.from_environment(settings.wallet.url).aclose())


def _settlement(settings: Settings) -> None:
    if settings.settlement is not None:
        from bridge.settlement.from_settings import keys_of, store_of  # noqa: PLC0415 - off costs nothing

        keys_of(settings.settlement)
        asyncio.run(store_of(settings.settlement).close())


REFUSALS: tuple[tuple[str, Callable[[Settings], None]], ...] = (
    ("settings", _contract),
    ("settings", _wallet_tls),
    ("settings", _reflection),
    ("settings", _tracing),
    ("settlement", _settlement),
)
"""Name of a check and its test, which raises one of CANNOT_START. What the models can refuse, `load` has refused."""


# --- warnings ---------------------------------------------------------------------------------------------------


def _warnings(settings: Settings) -> Iterator[Finding]:
    if text := fingerprint_warning(settings):
        yield Finding(Level.WARN, "settings", text)
    if settings.settlement is not None:
        from bridge.settlement.from_settings import warning  # noqa: PLC0415 - off costs nothing

        if text := warning(settings):
            yield Finding(Level.WARN, "settlement", text)
    for key, secret, has_file in _secrets(settings):
        if text := _secret_warning(key, secret, has_file=has_file):
            yield Finding(Level.WARN, "credentials", f"{key}: {text}")


def _secrets(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    """Yield each secret with the setting that gives it, and whether a file of its own holds it."""
    tables: dict[str, Section] = {f"wallet.providers.{id_}": each for id_, each in settings.wallet.providers.items()}
    for place, table in (tables | {"telemetry": settings.telemetry}).items():
        for name, setting in settings_of(type(table)).items():
            if setting.is_secret and (secret := getattr(table, name)) is not None:
                yield f"{place}.{name}", secret.get_secret_value(), getattr(table, f"{name}_file") is not None


def _secret_warning(key: str, secret: str, *, has_file: bool) -> str:
    file_name = f"{key.rpartition('.')[2]}_file"
    if looks_like_path(secret):
        return f"{file_name} holds a path, which is not followed" if has_file else f"is a path: is it for {file_name}?"
    return "is a placeholder that nothing has filled in" if is_placeholder(secret) else ""


def _certificates(settings: Settings, now: datetime, warn_days: int) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return what is found for the certificates in use, and for those that stand behind them in their chains."""
    files = files_of(("server",), settings.server) | files_of(("wallet",), settings.wallet)
    own = {key: path for key, path in files.items() if key in {*CERTIFICATES, *AUTHORITIES}}
    if not own:
        return (), ()
    # With it come 10 MB that a bridge without such files can do without.
    from bridge.cli.doctor.certificate_files import chain_findings, date_findings  # noqa: PLC0415 - see above

    return tuple(date_findings(own, now, warn_days)), tuple(chain_findings(own, now, warn_days))
