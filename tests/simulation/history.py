"""What happened in one run, in order, and the part of it that explains one call."""

from collections.abc import Callable, Iterable

LINES_MAX = 60


class History:
    """Lines with the time and those whom they concern: calls, connections, or "all"."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.lines: list[tuple[float, frozenset[str], str]] = []

    def add(self, text: str, *concerned: str) -> None:
        """Note what happened now to these."""
        self.lines.append((self._now(), frozenset(concerned or ("all",)), text))

    def about(self, concerned: Iterable[str]) -> list[str]:
        """Return the lines about these and about the connections that carried them, at most LINES_MAX."""
        wanted = {"all", *concerned}
        for _, who, _ in self.lines:
            if who & (wanted - {"all"}):
                wanted |= {each for each in who if each.startswith("connection")}
        lines = [
            f"{at - self.lines[0][0]:9.4f}  {' '.join(sorted(who))}: {text}"
            for at, who, text in self.lines
            if who & wanted
        ]
        return lines if len(lines) <= LINES_MAX else [*lines[: LINES_MAX // 2], "      ...", *lines[-LINES_MAX // 2 :]]
