"""The order of the probes, and what is certain about each live token at every moment."""

import asyncio
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bridge.cli.certify.exchange import Exchanger, connected
from bridge.cli.certify.requests import AGAIN, AT_ONCE, SAFE, TERMINATE, UNKNOWN_TOKEN, WRONG_PLAYER, Probe, Session
from bridge.cli.certify.seen import Seen
from bridge.cli.certify.tokens import made_up_token
from bridge.outcome import Outcome
from bridge.start_error import StartError

Show = Callable[[Probe, Seen], None]

NOT_DONE = frozenset({Outcome.NOT_SENT, Outcome.NOT_PROCESSED})
"""Outcomes that prove that the wallet did nothing."""


class Incomplete(StartError):
    """The probes could not be carried out to the end. The text says why and what to do."""


class State(enum.StrEnum):
    """Certainty about a live token."""

    NOT_SENT = "was not sent to the wallet"
    UNCERTAIN = "may be terminated: it was sent, and the wallet has not confirmed that it is terminated"
    TERMINATED = "is terminated: the wallet has confirmed it"


@dataclass(slots=True)
class LiveToken:
    """A token of a real session. Its repr does not hold it."""

    name: str
    text: str = field(repr=False)
    _possible: int = 0
    """Requests with it that may have had an effect, those under way among them."""
    _is_confirmed: bool = False

    @property
    def state(self) -> State:
        """Present certainty."""
        if self._is_confirmed:
            return State.TERMINATED
        return State.UNCERTAIN if self._possible else State.NOT_SENT

    async def sent(self, exchanger: Exchanger, probe: Probe, live_texts: Sequence[str]) -> Seen:
        """Send a probe with it and keep its state."""
        # Now, and not afterwards: whatever ends this command meanwhile, the token may have been sent.
        self._possible += 1
        seen = await exchanger.send(probe, self.text, live_texts)
        self._possible -= seen.outcome in NOT_DONE
        self._is_confirmed |= seen.is_success and probe is not WRONG_PLAYER
        return seen


@dataclass(slots=True)
class Script:
    """All probes of one session. `show` gets each result as soon as it is there."""

    session: Session
    live: LiveToken | None
    second: LiveToken | None
    show: Show

    @property
    def tokens(self) -> list[LiveToken]:
        """The live tokens that were given."""
        return [token for token in (self.live, self.second) if token is not None]

    @property
    def texts(self) -> list[str]:
        """Their texts, which nothing may show."""
        return [token.text for token in self.tokens]

    async def safe(self) -> None:
        """Send what cannot touch a live token; raise Incomplete where the wallet gives no answer at all."""
        form = self.live.text if self.live else None
        async with connected(self.session) as exchanger:
            for probe in SAFE:
                token = made_up_token(form)
                self._shown(probe, await exchanger.send(probe, token, self.texts))

    async def with_live_tokens(self) -> None:
        """Send what terminates the live tokens; raise Incomplete where the wallet can no longer be reached."""
        if self.live is None:
            return
        async with connected(self.session) as exchanger:
            for probe in (WRONG_PLAYER, TERMINATE, AGAIN):
                self._shown(probe, await self.live.sent(exchanger, probe, self.texts))
            token = self.second or self.live
            both = await asyncio.gather(*(token.sent(exchanger, probe, self.texts) for probe in AT_ONCE))
            for probe, seen in zip(AT_ONCE, both, strict=True):
                self.show(probe, seen)

    def _shown(self, probe: Probe, seen: Seen) -> None:
        """Show a result; raise Incomplete where it makes no sense to go on."""
        self.show(probe, seen)
        if probe.is_http1 or seen.is_answered:
            return
        if seen.outcome is Outcome.NOT_SENT:
            raise Incomplete(f"{probe.name}: the wallet cannot be reached ({seen.cause}): run `bridge doctor`")
        if probe is UNKNOWN_TOKEN:
            raise Incomplete(
                f"{probe.name}: the wallet gives no answer to a right request with a made-up token, "
                "so that no live token is sent: run `bridge doctor`, and ask the wallet's operator"
            )
