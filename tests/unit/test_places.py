"""The places of an exception, which stand for it in logs."""

import re

from bridge.places import places, places_of

SECRET = "a text that must not be logged"


def fail() -> None:
    """Fail with a text that must not be logged."""
    raise LookupError(SECRET) from ValueError(SECRET)


def test_type_and_places_and_no_text() -> None:
    """Its type, then each file, line and function of its traceback, innermost last, without its text."""
    try:
        fail()
    except LookupError as error:
        shown = places_of(error)
    name = re.escape("test_places.py")
    assert re.fullmatch(rf"LookupError at {name}:\d+ test_type_and_places_and_no_text > {name}:\d+ fail", shown)


def test_one_that_was_never_raised_is_its_type() -> None:
    """Without a traceback there are no places."""
    assert (places_of(KeyError(SECRET)), places(KeyError, None)) == ("KeyError", "KeyError")
