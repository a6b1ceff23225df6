"""One attempt at an entry: the stored request, decrypted, checked, signed and sent once.

The operation is compiled as for calls, but the attempt has no retries and no share in callers' retry budget: what comes
next is the settler's to decide. While a provider's keys are rotated, what the wallet refused for one key version is
sent with the other within the same deadline, as for calls.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from google.protobuf.message import Message

from bridge.deadline import Deadline
from bridge.errors import (
    ProviderNotConfigured,
    WalletAuthRejected,
    WalletEchoMismatch,
    WalletEndpoint,
    WalletRejected,
    WalletUnreachable,
)
from bridge.outcome import BridgeError, GrpcCode
from bridge.settlement.entry import Entry
from bridge.settlement.sealing import Keys
from bridge.transcoding.operation import Operation
from bridge.transcoding.verdict import Answer, Verdict
from bridge.upstream.client import Post, WalletClient
from bridge.upstream.signing import Keyring

DEADLINE_S = 10.0

PAUSING = (WalletAuthRejected, WalletEndpoint, WalletUnreachable, ProviderNotConfigured)
"""Causes that an operator must fix, for all entries of the provider alike."""


class Steps(Protocol):
    """The steps of one operation, compiled (service.py has them)."""

    @property
    def operation(self) -> Operation:
        """The operation itself."""

    @property
    def parse(self) -> Callable[[bytes | None], Message]:
        """Reads a serialized request."""

    @property
    def validate(self) -> Callable[[Message], None]:
        """Raises InvalidRequest for one that cannot be sent."""

    @property
    def encode(self) -> Callable[[Message], bytes]:
        """Makes the body."""

    @property
    def classify(self) -> Callable[[Message, Answer], Verdict]:
        """Says what the answer to a request means."""


class Attempt:
    """Sends entries. `wallet` must be made with NoRetries."""

    def __init__(self, operations: Mapping[str, Steps], keys: Keys, keyring: Keyring, wallet: WalletClient) -> None:
        self._operations = operations
        self.keys = keys
        self._keyring = keyring
        self._wallet = wallet

    @property
    def operations(self) -> frozenset[str]:
        """The full names of the operations that can be sent."""
        return frozenset(self._operations)

    async def __call__(self, entry: Entry) -> Verdict:
        """Send an entry once, within DEADLINE_S; raise the BridgeError that its end means, or SealError."""
        if entry.provider_id not in self._keyring:
            raise ProviderNotConfigured
        steps = self._operations[entry.operation]
        request = steps.parse(self.keys.open(entry))
        steps.validate(request)
        post = Post(steps.operation, steps.encode(request), self._keyring.key_versions(entry.provider_id))
        verdict, _ = await self._wallet.call(post, partial(steps.classify, request), Deadline.after(DEADLINE_S))
        return verdict


def is_final(error: BridgeError) -> bool:
    """Say whether this is a no that time does not change.

    A code that the operator mapped to UNAVAILABLE says "safe to repeat", and so that time may change it.
    WALLET_REJECTED with a 5xx is another class, of outcome UNKNOWN.
    """
    if isinstance(error, WalletRejected):
        return error.grpc_code is not GrpcCode.UNAVAILABLE
    return isinstance(error, WalletEchoMismatch)
