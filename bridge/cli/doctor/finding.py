"""Output of `bridge doctor`: one finding a line, or all of them as JSON."""

import enum
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Level(enum.StrEnum):
    """Severity of a finding, as it is printed."""

    OK = "ok"
    WARN = "warn"
    """It works, and should be looked at."""
    FAIL = "FAIL"
    """It does not work, or will not for long."""
    SKIP = "skip"
    """It could not be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check: a printable text without secrets, that says what to do where something is wrong."""

    level: Level
    check: str
    text: str

    @property
    def line(self) -> str:
        """The finding as a line, without its end."""
        return f"{self.level:<6}{self.check:<13}{self.text}"


def json_text(findings: Iterable[Finding]) -> str:
    """Return a list of objects with the members check, level (in lower case) and text; ASCII, in one line."""
    return json.dumps([{"check": each.check, "level": each.level.lower(), "text": each.text} for each in findings])


def skipped(checks: Iterable[str], found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return a finding for each of these checks that has none, because of the last of those found."""
    done = {finding.check for finding in found}
    return tuple(
        Finding(Level.SKIP, check, f"because {found[-1].check} failed") for check in checks if check not in done
    )
