"""Values of a single setting: the types of its value, each with its check. No check's error shows the value."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from bridge.address import AddressError, split_listen
from bridge.errors import REASONS
from bridge.identity import SPIFFE, is_allowed_identity
from bridge.outcome import CODE_SUCCESS, GrpcCode
from bridge.settings.files import read_file
from bridge.settings.messages import ELSEWHERE, FLAWED, REFUSED, one_line
from bridge.settings.url import canonical_url, url_problem

UINT64_MAX = 2**64 - 1

# No leading zeros, signs, spaces or other digits: one number has one spelling, so that no id can be there twice.
DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")


class Section(BaseModel):
    """A table of settings that cannot change once it is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


def refused(text: str) -> PydanticCustomError:
    """Return an error whose line is the key and this text, which must not hold the value."""
    return PydanticCustomError(REFUSED, "{text}", {"text": text})


def flawed(cause: str) -> PydanticCustomError:
    """Return an error whose line is the key, what it must be, and this cause, which must not hold the value."""
    return PydanticCustomError(FLAWED, "{text}", {"text": cause})


def earlier(info: ValidationInfo, name: str) -> Any:
    """Return the value of a setting that stands before the one in question; where it is wrong, its line is enough."""
    if name not in info.data:
        raise PydanticCustomError(ELSEWHERE, "its own line says it")
    return info.data[name]


def read_secret(file: Path, key: str) -> SecretStr:
    """Return a secret file's text without the line end, or other single white space, that an editor leaves behind."""
    content, problem = read_file(file)
    if problem:
        # The file's name stays out: it may be a secret that was given under the wrong key.
        is_in_folder = problem == os.strerror(errno.ENOENT) and file.parent.is_dir()
        raise refused(f"{key} cannot be read: {problem}{f' in {one_line(str(file.parent))}' if is_in_folder else ''}")
    # Whatever is no text becomes U+FFFD, which no secret may have.
    text = content.decode(errors="replace")
    return SecretStr(re.sub(r"(?:\r\n|\s)\Z", "", text))


def shape(pattern: str) -> Callable[[SecretStr], bool]:
    """Return a test of whether a secret's whole text matches a pattern."""
    compiled = re.compile(pattern)
    return lambda secret: compiled.fullmatch(secret.get_secret_value()) is not None


def _listen(text: str) -> str:
    try:
        split_listen(text)
    except AddressError as error:
        problem = str(error)
    else:
        return text
    raise flawed(problem)


def _listen_or_none(text: str) -> str:
    return text and _listen(text)


def _wallet_url(text: str) -> str:
    if problem := url_problem(text):
        raise flawed(problem)
    return canonical_url(text)


def _identities(value: object) -> object:
    # As a whole, so that the setting has one line, however many of its items are wrong. None: it was not given.
    if value is None:
        return None
    if isinstance(value, str):
        raise flawed('it is a text: write ["..."]')
    if not isinstance(value, list):
        raise ValueError  # noqa: TRY004 - pydantic passes a TypeError on
    if not value:
        raise flawed("it is empty, and would let no caller in")
    for number, item in enumerate(value, 1):
        if not isinstance(item, str) or not is_allowed_identity(item):
            raise flawed(f"item {number} is {_identity_problem(item)}")
    return value


def _identity_problem(item: object) -> str:
    if not isinstance(item, str):
        return "no text"
    if not item:
        return "empty"
    if "*" in item:
        return "a pattern of another kind"
    return "no SPIFFE ID (SPIFFE-ID, section 2)" if item.startswith(SPIFFE) else "neither a DNS name nor a URI"


def _number(value: object) -> object:
    # pydantic takes true for 1.
    if value is True or value is False:
        raise ValueError
    return value


def _uint64(lowest: int) -> BeforeValidator:
    def check(text: object) -> int:
        if isinstance(text, str) and DECIMAL.fullmatch(text) and lowest <= int(text) <= UINT64_MAX:
            return int(text)
        raise refused(f"must have a number from {lowest} to {UINT64_MAX} as its last part, without leading zeros")

    return BeforeValidator(check)


def _not_success(code: int) -> int:
    if code == CODE_SUCCESS:
        raise refused("cannot be mapped: code 1 is the wallet's success")
    return code


def _grpc_code(name: object) -> GrpcCode:
    if not isinstance(name, str) or name not in GrpcCode.__members__ or name == GrpcCode.OK.name:
        raise ValueError
    return GrpcCode[name]


def _own_reason(reason: str) -> str:
    if reason in REASONS:
        raise refused("must be another reason: this one is the bridge's own")
    return reason


Listen = Annotated[str, AfterValidator(_listen)]
ListenOrNone = Annotated[str, AfterValidator(_listen_or_none)]
Identities = Annotated[tuple[str, ...] | None, BeforeValidator(_identities)]
WalletUrl = Annotated[str, AfterValidator(_wallet_url)]
Seconds = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_number)]
ProviderId = Annotated[int, _uint64(1)]
CodeNumber = Annotated[int, _uint64(0), AfterValidator(_not_success)]
GrpcCodeName = Annotated[GrpcCode, BeforeValidator(_grpc_code)]
Reason = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,62}$"), AfterValidator(_own_reason)]
