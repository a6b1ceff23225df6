"""Retry-After, in both its forms and in no form at all."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.transcoding.retry_after import retry_after_s

DATE = "Wed, 21 Oct 2015 07:28:00 GMT"

SECONDS = {
    "zero": ("0", 0.0),
    "some": ("7", 7.0),
    "two digits": ("42", 42.0),
    "the most": ("60", 60.0),
    "more than the most": ("61", 60.0),
    "three digits": ("120", 60.0),
    "leading zero": ("007", 7.0),
    "many leading zeros": ("0" * 40 + "5", 5.0),
    "only zeros": ("0" * 40, 0.0),
    "5000 digits": ("9" * 5000, 60.0),
    "white space around": (" \t3 ", 3.0),
}

DATES = {
    "IMF-fixdate": ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
    "RFC 850": ("Wednesday, 21-Oct-15 07:28:30 GMT", 30.0),
    "asctime": ("Wed Oct 21 07:28:30 2015", 30.0),
    "now": (DATE, 0.0),
    "past": ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
    "far": ("Wed, 21 Oct 2099 07:28:30 GMT", 60.0),
}

GARBAGE = {
    "empty": "",
    "blank": " ",
    "word": "soon",
    "negative": "-1",
    "fraction": "1.5",
    "exponent": "1e1",
    "signed": "+1",
    "two values": "1, 2",
    "Arabic-Indic digits": "\u0661\u0662",
    "full-width digits": "\uff11\uff12",
    "superscript digits": "²",
    "weekday only": "Wed",
    "no such day": "Wed, 32 Oct 2015 07:28:30 GMT",
    "huge year": "Wed, 21 Oct 99999999999999999999 07:28:30 GMT",
    "huge seconds": "Wed, 21 Oct 2015 07:28:99999999999999999999 GMT",
    "two dates": "Wed, 21 Oct 2015 07:28:30 GMT, Wed, 21 Oct 2015 07:28:40 GMT",
    "two dates of asctime": "Wed Oct 21 07:28:30 2015, Wed Oct 21 07:28:40 2015",
    "seconds and a date": "7, Wed, 21 Oct 2015 07:28:30 GMT",
    "fraction of a second": "Wed, 21 Oct 2015 07:28:30.5 GMT",
    "hour 24": "Wed, 21 Oct 2015 24:28:30 GMT",
    "no such month": "Wed, 21 Okt 2015 07:28:30 GMT",
    "year of 5000 digits": f"Wed, 21 Oct {'2' * 5000} 07:28:30 GMT",
    "huge zone": "Wed, 21 Oct 2015 07:28:30 +99999999999999",
}


@pytest.mark.parametrize(("value", "delay_s"), SECONDS.values(), ids=SECONDS)
def test_seconds(value: str, delay_s: float) -> None:
    """A number of seconds is the delay, at most 60."""
    assert retry_after_s({"retry-after": value}, RECEIVED_AT_S) == delay_s


@pytest.mark.parametrize(("value", "delay_s"), DATES.values(), ids=DATES)
def test_a_date_counts_from_the_answers_own_date(value: str, delay_s: float) -> None:
    """Each form of an HTTP-date is measured against Date: 0 when it has passed, at most 60 (RFC 9110, 5.6.7)."""
    assert retry_after_s({"retry-after": value, "date": DATE}, RECEIVED_AT_S) == delay_s


@pytest.mark.parametrize("value", GARBAGE.values(), ids=GARBAGE)
def test_garbage_asks_for_nothing(value: str) -> None:
    """What is neither seconds nor a date is no delay."""
    assert retry_after_s({"retry-after": value, "date": DATE}, RECEIVED_AT_S) is None


def test_without_the_header_there_is_no_delay() -> None:
    """Nothing is guessed where the answer asks for nothing."""
    assert retry_after_s({}, RECEIVED_AT_S) is None
    assert retry_after_s({"date": DATE}, RECEIVED_AT_S) is None


# Half a second after 07:28:10, in whatever time zone the machine is.
RECEIVED_AT_S = datetime(2015, 10, 21, 7, 28, 10, 500_000, UTC).timestamp()
BAD_DATES = {
    "none": None,
    "empty": "",
    "word": "today",
    "no such day": "Wed, 32 Oct 2015 07:28:00 GMT",
    "two fields": f"{DATE}, {DATE}",
    "two fields of asctime": "Wed Oct 21 07:28:00 2015, Wed Oct 21 07:28:00 2015",
    "another zone": "Wed, 21 Oct 2015 07:28:00 +0200",
    "year of 5000 digits": f"Wed, 21 Oct {'9' * 5000} 07:28:00 GMT",
    "full-width digits": "Wed, \uff12\uff11 Oct 2015 07:28:00 GMT",
}
UNTIL = {
    "IMF-fixdate": ("Wed, 21 Oct 2015 07:28:30 GMT", 19.5),
    "RFC 850": ("Wednesday, 21-Oct-15 07:28:30 GMT", 19.5),
    "asctime": ("Wed Oct 21 07:28:30 2015", 19.5),
    "day of one digit": ("Sun, 1 Nov 2015 07:28:30 GMT", 60.0),
    "past": ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    "far": ("Wed, 21 Oct 2099 07:28:30 GMT", 60.0),
}


@pytest.mark.parametrize("date", BAD_DATES.values(), ids=BAD_DATES)
@pytest.mark.parametrize(("value", "delay_s"), UNTIL.values(), ids=UNTIL)
def test_a_date_without_a_usable_date_counts_from_the_receipt(value: str, delay_s: float, date: str | None) -> None:
    """Without a Date, or with one that cannot be read or is there twice, our clock at the receipt is the measure."""
    headers = {"retry-after": value} | ({} if date is None else {"date": date})
    assert retry_after_s(headers, RECEIVED_AT_S) == delay_s


# Near-dates find more than arbitrary text does: each piece is one that a date is made of.
DATE_PARTS = ("Wed", ", ", "21", " ", "Oct", "2015", "07:28:30", "GMT", "+0000", "-9999", ":", "9" * 20, "(", "\0")
PIECES = st.lists(st.sampled_from(DATE_PARTS)).map("".join)


@given(value=st.text() | PIECES, date=st.text() | PIECES | st.just(DATE))
@example(value="Wed, 21 Oct 2015 07:28:30 GMT", date="Wed, 21 Oct 2015 07:28:00 -99999999999999")
def test_no_text_makes_it_raise(value: str, date: str) -> None:
    """Whatever the headers hold, the delay is none, or 0 to 60 seconds."""
    delay_s = retry_after_s({"retry-after": value, "date": date}, RECEIVED_AT_S)
    assert delay_s is None or 0.0 <= delay_s <= 60.0
