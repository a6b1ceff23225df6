"""Settings of the bridge: what there is, how it is loaded and shown. Source: docs/design/contract.md, "Settings".

    [server]                   where calls come in
    [wallet]                   where they go, and how long they may take
    [wallet.providers.12345]   whose credentials sign them: keys, or files that hold keys
    [wallet.codes.7]           what the operator knows about one of the wallet's codes
    [settlement]               where requests of unknown outcome are kept; without it they are not
    [telemetry]                what an operator sees

Environment variables (BRIDGE_WALLET__URL) override the TOML file, key by key. A relative path in the file counts from
the file's folder, one in the environment from the working directory. A key that does not exist is refused. Secrets are
SecretStr from the moment they are read: no error, repr or `describe` shows them.

A field's description follows "must be" in its error.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from bridge.address import METRICS_LISTEN, share_a_port
from bridge.deadline import DeadlineLimits
from bridge.outcome import GrpcCode
from bridge.settings.messages import MISSING, Key, describe, error_lines, settings_of
from bridge.settings.secrets import ABSENT, check_shape, needed_secret, optional_secret
from bridge.settings.server import Server
from bridge.settings.settlement import Settlement
from bridge.settings.sources import Source, UnreadableFile, environment_source, toml_source
from bridge.settings.tls_files import CertificatesFile, check_key_pair
from bridge.settings.types import (
    CodeNumber,
    Count,
    GrpcCodeName,
    ListenOrNone,
    ProviderId,
    Reason,
    Seconds,
    Section,
    WalletUrl,
    refused,
)
from bridge.start_error import StartError

__all__ = [
    "CodeSetting",
    "ProviderSetting",
    "Server",
    "Settings",
    "SettingsError",
    "Settlement",
    "Telemetry",
    "Wallet",
    "describe",
    "load",
]

CODE_UNKNOWN_ERROR = 2


class SettingsError(StartError):
    """The bridge cannot start with these settings. The text is one line for each wrong key; it holds no secret."""


class ProviderSetting(Section):
    """One provider's credentials. The keys are there whether they were given directly or in a file."""

    # The files come first: a key is checked together with the file that may hold it.
    access_key_file: Path | None = Field(default=None, description="the path of a file that holds the access key")
    access_key: SecretStr = Field(default=ABSENT, description="printable ASCII without white space at its ends")
    private_key_file: Path | None = Field(default=None, description="the path of a file that holds the private key")
    private_key: SecretStr = Field(default=ABSENT, description="the text of a UUID, 36 characters with dashes")

    @field_validator("access_key", "private_key", mode="before")
    @classmethod
    def _find(cls, given: object, info: ValidationInfo) -> object:
        return needed_secret(given, info)

    @field_validator("access_key", "private_key")
    @classmethod
    def _has_shape(cls, secret: SecretStr, info: ValidationInfo) -> SecretStr:
        return check_shape(secret, info, str(cls.model_fields[str(info.field_name)].description))


class CodeSetting(Section):
    """Meaning of one of the wallet's codes: success alone, or a gRPC code with a reason."""

    grpc: GrpcCodeName | None = Field(default=None, description='the name of a gRPC code, like "NOT_FOUND", but not OK')
    reason: Reason | None = Field(
        default=None, description='A to Z, 0 to 9 and _, at most 63, a letter first, like "TOKEN_NOT_FOUND"'
    )
    success: bool = Field(default=False, description="true or false")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        parts = (self.success, self.grpc is not None, self.reason is not None)
        if parts not in {(True, False, False), (False, True, True)}:
            raise refused("must have either success = true alone, or both grpc and reason")
        return self


Providers = Annotated[
    Mapping[ProviderId, ProviderSetting], Field(min_length=1), AfterValidator(MappingProxyType), PlainSerializer(dict)
]
Codes = Annotated[Mapping[CodeNumber, CodeSetting], AfterValidator(MappingProxyType), PlainSerializer(dict)]


class Wallet(Section):
    """Where calls go, whose credentials sign them, how long they may take and what the wallet's codes mean."""

    # Before `url`, which is checked together with it; likewise the two deadlines.
    allow_plaintext: bool = Field(default=False, description="true or false")
    url: WalletUrl = Field(description="the wallet's address, like https://wallet.example")
    ca_file: CertificatesFile | None = Field(
        default=None, description="the path of a file with at least one PEM certificate"
    )
    client_certificate_file: CertificatesFile | None = Field(
        default=None, description="the path of a PEM certificate with its chain"
    )
    client_key_file: Path | None = Field(default=None, description="the path of the certificate's PEM key")
    connections_max: Count = Field(default=10, ge=1, le=1000, description="a whole number from 1 to 1000")
    connect_timeout_s: Seconds = Field(default=1.0, gt=0, le=30, description="seconds, more than 0, at most 30")
    deadline_default_s: Seconds = Field(default=5.0, ge=0.1, le=300, description="seconds, 0.1 to 300")
    deadline_max_s: Seconds = Field(default=30.0, ge=0.1, le=300, description="seconds, 0.1 to 300")
    retry_unknown: bool = Field(default=False, description="true or false")
    providers: Providers = Field(description="credentials of at least one provider, [wallet.providers.<id>]")
    codes: Codes = Field(default={}, description="a table")

    @property
    def deadlines(self) -> DeadlineLimits:
        """Deadlines of calls."""
        return DeadlineLimits(default_s=self.deadline_default_s, max_s=self.deadline_max_s)

    @field_validator("url")
    @classmethod
    def _is_private(cls, url: str, info: ValidationInfo) -> str:
        if url.startswith("http:") and not info.data.get("allow_plaintext", True):
            raise refused("must be https:// unless wallet.allow_plaintext = true")
        return url

    @field_validator("client_key_file")
    @classmethod
    def _is_a_pair(cls, key_file: Path | None, info: ValidationInfo) -> Path | None:
        return check_key_pair(key_file, info, "client_certificate_file")

    @field_validator("deadline_max_s")
    @classmethod
    def _is_highest(cls, max_s: float, info: ValidationInfo) -> float:
        if max_s < info.data.get("deadline_default_s", 0):
            raise refused("must be at least wallet.deadline_default_s")
        return max_s

    @field_validator("codes")
    @classmethod
    def _unknown_error_stays_unknown(cls, codes: Mapping[int, CodeSetting]) -> Mapping[int, CodeSetting]:
        rule = codes.get(CODE_UNKNOWN_ERROR)
        if rule is not None and rule.success:
            raise _refused_at(("2", "success"), "must be false: code 2 is an unknown error, never a success")
        if rule is not None and rule.grpc is GrpcCode.UNAVAILABLE:
            raise _refused_at(("2", "grpc"), "must be another code: UNAVAILABLE means safe to repeat, code 2 is not")
        return codes


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Telemetry(Section):
    """Logs, metrics and traces."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description='"debug", "info", "warning" or "error"'
    )
    log_format: Literal["json", "console"] = Field(default="json", description='"json" or "console"')
    metrics_listen: ListenOrNone = Field(
        default=METRICS_LISTEN, description=f'host:port, like "{METRICS_LISTEN}", or "" for no metrics'
    )
    tracing: bool = Field(default=False, description="true or false")
    fingerprint_key_file: Path | None = Field(
        default=None, description="the path of a file that holds the fingerprint key"
    )
    fingerprint_key: SecretStr | None = Field(
        default=None, description="at least 16 printable ASCII characters without white space at their ends"
    )

    @field_validator("fingerprint_key", mode="before")
    @classmethod
    def _find(cls, given: object, info: ValidationInfo) -> object:
        return optional_secret(given, info)

    @field_validator("fingerprint_key")
    @classmethod
    def _has_shape(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        # Not by its truth: an empty secret is false.
        if secret is None:
            return None
        return check_shape(secret, info, str(cls.model_fields["fingerprint_key"].description))


class Settings(Section):
    """Everything that can be set, checked. Made by `load`."""

    server: Server
    wallet: Wallet
    settlement: Settlement | None = None
    telemetry: Telemetry

    @field_validator("settlement")
    @classmethod
    def _has_a_ca(cls, settlement: Settlement | None, info: ValidationInfo) -> Settlement | None:
        if settlement is None or settlement.allowed_identities is None or "server" not in info.data:
            return settlement
        if info.data["server"].tls_client_ca_file is None:
            raise _refused_at(("allowed_identities",), "needs server.tls_client_ca_file too: it proves identities")
        return settlement

    @field_validator("telemetry")
    @classmethod
    def _has_a_port_of_its_own(cls, telemetry: Telemetry, info: ValidationInfo) -> Telemetry:
        server = info.data.get("server")
        for name in ("listen", "health_listen") if server is not None else ():
            if share_a_port(telemetry.metrics_listen, getattr(server, name)):
                raise _refused_at(("metrics_listen",), f"must be another port than that of server.{name}")
        return telemetry

    def __init__(self, *trees: Mapping[str, Any]) -> None:
        """Take the settings of these trees, the strongest first; raise ValidationError."""
        # An absent section still has its defaults, or keys that it lacks.
        sections: dict[str, Any] = {
            name: {} for name, section in type(self).model_fields.items() if section.is_required()
        }
        super().__init__(**_merged(sections, *reversed(trees)))


NO_FILE = (
    "no --config FILE is given, so that only variables like BRIDGE_WALLET__URL count, and of these some are missing"
)

KNOWN = settings_of(Settings)
"""Every setting there is."""


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a TOML file (None: there is none) and the environment; raise SettingsError."""
    environment = environment_source(environ, KNOWN)
    try:
        file = Source({}) if path is None else toml_source(path, KNOWN)
        problems = (*file.problems, *environment.problems)
        settings = Settings(environment.tree, file.tree)
    except UnreadableFile as error:
        problems = (*environment.problems, str(error))
    except ValidationError as error:
        problems = (*problems, *error_lines(error, KNOWN, environment.variables, file.no_tables))
    else:
        if not problems:
            server = settings.server.shared_by(len(settings.wallet.providers))
            return settings.model_copy(update={"server": server})
    if path is None and any(MISSING in line for line in problems):
        problems = (NO_FILE, *problems)
    # Raised out here, so that no exception hangs on it that knows the values.
    raise SettingsError("\n".join(problems))


def _merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Return one tree of these: a later one overrides an earlier one, key by key."""
    merged: dict[str, Any] = {}
    for tree in trees:
        for name, value in tree.items():
            weaker = merged.get(name)
            if isinstance(value, Mapping) and isinstance(weaker, Mapping):
                merged[name] = _merged(weaker, value)
            else:
                merged[name] = value
    return merged


def _refused_at(place: Key, text: str) -> ValidationError:
    detail = InitErrorDetails(type=refused(text), loc=place, input=None)
    return ValidationError.from_exception_data("settings", [detail])
