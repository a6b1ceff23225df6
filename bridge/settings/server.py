"""The section [server]: where calls come in, who may call, how much is taken on, and how the bridge leaves."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from bridge.address import LISTEN, split_listen
from bridge.settings.tls_files import CertificatesFile, check_for_grpc, check_key_pair
from bridge.settings.types import (
    Count,
    Identities,
    Listen,
    ListenOrNone,
    Seconds,
    Section,
    earlier,
    refused,
)

IDENTITIES = (
    "a list of at least one DNS name or URI as client certificates have them; "
    '"*" only as the last segment of a spiffe:// URI'
)

CONNECTION_AGE_S = 300.0

NATIVE = "native"
NATIVE_PACKAGE = "pygrpc_native"
NOT_TRUSTED = (
    'must be true with engine = "native", which inflates a compressed message before it knows its size: set it where '
    'all callers are trusted, or a proxy refuses compressed requests (docs/operations.md, "Engines"); or use "grpcio"'
)


def _default_age_s(earlier_settings: dict[str, Any]) -> float:
    return 0.0 if earlier_settings.get("engine") == NATIVE else CONNECTION_AGE_S


class Server(Section):
    """Where calls come in, and how the bridge leaves."""

    # Before the settings that only one of the engines has.
    engine: Literal["grpcio", "native"] = Field(default="grpcio", description='"grpcio" or "native"')
    native_trusts_callers: bool = Field(default=False, validate_default=True, description="true or false")
    """The operator's word that callers, or a proxy before the bridge, keep the limits that the native engine cannot."""
    listen: Listen = Field(default=LISTEN, description=f'host:port, like "{LISTEN}" or "[::1]:50051", port 0 to 65535')
    workers: Count = Field(default=1, ge=1, le=64, description="a whole number from 1 to 64")
    scheduling: Literal["batch", "other"] = Field(default="batch", description='"batch" or "other"')
    """The policy of all threads, sched(7): see process/scheduling.py."""
    tls_certificate_file: CertificatesFile | None = Field(
        default=None, description="the path of a PEM certificate with its chain"
    )
    tls_key_file: Path | None = Field(default=None, description="the path of the certificate's PEM key")
    tls_client_ca_file: CertificatesFile | None = Field(
        default=None, description="the path of a file with at least one PEM certificate"
    )
    allowed_identities: Identities = Field(default=None, description=IDENTITIES)
    """None: every client that the TLS settings let in."""
    health_listen: ListenOrNone = Field(
        default="", description='host:port, like "127.0.0.1:50052", or "" for no listener of its own'
    )
    connection_age_s: Seconds = Field(
        default_factory=_default_age_s,
        ge=0,
        le=86400,
        description="seconds, 0 to 86400, where 0 is without limit",
    )
    """By default 300; 0 with the native engine, which refuses anything else."""
    max_in_flight: Count = Field(default=1000, ge=1, le=100_000, description="a whole number from 1 to 100000")
    max_in_flight_per_provider: Count | None = Field(
        default=None, ge=1, le=100_000, description="a whole number from 1 to server.max_in_flight"
    )
    """None until `load` has counted the providers: half of max_in_flight where there are several, else all of it."""
    max_queued: Count = Field(default=100, ge=0, le=100_000, description="a whole number from 0 to 100000")
    reflection: bool = Field(default=True, description="true or false")
    drain_s: Seconds = Field(default=5.0, ge=0, le=600, description="seconds, 0 to 600")

    def shared_by(self, providers: int) -> "Server":
        """Return these settings for so many providers, with each one's share of the places where it was not given."""
        if self.max_in_flight_per_provider is not None:
            return self
        share = self.max_in_flight if providers == 1 else max(1, self.max_in_flight // 2)
        return self.model_copy(update={"max_in_flight_per_provider": share})

    @property
    def host(self) -> str:
        """The host to listen on, an IPv6 address without brackets."""
        return split_listen(self.listen)[0]

    @property
    def port(self) -> int:
        """The port to listen on; 0 lets the system choose."""
        return split_listen(self.listen)[1]

    @field_validator("engine")
    @classmethod
    def _is_installed(cls, engine: str) -> str:
        if engine == NATIVE and find_spec(NATIVE_PACKAGE) is None:
            raise refused("\"native\" is an extra that is not installed: pip install 'wallet-bridge[native]'")
        return engine

    @field_validator("native_trusts_callers")
    @classmethod
    def _engine_is_safe(cls, trusts: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if not trusts and earlier(info, "engine") == NATIVE:
            raise refused(NOT_TRUSTED)
        return trusts

    @field_validator("tls_certificate_file", mode="before")
    @classmethod
    def _engine_has_tls(cls, certificate_file: object, info: ValidationInfo) -> object:
        if certificate_file is not None and earlier(info, "engine") == NATIVE:
            raise refused('cannot be set with engine = "native", which has no TLS; leave it out, or use "grpcio"')
        return certificate_file

    @field_validator("tls_certificate_file")
    @classmethod
    def _grpc_has_its_kind(cls, certificate_file: Path | None) -> Path | None:
        return check_for_grpc(certificate_file)

    @field_validator("connection_age_s")
    @classmethod
    def _engine_has_age(cls, age_s: float, info: ValidationInfo) -> float:
        if age_s and earlier(info, "engine") == NATIVE:
            raise refused('must be 0 or left out with engine = "native", which cannot close connections by age')
        return age_s

    @field_validator("tls_key_file")
    @classmethod
    def _is_a_pair(cls, key_file: Path | None, info: ValidationInfo) -> Path | None:
        return check_key_pair(key_file, info, "tls_certificate_file")

    @field_validator("tls_client_ca_file")
    @classmethod
    def _has_a_certificate(cls, ca_file: Path | None, info: ValidationInfo) -> Path | None:
        if ca_file is not None and earlier(info, "tls_certificate_file") is None:
            raise refused("needs tls_certificate_file and tls_key_file too: only TLS asks clients for certificates")
        return ca_file

    @field_validator("allowed_identities")
    @classmethod
    def _has_a_ca(cls, identities: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if identities is not None and earlier(info, "tls_client_ca_file") is None:
            raise refused("needs tls_client_ca_file too: it says whose certificates prove an identity")
        return identities

    @field_validator("max_in_flight_per_provider")
    @classmethod
    def _is_a_share(cls, share: int | None, info: ValidationInfo) -> int | None:
        if share is not None and share > earlier(info, "max_in_flight"):
            raise refused("must be a whole number from 1 to server.max_in_flight")
        return share

    @field_validator("health_listen")
    @classmethod
    def _is_another_port(cls, health_listen: str, info: ValidationInfo) -> str:
        # The system would not always say so: several workers may share a port, and then calls would go astray.
        if health_listen and split_listen(health_listen)[1] == split_listen(earlier(info, "listen"))[1] != 0:
            raise refused("must be another port than that of server.listen")
        return health_listen
