"""The report as text and as JSON: facts of the answers, and words of ours."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bridge.cli.certify.codes import Proposal, toml
from bridge.cli.certify.findings import Finding
from bridge.cli.certify.requests import Probe
from bridge.cli.certify.script import LiveToken
from bridge.cli.certify.seen import Seen


def probe_line(probe: Probe, seen: Seen) -> str:
    """Return what was sent and what came back, as one line."""
    return f"{probe.name:<18}{probe.sends}\n{'':<18}-> {', '.join(_facts(seen))}"


def finding_line(finding: Finding) -> str:
    """Return a finding as one line."""
    return f"{finding.level:<8}{finding.probe:<18}{finding.text}"


def proposal_lines(proposals: Sequence[Proposal]) -> str:
    """Return the proposed section with a line above it; "" where nothing is proposed."""
    if not proposals:
        return ""
    return f"\nProposed for the end of bridge.toml, each an open question:\n\n{toml(proposals)}"


def token_lines(tokens: Iterable[LiveToken]) -> list[str]:
    """Return what is certain about each live token."""
    return [f"{token.name} {token.state}" for token in tokens]


def json_text(
    seen: Iterable[Seen],
    found: Iterable[Finding],
    proposals: Sequence[Proposal],
    tokens: Iterable[LiveToken],
    problem: str,
) -> str:
    """Return the whole report as one line of JSON, ASCII alone; `problem`: why it is not complete, or ""."""
    return json.dumps(
        {
            "probes": [_as_json(each) for each in seen],
            "findings": [{"level": each.level.lower(), "probe": each.probe, "text": each.text} for each in found],
            "codes": toml(proposals),
            "tokens": {token.name: token.state.name for token in tokens},
            "problem": problem,
        }
    )


def _facts(seen: Seen) -> list[str]:
    took = f"{seen.duration_s * 1000:.0f} ms"
    reported = "OK" if seen.is_success else f"{seen.reason} {seen.outcome.name if seen.outcome else ''}".rstrip()
    means = f"the bridge reports {reported}{f' ({seen.cause})' if seen.cause else ''}"
    if not seen.is_answered:
        return ["no answer", took, means]
    body = ["no wallet body"]
    if seen.has_wallet_body:
        code = "withheld" if seen.code is None else seen.code
        body = [f"status {str(seen.status).lower()}", f"code {code}", f"message {seen.message}"]
        body.append(f"request_id {seen.request_id}")
    headers = [f"{name} {kind}" for name, kind in sorted(seen.headers.items())]
    return [f"HTTP {seen.http_status}", *body, *headers, took, means]


def _as_json(seen: Seen) -> dict[str, Any]:
    return {
        "probe": seen.probe,
        "duration_ms": round(seen.duration_s * 1000),
        "http_status": seen.http_status or None,
        "status": seen.status,
        "code": seen.code,
        "message": seen.message,
        "request_id": seen.request_id,
        "headers": dict(seen.headers),
        "reason": "OK" if seen.is_success else seen.reason,
        "outcome": seen.outcome.name if seen.outcome else None,
        "cause": seen.cause,
    }
