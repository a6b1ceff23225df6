"""Made-up tokens: no wallet knows them, and a wallet that checks a token's form takes them for one of its own."""

import secrets
import string
import uuid

CHARACTERS_MIN = 20
"""Number of letters and digits from which on a random replacement hits no real token: more than 64 random bits."""

ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


def made_up_token(live: str | None) -> str:
    """Return a random token of the live one's form; a UUID where there is none, or it is too short to be imitated."""
    if live is None or _is_uuid(live) or sum(map(_is_drawn, live)) < CHARACTERS_MIN:
        return str(uuid.uuid4())
    return "".join(map(_drawn, live))


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _is_drawn(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _drawn(character: str) -> str:
    alphabet = next((alphabet for alphabet in ALPHABETS if character in alphabet), character)
    return secrets.choice(alphabet)
