"""Settings in words: their names in TOML and in the environment, what is said of a wrong one, what --check prints.

    wallet.providers.12345.access_key   BRIDGE_WALLET__PROVIDERS__12345__ACCESS_KEY

Nothing here ever looks at a value that came in, except to print settings that have passed every check.
"""

import difflib
import enum
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

PREFIX = "BRIDGE_"
SEPARATOR = "__"
MASK = "********"

ANY = "*"
"""Stands in `Setting.below` for every id of a table like [wallet.providers.<id>]."""

Key = tuple[str, ...]
"""A place in the settings: ("server", "listen")."""

REFUSED = "refused"
"""The type of an error that says in its own words what is wrong; any other says what the setting must be."""

FLAWED = "flawed"
"""The type of an error that adds to what the setting must be why its value is not that."""

ELSEWHERE = "elsewhere"
"""The type of an error that the line of another setting reports already."""

UNKNOWN_DEFAULT = "default_factory_not_called"
"""pydantic's type for a default that follows from other settings, where one of them is wrong: likewise."""

IN_KEY = "[key]"
"""Where pydantic ends the place of an error in a mapping's key."""

MISSING = "is missing"
"""Start of a line, after its key, that asks for a setting that is needed and not there."""

SAID_ELSEWHERE = frozenset({ELSEWHERE, UNKNOWN_DEFAULT})

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that exists: a value, or a table of further settings."""

    must_be: str
    """Words for what it may hold; they follow "must be"."""
    below: Mapping[str, "Setting"] = field(default_factory=dict)
    """Empty for a value."""
    is_path: bool = False
    is_secret: bool = False
    is_list: bool = False


def settings_of(model: type[BaseModel]) -> dict[str, Setting]:
    """Return every setting of a model, tables with what is below them."""
    return {name: _setting(info) for name, info in model.model_fields.items()}


def find(known: Mapping[str, Setting], key: Key) -> Setting | None:
    """Return the setting at a place; None where there is none."""
    setting = None
    for name in key:
        setting = known.get(name, known.get(ANY))
        if setting is None:
            return None
        known = setting.below
    return setting


def dotted(key: Key) -> str:
    """Return a key in TOML notation: wallet.providers.12345."""
    return ".".join(part if BARE_KEY.fullmatch(part) else json.dumps(part) for part in key)


def variable_name(key: Key) -> str:
    """Return the environment variable of a setting: BRIDGE_WALLET__URL."""
    return PREFIX + SEPARATOR.join(key).upper()


def key_of(variable: str) -> Key:
    """Return the key that an environment variable names, whether it exists or not."""
    return tuple(variable.removeprefix(PREFIX).lower().split(SEPARATOR))


def one_line(text: str) -> str:
    """Return a text that is printed as it is, or else quoted with escapes."""
    return text if text.isprintable() else json.dumps(text)


def unknown_key(key: Key, known: Mapping[str, Setting]) -> str:
    """Return the line for a key that does not exist."""
    closest = _closest(key, (other for other, _ in _keys_like(key, known) if key[: len(other)] != other))
    return _not_a_setting(dotted(key), dotted(closest) or ".".join(_in_a_table(key[-1], known)))


def no_table(key: Key, siblings: Mapping[str, Setting], setting: Setting) -> str:
    """Return what is wrong with a value that stands where a table must be. `siblings`: what may stand beside it."""
    if ANY in setting.below:
        return f"must hold tables, [{dotted(key)}.<id>]"
    if key[-1] in siblings:
        return f"must be a table, [{dotted(key)}]"
    names = [name for name in setting.below if not name.endswith("_file")]
    if key[-1] in setting.below:
        return f"must stand in a table with an id, [{dotted(key[:-1])}.<id>]"
    return f"must be a table, [{dotted(key)}], with {', '.join(names)}"


def unknown_variable(name: str, key: Key, known: Mapping[str, Setting]) -> str:
    """Return the line for a variable that gives no setting: its name is wrong, or names a table."""
    closest = _closest(key, (other for other, setting in _keys_like(key, known) if not setting.below))
    closest = closest or _in_a_table(key[-1], known)
    return _not_a_setting(name, variable_name(closest) if closest else "")


def error_lines(
    error: ValidationError, known: Mapping[str, Setting], variables: Mapping[Key, str], reported: Iterable[Key] = ()
) -> list[str]:
    """Return one line for each wrong setting: its key, what it must be, and the variable that had a part in it.

    `reported`: places that have a line already, which a wrong table above them only follows from.
    """
    places = tuple(reported)
    details = [
        detail
        for detail in error.errors(include_url=False, include_input=False)
        if detail["type"] not in SAID_ELSEWHERE
        and not any(place[: len(_key(detail))] == _key(detail) for place in places)
    ]
    return [_error_line(detail, known, variables) for detail in details]


def describe(settings: BaseModel) -> str:
    """Return every setting that has a value, defaults too, as one line in TOML notation, secrets masked."""
    return "\n".join(f"{dotted(key)} = {_toml(value)}" for key, value in _values(settings, ()))


def _setting(info: FieldInfo) -> Setting:
    must_be = info.description or "a table"
    types = tuple(_types(info.annotation))
    table = next((kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    if table is None:
        is_list = any(get_origin(kind) is tuple for kind in types)
        is_secret = any(isinstance(kind, type) and issubclass(kind, SecretStr) for kind in types)
        return Setting(must_be, is_path=Path in types, is_secret=is_secret, is_list=is_list)
    below = settings_of(table)
    is_optional = type(None) in types
    return Setting(must_be, below if table is info.annotation or is_optional else {ANY: Setting("a table", below)})


def _types(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


def _closest(key: Key, keys: Iterable[Key]) -> Key:
    by_name = {dotted(other): other for other in keys}
    same = next((other for other in by_name.values() if other[-1] == key[-1]), ())
    # The section's name makes all keys of a section a little alike, which must not be enough.
    names = difflib.get_close_matches(dotted(key), by_name, n=1, cutoff=0.75)
    return same or (by_name[names[0]] if names else ())


def _keys_like(key: Key, known: Mapping[str, Setting], above: Key = ()) -> Iterator[tuple[Key, Setting]]:
    """Yield every key there is, with the ids that the given key has in their places."""
    id_ = key[len(above)] if len(key) > len(above) else ""
    for name, setting in known.items():
        if name != ANY or id_.isdecimal():
            here = (*above, id_ if name == ANY else name)
            yield here, setting
            yield from _keys_like(key, setting.below, here)


def _in_a_table(name: str, known: Mapping[str, Setting], above: Key = ()) -> Key:
    """Return the place of this name in a table with ids, like wallet.providers.<id>.access_key; () for none."""
    for part, setting in known.items():
        if part == ANY and name in setting.below:
            return (*above, "<id>", name)
        if found := _in_a_table(name, setting.below, (*above, part)):
            return found
    return ()


def _not_a_setting(name: str, closest: str) -> str:
    hint = f"; did you mean {closest}?" if closest else ""
    return f"{one_line(name)}: is not a setting{hint}"


def _key(detail: ErrorDetails) -> Key:
    parts = detail["loc"][:-1] if detail["loc"][-1] == IN_KEY else detail["loc"]
    return tuple(str(part) for part in parts)


def _error_line(detail: ErrorDetails, known: Mapping[str, Setting], variables: Mapping[Key, str]) -> str:
    key = _key(detail)
    return f"{dotted(key)}: {_complaint(detail['type'], detail['msg'], find(known, key))}{_given(key, variables)}"


def _complaint(kind: str, message: str, setting: Setting | None) -> str:
    if kind == REFUSED:
        return message
    if setting is None:
        return "is not a setting"
    if kind == FLAWED:
        return f"must be {setting.must_be}; {message}"
    return f"{MISSING}; must be {setting.must_be}" if kind == "missing" else f"must be {setting.must_be}"


def _given(key: Key, variables: Mapping[Key, str]) -> str:
    # A wrong table may be a matter of any key in it, a wrong secret one of its file.
    file_key = (*key[:-1], f"{key[-1]}_file")
    for given, variable in variables.items():
        if given[: len(key)] == key or given == file_key:
            return f" ({one_line(variable)} is set)"
    return ""


def _values(value: Any, key: Key) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _values(getattr(value, name), (*key, name))
    elif isinstance(value, Mapping):
        for id_, below in sorted(value.items()):
            yield from _values(below, (*key, str(id_)))
    elif value is not None:
        yield key, value


def _toml(value: Any) -> str:
    if type(value) is SecretStr:
        return json.dumps(MASK)
    if isinstance(value, enum.Enum):
        return json.dumps(value.name)
    if isinstance(value, tuple):
        return json.dumps(value)
    return json.dumps(value if isinstance(value, (bool, int, float)) else str(value))
