"""Facts that are kept of an answer. None is a text of the wallet's: such a text may contain a token or a key.

code, HTTP status, status     as they are; a code that spells a part of a secret is withheld
message                       absent, empty, or its length in characters
request_id                    the value if it is a UUID and no part of a secret, else its kind
headers                       those of KINDS, each as a word of ours
"""

import base64
import email.utils
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from bridge.http2.exchange import RawAnswer
from bridge.outcome import Outcome
from bridge.transcoding.verdict import Reading

UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

PART_CHARACTERS_MIN = 6
"""A shorter text is no part of a secret that would help anybody: a code like 7 stands in many tokens."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer, or why there was none, and what the bridge would report."""

    probe: str
    duration_s: float
    http_status: int = 0
    """0 where there was no answer."""
    status: bool | None = None
    """None where there was no wallet body."""
    code: int | None = None
    reason: str = ""
    """The bridge's reason; "" for OK."""
    outcome: Outcome | None = None
    """None for OK."""
    cause: str = ""
    """The bridge's own words."""
    message: str = "absent"
    request_id: str = "absent"
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    """Fields that a success lacks."""

    @property
    def is_answered(self) -> bool:
        """A whole HTTP answer came."""
        return self.http_status != 0

    @property
    def is_success(self) -> bool:
        """The bridge would report OK."""
        return self.is_answered and not self.reason

    @property
    def says_done(self) -> bool:
        """The wallet says that it has done what was asked, or the bridge takes it so, whatever else is wrong."""
        return self.status is True or self.is_success

    @property
    def has_wallet_body(self) -> bool:
        """The wallet itself wrote it."""
        return self.status is not None

    def is_like(self, other: "Seen") -> bool:
        """Say whether both answers are the same to a program: HTTP status, status and code."""
        return self.is_answered and (self.http_status, self.status, self.code) == (
            other.http_status,
            other.status,
            other.code,
        )


class Guard:
    """Knows the secrets of one request, and recognises a part of them. Its repr holds none."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = {_plain(form) for secret in secrets for form in _forms(secret)}

    def __repr__(self) -> str:
        return "Guard()"

    def hides(self, text: str) -> bool:
        """Say whether a text is a part of a secret, or a secret a part of it."""
        plain = _plain(text)
        if len(plain) < PART_CHARACTERS_MIN:
            return False
        return any(plain in form or (len(form) >= PART_CHARACTERS_MIN and form in plain) for form in self._forms)


def code_of(reading: Reading, guard: Guard) -> int | None:
    """Return the wallet's code; None where there is none, or it is withheld."""
    code = reading.facts.code
    return None if code is None or guard.hides(str(code)) else code


def message_of(reading: Reading) -> str:
    """Return the shape of the message."""
    if "message" not in reading.members:
        return "absent"
    characters = len(reading.facts.message)
    return f"{characters} characters" if characters else "empty"


def request_id_of(reading: Reading, guard: Guard) -> str:
    """Return the request_id if it can be shown, else its kind."""
    request_id = reading.facts.request_id
    if "request_id" not in reading.members:
        return "absent"
    if not UUID.fullmatch(request_id):
        return "no UUID"
    return "UUID withheld" if guard.hides(request_id) else request_id


def _plain(text: str) -> str:
    return text.lower().replace("-", "")


def _forms(secret: str) -> Iterable[str]:
    raw = secret.encode()
    yield from (secret, secret[::-1], quote(secret, safe=""), raw.hex())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode().rstrip("=")


# --- headers ----------------------------------------------------------------------------------------------------


def headers_of(raw: RawAnswer) -> dict[str, str]:
    """Return the headers that matter, each with its kind."""
    found: dict[str, str] = {}
    for raw_name, raw_value in raw.headers:
        name = raw_name.decode("latin-1")
        if name in KINDS:
            found[name] = "more than one" if name in found else KINDS[name](raw_value.decode("latin-1").strip())
    return found


def _one_of(*known: str) -> Callable[[str], str]:
    def kind(value: str) -> str:
        word = re.split(r"[;\s]", value.lower(), maxsplit=1)[0]
        return word if word in known else "other"

    return kind


def _date(value: str) -> str:
    try:
        email.utils.parsedate_to_datetime(value)
    except ValueError:
        return "other"
    return "date"


def _delay(value: str) -> str:
    return "seconds" if re.fullmatch("[0-9]{1,9}", value) else _date(value)


def _number(value: str) -> str:
    return "number" if re.fullmatch("[0-9]{1,19}", value) else "other"


def _present(_value: str) -> str:
    return "present"


KINDS: Mapping[str, Callable[[str], str]] = {
    "content-type": _one_of("application/json", "application/problem+json", "text/html", "text/plain"),
    "content-length": _number,
    "content-encoding": _one_of("identity", "gzip", "br", "deflate", "zstd"),
    "date": _date,
    "retry-after": _delay,
    "www-authenticate": _one_of("basic", "bearer", "digest"),
    "location": _present,
    "via": _present,
}
"""The headers that matter to the bridge or show which server answered, and the kinds of their values."""
