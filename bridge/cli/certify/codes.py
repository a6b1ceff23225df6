"""The proposed [wallet.codes]: each unmapped code with its requests, as a question to the wallet's operator."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bridge.outcome import GrpcCode


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping that `bridge serve` would accept."""

    code: int
    questions: tuple[str, ...]
    """One line each."""
    grpc_code: GrpcCode
    """OK: `success = true`."""
    reason: str = ""


def merged(proposals: Iterable[Proposal]) -> tuple[Proposal, ...]:
    """Return one proposal for each code, in the order of the codes: the first one for it, with the questions of all."""
    first: dict[int, Proposal] = {}
    for proposal in proposals:
        known = first.get(proposal.code)
        questions = (*known.questions, *proposal.questions) if known else proposal.questions
        first[proposal.code] = replace(known or proposal, questions=questions)
    return tuple(first[code] for code in sorted(first))


def toml(proposals: Iterable[Proposal]) -> str:
    """Return the sections, to be put at the end of bridge.toml; "" for none."""
    return "\n".join(_section(proposal) for proposal in proposals)


def _section(proposal: Proposal) -> str:
    head = "".join(f"# {question}\n" for question in proposal.questions) + f"[wallet.codes.{proposal.code}]\n"
    if proposal.grpc_code is GrpcCode.OK:
        return f"{head}success = true\n"
    return f'{head}grpc = "{proposal.grpc_code.name}"\nreason = "{proposal.reason}"\n'
