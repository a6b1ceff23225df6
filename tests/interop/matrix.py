"""The matrix as text: what is printed after a run and what docs/interop.md says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.interop.expectations import Expectation, explained
from tests.interop.server import Server
from tests.interop.tally import Tally

ROWS: Mapping[str, str] = {
    "one call": "",
    "load": "300 calls by 20 callers",
    "reload under load": "20 callers without a pause; three graceful reloads or restarts, 100 calls or more between",
    "expiring": "100 calls a second that expire after 0.5 s (the wallet takes 5 s) beside 20 healthy ones",
    "idle close": (
        "calls of eight bridges spread over the very instant, measured first, at which the server closes an idle "
        "connection"
    ),
    "odd SETTINGS": "60 calls by 10 callers, the smallest and oddest SETTINGS that the server can be asked to send",
}
_HEAD = ("transport", "row", "calls", "failed", "duplicated", "false certainty", "bodies", "remark")


@dataclass(frozen=True)
class Line:
    """One row of one server over one transport."""

    server: str
    transport: str
    row: str
    tally: Tally | None = None
    """None: it was left out, for the reason in `left_out`, or broke off with the error in `broken`."""
    left_out: str = ""
    broken: str = ""

    @property
    def explanations(self) -> Sequence[Expectation] | None:
        """What explains its failed calls; None: nothing does."""
        return explained(self.server, self.row, self.tally.calls, self.tally.reasons) if self.tally else []

    @property
    def is_good(self) -> bool:
        """It was run or left out with a reason, all that must be zero is, and each failed call is explained."""
        if self.tally is None:
            return not self.broken
        return self.tally.is_true and self.explanations is not None

    @property
    def remark(self) -> str:
        """What a reader should know beside the counts."""
        if self.tally is None:
            return f"BROKEN OFF: {self.broken}" if self.broken else f"left out: {self.left_out}"
        reasons = [f"{count} {reason}" for reason, count in self.tally.reasons.items()]
        why = sorted({each.why for each in self.explanations or ()})
        expired = [f"{self.tally.expired} more were made to expire"] if self.tally.expired else []
        return "; ".join(([] if self.is_good else ["NOT EXPLAINED"]) + expired + reasons + why)

    def cells(self) -> Sequence[str]:
        """Return its cells, in the order of the head."""
        if self.tally is None:
            return (self.transport, self.row, "", "", "", "", "", self.remark)
        found = self.tally
        counts = (found.calls, found.failed, found.duplicated, found.false_certainty)
        bodies = f"{found.inexact} NOT EXACT" if found.inexact else "exact"
        return (self.transport, self.row, *map(str, counts), bodies, self.remark)


@dataclass
class Matrix:
    """What a run has found so far."""

    lines: list[Line] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Servers that were not there, with what to install."""

    def text(self) -> Iterable[str]:
        """Return lines for a terminal."""
        names = max((len(name) for name in self.versions), default=0)
        for line in self.lines:
            yield "  ".join((f"{line.server:{names}}", self._columns(line)))
        for name, why in self.missing.items():
            yield f"{name}: LEFT OUT, {why}"

    def _columns(self, line: Line) -> str:
        cells = line.cells()
        return "  ".join(
            (f"{cells[0]:4}", f"{cells[1]:17}", *(f"{cell:>5}" for cell in cells[2:6]), f"{cells[6]:7}", cells[7])
        )

    def document(self, servers: Sequence[Server]) -> str:
        """Return the text of docs/interop.md."""
        by_server = {server.name: [line for line in self.lines if line.server == server.name] for server in servers}
        sections = [self._section(server, by_server[server.name]) for server in servers if by_server[server.name]]
        good = sum(line.is_good for line in self.lines)
        absent = "\n".join(f"- {name}: {why}" for name, why in self.missing.items()) or "Nothing."
        rows = "\n".join(f"| {name} | {what} |" for name, what in ROWS.items() if what)
        return _DOCUMENT.format(
            good=good,
            all=len(self.lines),
            servers=len(sections),
            rows=rows,
            absent=absent,
            sections="\n".join(sections),
        )

    def _section(self, server: Server, lines: Sequence[Line]) -> str:
        facts = [f"Reload: {server.reload_word}."]
        facts += [f"Odd SETTINGS: {server.odd_word}."] if server.odd_word else []
        facts += [f"Idle time-out: `{server.idle_setting}`."] if server.idle_setting else []
        table = [_HEAD, ("---",) * len(_HEAD), *(line.cells() for line in lines)]
        body = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
        return f"### {server.name}: {self.versions[server.name]}\n\n{' '.join(facts)}\n\n{body}\n"


_DOCUMENT = """\
# Real servers behind the bridge

Written by `make interop`; not edited by hand. {servers} servers and stacks were run, each when and as its heading says:
{good} of {all} rows are as they must be.

A whole bridge stands before each server and is called over gRPC, in plaintext (`h2c`: HTTP/2 with prior knowledge) and
over TLS. In or behind each server is a wallet that checks HTTP Basic, the signature over the exact body, and
`content-length`, and logs every request. **That log is the oracle**: *duplicated* counts calls that the wallet saw more
than once; *false certainty* counts calls that were said not to be carried out and were (NOT_SENT, NOT_PROCESSED,
REJECTED), or said to be OK and were not; *bodies* compares each body with the bytes that it had to be. These three must
be zero, whatever a server does. A *failed* call did not end OK; where that is the server's own right, the remark says
why (`tests/interop/expectations.py`), otherwise the run fails.

| row | what happens |
| --- | --- |
{rows}

`make interop QUICK=1` is the part that CI runs. `make interop SERVERS="nginx Jetty"` runs some.
`tests/interop/README.md` says how to add a server.

## Not installed at this run

{absent}

## Results

{sections}"""
