"""One event, several listeners, each for itself."""

import logging

import pytest

from bridge.events import Event, Stopped, fan_out


def break_down(_event: Event) -> None:
    """Fail, as a listener can whose disk is full."""
    raise OSError("no space left on device")


def test_every_listener_is_told() -> None:
    """In the order in which they were named."""
    told: list[str] = []
    fan_out(lambda _: told.append("first"), lambda _: told.append("second"))(Stopped())
    assert told == ["first", "second"]


def test_a_listener_that_fails_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Those after it are told, who emits sees nothing of it, and the log names the event."""
    told: list[Event] = []
    with caplog.at_level(logging.ERROR):
        fan_out(break_down, told.append)(Stopped())
    assert told == [Stopped()]
    assert caplog.messages == ["a listener failed at the event Stopped"]


def test_nobody_need_listen() -> None:
    """Without listeners an event goes nowhere."""
    fan_out()(Stopped())
