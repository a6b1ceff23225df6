"""The doctor's checks without a network: settings, credentials, certificate files."""

import stat
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from bridge.cli.doctor.finding import Finding, Level
from bridge.cli.doctor.start_check import examine
from bridge.sandbox import SAMPLE_PROVIDERS
from bridge.settings.messages import Key, one_line, settings_of, variable_name
from bridge.settings.model import ProviderSetting, Settings
from bridge.settings.reload import files_of
from bridge.settings.settlement import StoreUrl
from bridge.settings.types import Section

EXPIRY_WARN_DAYS = 30

SAMPLES = {
    "access_key": frozenset(provider.access_key for provider in SAMPLE_PROVIDERS),
    "private_key": frozenset(provider.private_key for provider in SAMPLE_PROVIDERS),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of the checks, and the time."""

    settings: Settings
    operation_paths: tuple[str, ...]
    """The REST paths that are posted to: nothing else may ever be sent there."""
    config: Path | None
    environ: Mapping[str, str]
    now: datetime

    @property
    def base_path(self) -> str:
        """The path of wallet.url; "" where it has none."""
        return urlsplit(self.settings.wallet.url).path

    @property
    def sections(self) -> Iterator[tuple[Key, Section]]:
        """Every table of settings, with its place."""
        yield ("server",), self.settings.server
        yield ("wallet",), self.settings.wallet
        for provider_id, provider in self.settings.wallet.providers.items():
            yield ("wallet", "providers", str(provider_id)), provider
        if self.settings.settlement is not None:
            yield ("settlement",), self.settings.settlement
        yield ("telemetry",), self.settings.telemetry

    @property
    def files(self) -> dict[str, Path]:
        """Every file that the settings name, by its key."""
        return {name: path for key, section in self.sections for name, path in files_of(key, section).items()}


def local_findings(subject: Subject) -> Iterator[Finding]:
    """Yield what settings, credentials and files show."""
    yield Finding(Level.OK, "settings", f"wallet.url = {subject.settings.wallet.url}")
    yield from _wallet_url(subject)
    report = examine(subject.settings, subject.now, EXPIRY_WARN_DAYS)
    found = (*report.refused, *report.files, *report.warnings)
    yield from (finding for finding in found if finding.check in {"settings", "settlement"})
    about_secrets = (finding for finding in found if finding.check == "credentials")
    credentials = [*_samples(subject), *_shared(subject), *_readable(subject), *about_secrets]
    providers = _listed(subject.settings.wallet.providers)
    yield from credentials or [Finding(Level.OK, "credentials", f"{providers}: the keys have the right shape")]
    no_files = Finding(Level.OK, "files", "no certificate files are set: the system's authorities are trusted")
    yield from [finding for finding in found if finding.check == "files"] or [no_files]


def _wallet_url(subject: Subject) -> Iterator[Finding]:
    if subject.settings.wallet.url.startswith("http:"):
        text = "wallet.url is http://: credentials and tokens go out unencrypted; only a test may do so"
        yield Finding(Level.WARN, "settings", text)
    base = subject.base_path
    for path in subject.operation_paths:
        if base.endswith(path):
            text = f"wallet.url ends with {path}, which the bridge adds by itself: leave it out"
            yield Finding(Level.FAIL, "settings", text)
        elif base and path.startswith(f"{base}/"):
            text = f"calls go to {base}{path}: if {base} is there once too often, leave it out of wallet.url"
            yield Finding(Level.WARN, "settings", text)


# --- credentials ------------------------------------------------------------------------------------------------


def _samples(subject: Subject) -> Iterator[Finding]:
    for provider_id, provider in subject.settings.wallet.providers.items():
        for name, secret in _secrets(provider).items():
            if secret.lower() in SAMPLES[name]:
                text = f"provider {provider_id}: {name} is the wallet page's published sample: put in your own"
                yield Finding(Level.WARN, "credentials", text)


def _shared(subject: Subject) -> Iterator[Finding]:
    owners: dict[tuple[str, str], list[int]] = defaultdict(list)
    for provider_id, provider in subject.settings.wallet.providers.items():
        for name, secret in _secrets(provider).items():
            owners[name, secret].append(provider_id)
    for (name, _), provider_ids in owners.items():
        if len(provider_ids) > 1:
            text = f"{_listed(provider_ids)} have the same {name}: every provider is given keys of its own"
            yield Finding(Level.WARN, "credentials", text)


def _readable(subject: Subject) -> Iterator[Finding]:
    files = {name: path for name, path in subject.files.items() if name.endswith("key_file")}
    if subject.config and any(_is_inline(key, section, subject.environ) for key, section in subject.sections):
        files["the configuration has keys in it"] = subject.config
    for name, path in files.items():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & stat.S_IROTH:
            text = f"{name}: everybody here can read {one_line(str(path))} (mode {mode:03o}): chmod o-r"
            yield Finding(Level.WARN, "credentials", text)


def _is_inline(key: Key, section: Section, environ: Mapping[str, str]) -> bool:
    """Say whether a secret of a section came neither from a file of its own nor from the environment."""
    return any(
        _is_secret(getattr(section, name))
        and getattr(section, f"{name}_file", None) is None
        and variable_name((*key, name)) not in environ
        for name, setting in settings_of(type(section)).items()
        if setting.is_secret
    )


def _is_secret(value: object) -> bool:
    return value.has_password if isinstance(value, StoreUrl) else value is not None


def _secrets(provider: ProviderSetting) -> dict[str, str]:
    secrets = {"access_key": provider.access_key, "private_key": provider.private_key}
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


def _listed(provider_ids: Collection[int]) -> str:
    return f"provider{'s' * (len(provider_ids) > 1)} {', '.join(map(str, sorted(provider_ids)))}"
