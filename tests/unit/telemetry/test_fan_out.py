"""One event, several listeners, each for itself."""

import logging

import pytest

from bridge.events import Event, Stopped
from bridge.telemetry.fan_out import fan_out


def break_down(_event: Event) -> None:
    """Fail, as a listener can whose disk is full."""
    raise OSError("no space left on device")


def test_every_listener_is_reported() -> None:
    """In the order in which they were named."""
    reported: list[str] = []
    fan_out(lambda _: reported.append("first"), lambda _: reported.append("second"))(Stopped())
    assert reported == ["first", "second"]


def test_a_listener_that_fails_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Those after it are reported, who emits sees nothing of it, and the log names the event."""
    reported: list[Event] = []
    with caplog.at_level(logging.ERROR):
        fan_out(break_down, reported.append)(Stopped())
    assert reported == [Stopped()]
    assert caplog.messages == ["a listener failed at the event Stopped"]


def test_a_listener_is_optional() -> None:
    """Without listeners an event goes nowhere."""
    fan_out()(Stopped())
