"""Keys that are changed: two key versions, and whichever the wallet accepts at the moment, no call fails."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ProviderNotConfigured, WalletAuthRejected, WalletInconsistent, WalletRejected
from bridge.outcome import BridgeError, GrpcCode, WalletFacts
from bridge.upstream.signing import Credentials, Keyring, KeyVersions, may_be_about_keys

OLD, NEW, WRONG = (Credentials(7, name, f"{name}-private-key") for name in ("old", "new", "wrong"))


def rotating(*accepted: Credentials) -> KeyVersions:
    """Return old and new credentials of which the wallet has accepted these, in this order, since the replacement."""
    key_versions = KeyVersions(OLD)
    key_versions.replace(NEW)
    for credentials in accepted:
        key_versions.accepted(credentials)
    return key_versions


def tries(key_versions: KeyVersions, *rejected: Credentials) -> list[Credentials]:
    """Return all that a call is signed with, one after the other, if the wallet rejects it every time."""
    signed = [*rejected] or [key_versions.preferred]
    while (credentials := key_versions.instead_of(signed)) is not None:
        signed.append(credentials)
    return signed


@pytest.mark.parametrize("other", [Credentials(8, "old", "old-private-key"), NEW, Credentials(7, "old", "x"), "old"])
def test_other_credentials_are_not_equal(other: object) -> None:
    """Provider, access key and private key make credentials what they are."""
    assert other != OLD


def test_the_same_credentials_are_equal() -> None:
    """Keys that were read twice are the same keys."""
    again = Credentials(7, "old", "old-private-key")
    assert (again, hash(again)) == (OLD, hash(OLD))


def test_without_a_replacement_there_is_one_try() -> None:
    """With one key version a call that the wallet rejects is rejected."""
    assert tries(KeyVersions(OLD)) == [OLD]


def test_the_newest_is_preferred() -> None:
    """After a replacement the next call is signed with the new credentials."""
    keyring = Keyring([OLD])
    keyring.replace(NEW)
    assert keyring.credentials(7) is NEW


def test_only_its_own_provider_is_replaced() -> None:
    """A replacement changes nothing for another provider, and makes no provider that was not configured."""
    other = Credentials(9, "a", "b")
    keyring = Keyring([OLD, other])
    keyring.replace(NEW)
    assert keyring.credentials(9) is other
    with pytest.raises(ProviderNotConfigured):
        keyring.replace(Credentials(8, "a", "b"))


TRIES: dict[str, tuple[KeyVersions, Sequence[Credentials], Sequence[Credentials]]] = {
    # The third try: the wallet may have switched between the first two.
    "newest preferred": (rotating(), [], [NEW, OLD, NEW]),
    "older preferred": (rotating(OLD), [], [OLD, NEW]),
    "newest accepted": (rotating(NEW), [], [NEW, OLD, NEW]),
    "signed before the replacement": (rotating(), [OLD], [OLD, NEW]),
    "signed before another replacement": (rotating(), [WRONG], [WRONG, NEW, OLD, NEW]),
    "signed before it had settled": (KeyVersions(NEW), [OLD], [OLD, NEW]),
}


@pytest.mark.parametrize(("key_versions", "rejected", "expected"), TRIES.values(), ids=TRIES)
def test_what_a_rejected_call_is_signed_with(
    key_versions: KeyVersions, rejected: Sequence[Credentials], expected: Sequence[Credentials]
) -> None:
    """A call that is always rejected is tried with both key versions, ends with the newest, and ends."""
    assert tries(key_versions, *rejected) == expected


@pytest.mark.parametrize("accepted", [[OLD], [NEW], [OLD, NEW], [NEW, OLD]])
def test_what_the_wallet_accepted_last_is_preferred(accepted: list[Credentials]) -> None:
    """The next call goes right at the first try, whichever side has switched."""
    assert rotating(*accepted).preferred is accepted[-1]


@pytest.mark.parametrize("key_versions", [rotating(WRONG), KeyVersions(NEW)], ids=["rotating", "one key version"])
def test_what_is_gone_is_not_preferred_again(key_versions: KeyVersions) -> None:
    """The late answer to a call that was signed with a forgotten key version brings it back in no way."""
    key_versions.accepted(WRONG)
    assert (key_versions.preferred, key_versions.newest) == (NEW, NEW)


REPLACEMENTS: dict[str, tuple[Callable[[], KeyVersions], Credentials, tuple[Credentials, Credentials | None]]] = {
    "first": (partial(KeyVersions, OLD), NEW, (NEW, OLD)),
    "the same": (partial(KeyVersions, OLD), OLD, (OLD, None)),
    "the same while rotating": (rotating, NEW, (NEW, OLD)),
    "the same, accepted, while rotating": (partial(rotating, NEW), NEW, (NEW, OLD)),
    # Keys that never worked are no loss; those that worked are.
    "of one never accepted": (rotating, WRONG, (WRONG, OLD)),
    "of one not accepted yet": (partial(rotating, OLD), WRONG, (WRONG, OLD)),
    "of one accepted": (partial(rotating, NEW), WRONG, (WRONG, NEW)),
    "back, before it was accepted": (partial(rotating, OLD), OLD, (OLD, None)),
    "back, after it was accepted": (partial(rotating, NEW), OLD, (OLD, NEW)),
}


@pytest.mark.parametrize(("made", "credentials", "expected"), REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_a_replacement_keeps_what_the_wallet_accepted_last(
    made: Callable[[], KeyVersions], credentials: Credentials, expected: tuple[Credentials, Credentials | None]
) -> None:
    """New credentials come to the front; beside them stay those that are known to work."""
    key_versions = made()
    key_versions.replace(credentials)
    assert (key_versions.newest, key_versions.older) == expected


SETTLING: dict[str, tuple[Sequence[Credentials], Sequence[Credentials], Credentials | None]] = {
    "nothing accepted": ([], [], OLD),
    "only the older": ([OLD], [OLD], OLD),
    "only the newest": ([NEW], [NEW], None),
    "the newest, then silence": ([NEW], [], None),
    "the older at first": ([OLD, NEW], [NEW], None),
    "the older at last": ([NEW], [NEW, OLD], OLD),
    # Several machines of the wallet need not switch at once.
    "both at last": ([NEW], [OLD, NEW], OLD),
}


@pytest.mark.parametrize(("before", "after", "older"), SETTLING.values(), ids=SETTLING)
def test_a_rotation_settles(
    before: Sequence[Credentials], after: Sequence[Credentials], older: Credentials | None
) -> None:
    """The older key version goes after an interval in which the wallet did not need it, once the newest has worked."""
    keyring = Keyring([OLD])
    keyring.replace(NEW)
    key_versions = keyring.key_versions(7)
    for accepted in (before, after):
        for credentials in accepted:
            key_versions.accepted(credentials)
        assert key_versions.older is OLD
        keyring.settle()
    assert key_versions.older is older


FACTS = {status: WalletFacts(http_status=status, code=9) for status in (200, 401, 403, 404, 503)}
ABOUT_KEYS: dict[str, tuple[BridgeError, bool]] = {
    "401": (WalletAuthRejected(wallet=FACTS[401]), True),
    "403": (WalletAuthRejected(wallet=FACTS[403]), True),
    "403 with a code that the operator mapped": (
        WalletRejected(wallet=FACTS[403], grpc_code=GrpcCode.INTERNAL, reason="KEY_UNKNOWN"),
        True,
    ),
    "404": (WalletRejected(wallet=FACTS[404]), False),
    # Of what contradicts itself, it is unknown whether it was carried out.
    "401 with status true": (WalletInconsistent(wallet=FACTS[401]), False),
}


@pytest.mark.parametrize(("error", "expected"), ABOUT_KEYS.values(), ids=ABOUT_KEYS)
def test_which_failures_may_be_about_keys(error: BridgeError, expected: bool) -> None:  # noqa: FBT001 - a case
    """Only a no of the wallet itself, with 401 or 403, is worth another signature: nothing else is safe to repeat."""
    assert may_be_about_keys(error) is expected


class CallOfModel:
    """A call on its way: signed, checked by the wallet, answered, and perhaps signed again."""

    def __init__(self, key_versions: KeyVersions) -> None:
        self.key_versions = key_versions
        self.signed = [key_versions.preferred]
        self.rated: bool | None = None
        self.is_over = False

    def step(self, wanted: Credentials) -> None:
        """Let the wallet, which accepts these credentials now, answer; or let the bridge receive the verdict."""
        if self.rated is None:
            self.rated = self.signed[-1] == wanted
        elif self.rated:
            self.key_versions.accepted(self.signed[-1])
            self.is_over = True
        else:
            credentials = self.key_versions.instead_of(self.signed)
            assert credentials is not None, "the call has failed"
            self.signed.append(credentials)
            self.rated = None


MOVES = st.sampled_from(["begin", "step", "step", "step", "wrong", "replace", "switch", "settle"])


@given(st.lists(st.tuples(MOVES, st.integers(0, 100)), max_size=60))
def test_no_call_fails_in_any_rotation(moves: list[tuple[str, int]]) -> None:
    """However calls, replacement and the wallet's switch interleave, no call fails, nor needs many tries.

    The wallet accepts one key, and from some moment after the replacement only the other. Wrong keys may come before.
    """
    key_versions, wanted, calls = KeyVersions(OLD), OLD, list[CallOfModel]()
    for move, number in moves:
        waiting = [call for call in calls if not call.is_over]
        if move == "begin":
            calls.append(CallOfModel(key_versions))
        elif move == "step" and waiting:
            waiting[number % len(waiting)].step(wanted)
        elif move == "wrong" and key_versions.newest != NEW:
            key_versions.replace(Credentials(7, f"wrong {number}", "x"))
        elif move == "replace":
            key_versions.replace(NEW)
        elif move == "switch" and key_versions.newest == NEW:
            wanted = NEW
        elif move == "settle" and not waiting:  # an interval lasts longer than any call
            key_versions.settle()
    for call in calls:
        while not call.is_over:
            call.step(wanted)
    assert all(call.signed.count(credentials) <= 2 for call in calls for credentials in call.signed)
