"""The wallet: checks a request, finds its test token, decides the answer. Pure: no I/O and no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.sandbox.answers import Plan, Reply, Silence, envelope, status_of
from bridge.sandbox.checks import Refusal, authenticate, check_signature, find_operation, read_fields
from bridge.sandbox.operations import Operation
from bridge.sandbox.providers import Provider
from bridge.sandbox.recipes import Call, succeed
from bridge.sandbox.record import Request
from bridge.sandbox.tokens import find_row

ANSWER_BYTES_MAX = 2_000
"""Bytes that are remembered of an answer's body."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request and what the sandbox decided. Its repr shows no credential, signature, token or body."""

    request: Request
    token: str | None = field(default=None, repr=False)
    """The session token of a request that passed every check; None for one that was refused."""
    test_token: str = ""
    """The row of the table of test tokens that decided the answer; "" where none did."""
    authorised: bool = False
    """Credentials, signature and provider_id belong together."""
    status: int | None = None
    """The HTTP status of the answer; None for one that never comes."""
    answer: bytes = field(default=b"", repr=False)
    """The first ANSWER_BYTES_MAX bytes of the answer's body."""
    refusal: str = ""
    """Why a check refused the request; "" for one that passed every check."""


class Wallet:
    """Decides every answer. It keeps no state: a token can be terminated as often as one likes.

    ValueError when two providers have one id.
    """

    def __init__(self, providers: Iterable[Provider], operations: Mapping[str, Operation]) -> None:
        self.providers: dict[bytes, Provider] = {}
        """By the user of HTTP Basic: the decimal text of the provider_id."""
        self.operations = operations
        for provider in providers:
            user = str(provider.provider_id).encode()
            if user in self.providers:
                raise ValueError(f"provider {provider.provider_id} is given twice")
            self.providers[user] = provider

    def decide(self, request: Request) -> tuple[Received, Plan]:
        """Return the record of a request and how it is to be answered."""
        try:
            call = self._admit(request)
        except Refusal as no:
            return _received(request, Reply(no.answer), authorised=no.is_authorised, refusal=str(no)), Reply(no.answer)
        row = find_row(call.token)
        plan = row.plan(call) if row else succeed(call)
        name = row.token if row else ""
        return _received(request, plan, token=call.token, test_token=name, authorised=True), plan

    def _admit(self, request: Request) -> Call:
        operation = find_operation(request, self.operations)
        provider = authenticate(request, self.providers)
        check_signature(request, provider)
        fields = read_fields(request, operation, provider)
        members = {**envelope(status=True, code=1, message=""), **operation.success(fields)}
        return Call(str(fields.get("token", "")), members)


def _received(request: Request, plan: Plan, **decided: Any) -> Received:
    answer = b"" if isinstance(plan, Silence) else plan.answer.body[:ANSWER_BYTES_MAX]
    return Received(request, status=status_of(plan), answer=answer, **decided)
