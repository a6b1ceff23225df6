"""When a silent connection is asked and when it is given up, in virtual time. Real sockets: test_silence.py."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bridge.http2.liveness import LATE_S, PING_INTERVAL_MAX_S, Caution, Liveness, Trust
from tests.simulation.clock import VirtualLoop
from tests.support.virtual_time import run_virtually, virtually


class Scene:
    """A connection whose life is written down: what happened to it, and when."""

    def __init__(self, caution: Caution | None = None) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.caution = caution or Caution()
        self.liveness = Liveness(loop, self, Trust(), self.caution)
        self.answer_s: float | None = None
        """How long a PING is under way; None: for ever."""
        self.events: list[tuple[str, float]] = []
        self._stream_id = 1

    def send(self) -> int:
        """Send a request; return its stream."""
        self._stream_id += 2
        self.liveness.sent(self._stream_id)
        return self._stream_id

    async def at(self, when_s: float) -> None:
        """Let virtual time pass until then."""
        await asyncio.sleep(when_s - self.loop.time())

    def send_ping(self) -> None:
        """Be asked."""
        self._happened("ping")
        if self.answer_s is not None:
            self.loop.call_later(self.answer_s, self.liveness.received)

    def give_up(self) -> None:
        """Be given up."""
        self._happened("given up")

    def trusted_again(self) -> None:
        """Be trusted again."""
        self._happened("trusted")

    def _happened(self, what: str) -> None:
        self.events.append((what, round(self.loop.time(), 3)))


Play = Callable[[Scene], Coroutine[Any, Any, None]]


def events_of(play: Play) -> list[tuple[str, float]]:
    """Return what happened in a play, and see that no timer is left 100 s later."""

    async def whole() -> list[tuple[str, float]]:
        scene = Scene()
        await play(scene)
        events = list(scene.events)
        scene.liveness.stop()
        await asyncio.sleep(100)
        assert scene.events == events
        return events

    return run_virtually(whole())


def played(*events: tuple[str, float]) -> Callable[[Play], Callable[[], None]]:
    """Make a play a test that these events happen in it."""

    def decorate(play: Play) -> Callable[[], None]:
        def test() -> None:
            assert events_of(play) == list(events)

        test.__name__, test.__doc__ = play.__name__, play.__doc__
        return test

    return decorate


@played(("ping", 1.04), ("given up", 2.04))
async def test_silence_under_load(scene: Scene) -> None:
    """25 requests a second without an answer: a PING after 1 s, given up after 2 s, and nothing more."""
    for number in range(1, 100):
        await scene.at(number * 0.04)
        scene.send()


@played()
async def test_answers_need_no_ping(scene: Scene) -> None:
    """A server that sends now and then, however slow its answers are, is never asked."""
    for number in range(1, 100):
        await scene.at(number * 0.4)
        scene.send()
        if number % 2:
            scene.liveness.received()


def test_slow_server_is_asked_once_a_second_at_most() -> None:
    """A server that answers PINGs only gets one a second while new requests come, and is never given up."""

    async def play(scene: Scene) -> None:
        scene.answer_s = 0.01
        for number in range(1, 200):
            await scene.at(number * 0.05)
            scene.send()

    pings = [when for what, when in events_of(play) if what == "ping"]
    assert 8 <= len(pings) <= 10
    assert all(round(later - earlier, 3) >= 1 for earlier, later in itertools.pairwise(pings))


@played(("ping", 1.0), ("trusted", 1.01))
async def test_slow_answer_to_a_single_request(scene: Scene) -> None:
    """One request that takes 30 s costs one PING: the answer to that one is newer than the request."""
    scene.answer_s = 0.01
    scene.send()
    await scene.at(30)


@played(("ping", 0.3), ("trusted", 0.31))
async def test_a_call_that_expires_is_a_reason_at_once(scene: Scene) -> None:
    """Where nothing was received since it was sent; where something was, it is not."""
    scene.answer_s = 0.01
    unheard = scene.send()
    await scene.at(0.3)
    scene.liveness.expired(unheard)
    await scene.at(5)
    received = scene.send()
    scene.liveness.received()
    scene.send()
    await scene.at(5.3)
    scene.liveness.expired(received)
    scene.liveness.received()


def test_many_that_expire_ask_once_a_second() -> None:
    """Calls that expire every 10 ms at a server that answers PINGs only cause one PING a second."""

    async def play(scene: Scene) -> None:
        scene.answer_s = 0.001
        for number in range(1, 300):
            stream_id = scene.send()
            await scene.at(number * 0.01)
            scene.liveness.expired(stream_id)

    assert [event for event in events_of(play) if event[0] == "ping"] == [
        ("ping", 0.01),
        ("ping", 1.01),
        ("ping", 2.01),
    ]


@played(("ping", 10.0), ("trusted", 10.0))
async def test_idle_connection_is_asked_before_use(scene: Scene) -> None:
    """After 10 s of silence it is asked and not used until it has answered; a moment earlier it is used."""
    await scene.at(9.9)
    assert scene.liveness.is_trusted()
    await scene.at(10)
    assert not scene.liveness.is_trusted()
    assert not scene.liveness.is_trusted()
    scene.liveness.received()
    assert scene.liveness.is_trusted()


@played(("ping", 20.0), ("given up", 21.0))
async def test_idle_connection_that_does_not_answer(scene: Scene) -> None:
    """It is given up after a second."""
    await scene.at(20)
    assert not scene.liveness.is_trusted()
    await scene.at(25)


def test_a_stall_of_the_loop_is_no_silence() -> None:
    """An answer that came while our own loop was busy is read before the timer decides, however long the stall was."""

    async def play(scene: Scene) -> None:
        scene.send()
        await scene.at(1.5)
        scene.loop.call_later(0.01, scene.liveness.received)  # it is there, but behind the timer
        scene.loop.stall(60)
        await asyncio.sleep(1)

    events = events_of(play)
    assert [what for what, _ in events] == ["ping", "trusted"]


@played(("ping", 1.0), ("given up", 11.5 + LATE_S))
async def test_silence_is_found_behind_a_stall_too(scene: Scene) -> None:
    """A stall only puts the decision off, by the time that pending reads need."""
    scene.send()
    await scene.at(1.5)
    scene.loop.stall(10)
    await asyncio.sleep(1)


def test_a_server_that_complains_is_asked_less() -> None:
    """Each complaint doubles the interval between PINGs, up to a minute, for every connection to the origin."""

    async def play(scene: Scene) -> None:
        scene.answer_s = 0.0
        scene.liveness.calm_down()
        scene.liveness.calm_down()
        for number in range(1, 200):
            await scene.at(number * 0.1)
            scene.send()
        for _ in range(10):
            scene.liveness.calm_down()
        assert scene.caution.ping_interval_s == PING_INTERVAL_MAX_S

    pings = [when for what, when in events_of(play) if what == "ping"]
    assert len(pings) == 5
    assert all(round(later - earlier, 3) >= 4 for earlier, later in itertools.pairwise(pings))


@pytest.mark.parametrize("in_doubt", [True, False])
@virtually
async def test_one_silent_connection_casts_doubt_on_the_others(*, in_doubt: bool) -> None:
    """Another connection to the origin is asked before use, unless it has received since the silence began."""
    silent = Scene()
    other = Scene(silent.caution)
    await silent.at(3)
    silent.send()
    await silent.at(3.5)
    if not in_doubt:
        other.liveness.received()
    await silent.at(4.5)
    assert silent.events == [("ping", 4.0)]
    assert other.liveness.is_trusted() is not in_doubt
    silent.liveness.stop()
    other.liveness.stop()


@played(("ping", 20.0), ("trusted", 20.0), ("given up", 40.0))
async def test_idle_connection_that_must_not_be_asked(scene: Scene) -> None:
    """Where another PING is not allowed yet, a connection that was idle for long is replaced instead."""
    scene.answer_s = 0.0
    scene.caution.ping_interval_s = 60
    await scene.at(20)
    assert not scene.liveness.is_trusted()
    await scene.at(21)
    assert scene.liveness.is_trusted()
    await scene.at(40)
    assert not scene.liveness.is_trusted()
    await scene.at(41)
