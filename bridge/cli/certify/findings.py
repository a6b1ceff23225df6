"""Findings: what the answers mean, in words. Pure.

Expectations are those of docs/design/contract.md, "Failures". A finding of level DECIDE or DANGER is one that a person
has to decide about; an expectation that an answer cannot prove or refute is a note.
"""

import enum
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from bridge.cli.certify.codes import Proposal
from bridge.cli.certify.seen import Seen
from bridge.errors import REASONS, WalletAuthRejected, WalletEchoMismatch, WalletRejected
from bridge.outcome import GrpcCode, Outcome

HTTP_AUTH_REJECTED = frozenset({401, 403})

MAPPABLE = frozenset({WalletRejected.reason, WalletAuthRejected.reason})
"""Reasons that a mapping of the code would replace (docs/design/contract.md, below the table of failures)."""

SLOW_PART = 0.5
"""From this part of wallet.deadline_default_s on, an answer is slow."""


class Level(enum.StrEnum):
    """Weight of a finding, as it is printed."""

    OK = "ok"
    NOTE = "note"
    DECIDE = "DECIDE"
    """A person has to decide how the bridge is to handle it."""
    DANGER = "DANGER"
    """Tokens or money are at risk: to be clarified before production."""


NEEDS_DECISION = frozenset({Level.DECIDE, Level.DANGER})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found out, and the mapping that it suggests."""

    level: Level
    probe: str
    text: str
    proposal: Proposal | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Answers so far, by probe, and the operator's decisions about them."""

    seen: Mapping[str, Seen]
    mapped: Collection[int]
    """The codes in wallet.codes."""
    has_second_token: bool
    patience_s: float
    """wallet.deadline_default_s."""

    def __getitem__(self, probe: str) -> Seen | None:
        """Return what a probe saw; None where it was not sent."""
        return self.seen.get(probe)


def findings(evidence: Evidence) -> Iterator[Finding]:
    """Yield what is found by what was seen, in the order of the probes."""
    for name, (what, reason) in REFUSALS.items():
        yield from _must_be_refused(evidence, name, what, reason)
    yield from _unknown_token(evidence)
    yield from _http1(evidence)
    yield from _wrong_player(evidence)
    yield from _terminate(evidence)
    yield from _again(evidence)
    yield from _at_once(evidence)
    yield from _slow(evidence)


def answer_words(seen: Seen) -> str:
    """Return what came back, in a few words."""
    if not seen.is_answered:
        return f"no answer ({seen.reason}{f', {seen.cause}' if seen.cause else ''})"
    code = "" if seen.code is None else f", code {seen.code}"
    return (
        f"HTTP {seen.http_status}{code}" if seen.has_wallet_body else f"HTTP {seen.http_status} without a wallet body"
    )


def _reported(seen: Seen) -> str:
    return f"the bridge reports {seen.reason}, outcome {seen.outcome.name}" if seen.outcome else "the bridge reports OK"


# --- credentials and signature ----------------------------------------------------------------------------------

REFUSALS = {
    "wrong-signature": ("a wrong signature", "SIGNATURE_REJECTED"),
    "unknown-provider": ("a made-up provider", "CREDENTIALS_REJECTED"),
    "no-signature": ("a request without x-request-signature", ""),
    "no-authorization": ("a request without authorization", ""),
}
"""Probe -> what it has instead of right credentials, and the reason to propose for its code; "": the bridge never
sends such a request, so that any refusal will do."""


def _must_be_refused(evidence: Evidence, name: str, what: str, reason: str) -> Iterator[Finding]:
    seen, right = evidence[name], evidence["unknown-token"]
    if seen is None:
        return
    is_refused = seen.http_status in HTTP_AUTH_REJECTED
    if seen.says_done:
        yield Finding(Level.DANGER, name, f"{what} is accepted ({answer_words(seen)}): the wallet does not check it")
    elif right is not None and seen.is_like(right):
        yield _not_distinguished(name, what, seen, is_refused=is_refused)
    elif is_refused or (not reason and _is_no(seen)):
        yield Finding(Level.OK, name, f"{what} is refused ({answer_words(seen)})")
    elif _is_mapped(evidence, seen):
        text = f"{what} is refused ({answer_words(seen)}, which wallet.codes knows); {NO_ROTATION}"
        yield Finding(Level.NOTE, name, text)
    else:
        text = f"{what} gets {answer_words(seen)}, not 401 or 403: {_reported(seen)}; {NO_ROTATION}"
        yield Finding(Level.DECIDE, name, text, _refusal_proposal(seen, right, what, reason))


NO_ROTATION = "while keys are rotated the bridge tries the other key only after 401 or 403"


def _not_distinguished(name: str, what: str, seen: Seen, *, is_refused: bool) -> Finding:
    same = f"{what} is answered like right credentials with the same unknown token ({answer_words(seen)})"
    if is_refused:
        return Finding(Level.NOTE, name, f"{same}: it is refused, but that is no proof that it is noticed")
    text = f"{same}: the wallet does not check it, or looks at the token first; ask the wallet's operator which"
    return Finding(Level.DANGER, name, text)


def _refusal_proposal(seen: Seen, right: Seen | None, what: str, reason: str) -> Proposal | None:
    is_own = right is None or seen.code != right.code
    if not (reason and is_own and _is_unmapped(seen)):
        return None
    question = f"code {seen.code} is what {what} gets: is the bridge's own configuration wrong then?"
    return _proposal(seen, question, GrpcCode.INTERNAL, reason)


# --- tokens -----------------------------------------------------------------------------------------------------


def _unknown_token(evidence: Evidence) -> Iterator[Finding]:
    name, what = "unknown-token", "a token that never existed"
    seen = evidence[name]
    if seen is None:
        return
    if seen.is_success and seen.code in evidence.mapped:
        text = (
            f"code {seen.code} is mapped to success, and {what} gets it too: a mistyped token is reported as terminated"
        )
        yield Finding(Level.DANGER, name, f"{text}; take success = true out of wallet.codes.{seen.code}")
    elif seen.is_success:
        text = f"{what} is answered with success: OK does not prove that a token was ever alive"
        yield Finding(Level.DECIDE, name, f"{text}, and a mistyped token looks terminated")
    elif seen.http_status in HTTP_AUTH_REJECTED and not _is_mapped(evidence, seen):
        text = f"right credentials with {what} get {answer_words(seen)}: the wallet refuses the credentials, the"
        yield Finding(Level.DECIDE, name, f"{text} signature or this machine's address, or answers so to such a token")
    else:
        proposed = (GrpcCode.NOT_FOUND, "TOKEN_NOT_FOUND")
        yield _rejected(evidence, seen, what, proposed, "is the token unknown, and nothing was done?")


def _wrong_player(evidence: Evidence) -> Iterator[Finding]:
    name, what = "wrong-player", "the live token with another player_id"
    seen = evidence[name]
    if seen is None:
        return
    if seen.says_done:
        other = f" and names another {seen.cause}" if seen.reason == WalletEchoMismatch.reason else ""
        text = f"{what} is answered with success{other}: the wallet does not compare the player"
        yield Finding(Level.DANGER, name, f"{text}, and the token is probably terminated; {_reported(seen)}")
    else:
        proposed = (GrpcCode.FAILED_PRECONDITION, "TOKEN_OF_ANOTHER_SESSION")
        yield _rejected(evidence, seen, what, proposed, "does the token belong to another session then?")


def _terminate(evidence: Evidence) -> Iterator[Finding]:
    seen = evidence["terminate"]
    if seen is None:
        return
    if not seen.is_success:
        perhaps = "" if _is_no(evidence["wrong-player"]) else "; the probe before may have terminated the token"
        text = f"the live token gets {answer_words(seen)}, which is no success: {_reported(seen)}{perhaps}"
        yield Finding(Level.DECIDE, seen.probe, text)
    elif not seen.status:
        text = f"the live token gets {answer_words(seen)}, which is mapped to success: it was terminated before"
        yield Finding(Level.DECIDE, seen.probe, f"{text}; a live one has to be seen too")
    elif seen.missing:
        text = f"the live token is terminated; the answer lacks {', '.join(seen.missing)}, which stay unset"
        yield Finding(Level.NOTE, seen.probe, text)
    else:
        yield Finding(Level.OK, seen.probe, "the live token is terminated, with every field of the contract")


def _again(evidence: Evidence) -> Iterator[Finding]:
    seen, first, what = evidence["terminate-again"], evidence["terminate"], "a second terminate"
    if seen is None:
        return
    if seen.is_success:
        yield Finding(Level.OK, seen.probe, f"{what} gets {answer_words(seen)}: the bridge reports OK")
        return
    others = [other for other in evidence.seen.values() if other.code == seen.code and other.probe not in SAME_TOKEN]
    if not _is_unmapped(seen) or not first or not (first.is_success and first.status):
        yield _rejected(evidence, seen, what, None, "")
    elif others:
        text = f"{what} gets {answer_words(seen)}, and the probe {others[0].probe} gets this code too"
        text += ": success = true would report a wrong token as terminated, so it is not proposed"
        yield Finding(Level.DECIDE, seen.probe, text)
    else:
        question = f"code {seen.code} is what a second terminate answers: success = true?"
        text = f"{what} gets {answer_words(seen)}: {_reported(seen)}"
        yield Finding(Level.DECIDE, seen.probe, text, _proposal(seen, question, GrpcCode.OK))


SAME_TOKEN = frozenset({"terminate-again", "at-once-1", "at-once-2"})
"""Probes whose token may be terminated already."""


def _at_once(evidence: Evidence) -> Iterator[Finding]:
    both = [seen for name in ("at-once-1", "at-once-2") if (seen := evidence[name])]
    again = evidence["terminate-again"]
    if not both:
        return
    strange = [seen for seen in both if not seen.is_success and not (again and seen.is_like(again))]
    for seen in strange:
        proposed = (GrpcCode.ABORTED, "TERMINATE_IN_PROGRESS")
        yield _rejected(evidence, seen, "one of two terminates at once", proposed, "is another one under way then?")
    if strange:
        return
    if evidence.has_second_token and not any(seen.is_success for seen in both):
        text = "neither of two terminates at once of the second token is answered with success: was it alive?"
        yield Finding(Level.DECIDE, "at-once", text)
    elif evidence.has_second_token:
        yield Finding(Level.OK, "at-once", "two terminates at once: success, or what a second terminate gets")
    else:
        text = "two terminates at once of the terminated token get what a second terminate gets"
        yield Finding(Level.NOTE, "at-once", f"{text}; --second-token-file shows it with a live one")


def _rejected(
    evidence: Evidence, seen: Seen, what: str, proposed: tuple[GrpcCode, str] | None, question: str
) -> Finding:
    """Classify an answer that should be a refusal of the wallet's."""
    text = f"{what} gets {answer_words(seen)}: {_reported(seen)}"
    if _is_mapped(evidence, seen):
        return Finding(Level.OK, seen.probe, f"{text}, as wallet.codes says")
    proposal = None
    if proposed is not None and _is_unmapped(seen):
        proposal = _proposal(seen, f"code {seen.code} is what {what} gets: {question}", *proposed)
    return Finding(Level.DECIDE, seen.probe, text, proposal)


def _is_unmapped(seen: Seen) -> bool:
    """Say whether a mapping of its code would change what the bridge reports of this answer."""
    return seen.code is not None and seen.reason in MAPPABLE


def _is_mapped(evidence: Evidence, seen: Seen) -> bool:
    """Say whether the operator's mapping decides what the bridge reports: its reasons are none of the bridge's own."""
    return seen.code in evidence.mapped and seen.reason not in REASONS


def _is_no(seen: Seen | None) -> bool:
    return seen is not None and seen.outcome is Outcome.REJECTED


def _proposal(seen: Seen, question: str, grpc_code: GrpcCode, reason: str = "") -> Proposal:
    if seen.code is None:
        raise ValueError("only an answer with a code can be mapped")
    return Proposal(seen.code, (question,), grpc_code, reason)


# --- the rest ---------------------------------------------------------------------------------------------------


def _http1(evidence: Evidence) -> Iterator[Finding]:
    seen = evidence["http1"]
    if seen is None:
        return
    if seen.has_wallet_body:
        text = f"the wallet speaks HTTP/1.1 too ({answer_words(seen)}); the bridge never does"
        yield Finding(Level.NOTE, seen.probe, text)
    else:
        yield Finding(Level.OK, seen.probe, f"HTTP/1.1 is not accepted ({answer_words(seen)})")


def _slow(evidence: Evidence) -> Iterator[Finding]:
    for seen in evidence.seen.values():
        if seen.is_answered and seen.duration_s >= evidence.patience_s * SLOW_PART:
            text = f"the answer took {seen.duration_s:.1f} s of wallet.deadline_default_s = {evidence.patience_s:g} s"
            yield Finding(Level.DECIDE, seen.probe, f"{text}: calls will end UNKNOWN as soon as the wallet is busy")
