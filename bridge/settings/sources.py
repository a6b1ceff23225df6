"""Where settings come from: the TOML file and the environment, each checked for names and brought into one shape.

    bridge.toml   [wallet.providers.12345] access_key = "..."          -> {"wallet": {"providers": {"12345": ...}}}
    environment   BRIDGE_WALLET__PROVIDERS__12345__ACCESS_KEY = "..."  -> the same

What a setting may hold is the models' business (model.py); here only names count, and three kinds of value: a secret
is wrapped where it enters, so that nothing behind can print it, a path gets the folder that it is relative to, and a
list is read from a variable's text: either JSON, ["a", "b"], or with commas, a,b.
"""

import codecs
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bridge.settings.files import read_file
from bridge.settings.messages import (
    ANY,
    PREFIX,
    Key,
    Setting,
    dotted,
    find,
    key_of,
    no_table,
    one_line,
    unknown_key,
    unknown_variable,
    variable_name,
)

TOML_ERROR = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)")


TOML_HINTS = {
    "Invalid statement": 'each line is [table] or key = "value"',
    "Expected '=' after a key": 'each line is [table] or key = "value"',
    "Invalid value": "a text stands in quotes",
    "Cannot overwrite a value": "the key stands there twice",
    "Cannot declare": "the table stands there twice",
    "Unescaped '\\' in a string": "in 'single quotes' a backslash stands for itself",
}
"""Beginning of an error of tomllib -> what to do. Without its line here an error is as tomllib words it."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "UTF-8",
    # Before UTF-16, with which it begins.
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""First bytes of a file -> its encoding. TOML is UTF-8 (TOML 1.0.0, "Spec")."""

HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class Source:
    """Content of one source: a tree of known settings only, and a line for each name that is none."""

    tree: dict[str, Any]
    problems: tuple[str, ...] = ()
    variables: Mapping[Key, str] = field(default_factory=dict)
    """The environment variable that gave a setting; empty for a file."""
    no_tables: tuple[Key, ...] = ()
    """Places where a table should be and is not; each has its line among the problems."""


class UnreadableFile(Exception):
    """The configuration file gives no settings at all; the text is the line that says why."""


def toml_source(path: Path, known: Mapping[str, Setting]) -> Source:
    """Read a TOML file, relative paths in it counted from its own folder; raise UnreadableFile."""
    reading = _Reading(known, path.parent)
    tree = reading.checked(_parse(path, _read(path)), known, ())
    return Source(tree, tuple(reading.problems), no_tables=tuple(reading.no_tables))


def environment_source(environ: Mapping[str, str], known: Mapping[str, Setting]) -> Source:
    """Read all variables that start with BRIDGE_, relative paths in them counted from the working directory."""
    tree: dict[str, Any] = {}
    problems: list[str] = []
    variables: dict[Key, str] = {}
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        key = key_of(name)
        setting = find(known, key)
        # Upper case only: two spellings of one name would leave it open which of them counts.
        if setting is None or setting.below or variable_name(key) != name:
            problems.append(unknown_variable(name, key, known))
            continue
        variables[key] = name
        table = tree
        for part in key[:-1]:
            table = table.setdefault(part, {})
        text = environ[name]
        table[key[-1]] = _items(text) if setting.is_list else _entered(text, setting, Path())
    return Source(tree, tuple(problems), variables)


def _read(path: Path) -> bytes:
    content, problem = read_file(path)
    if problem:
        raise UnreadableFile(f"{one_line(str(path))}: cannot be read: {problem}")
    return content


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(_decoded(content))
    except _NotUtf8 as error:
        problem = str(error)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"line {line} is not TOML: it is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = _toml_problem(str(error))
    except RecursionError:
        problem = "is not TOML that can be read: it is nested too deep"
    except ValueError:
        # Python refuses to convert integers of more than 4300 digits.
        problem = "is not TOML that can be read: a number in it is too long"
    # Raised out here, so that no exception hangs on it that holds a piece of the file.
    raise UnreadableFile(f"{one_line(str(path))}: {problem}")


class _NotUtf8(Exception):
    """Text in another encoding. Its text is the problem."""


def _decoded(content: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise _NotUtf8(f"begins with a byte order mark of {encoding}: save it as UTF-8 without one")
    if b"\0" in content[:HEAD_BYTES]:
        raise _NotUtf8("is no text in UTF-8 (it has NUL bytes): save it as UTF-8")
    return content.decode()


def _toml_problem(text: str) -> str:
    hint = next((f" ({hint})" for start, hint in TOML_HINTS.items() if text.startswith(start)), "")
    place = TOML_ERROR.fullmatch(text)
    if place is None:
        return f"is not TOML: {one_line(text)}{hint}"
    return f"line {place['line']} is not TOML: {one_line(place['what'])}, at column {place['column']}{hint}"


@dataclass(frozen=True, slots=True)
class _Reading:
    """One passage through a file's tree."""

    all_known: Mapping[str, Setting]
    folder: Path
    problems: list[str] = field(default_factory=list)
    no_tables: list[Key] = field(default_factory=list)

    def checked(self, tree: Mapping[str, Any], known: Mapping[str, Setting], above: Key) -> dict[str, Any]:
        """Return the part of a tree that is known; add a line to the problems for each name that is not."""
        taken: dict[str, Any] = {}
        for name, value in tree.items():
            key = (*above, name)
            setting = known.get(name, known.get(ANY))
            if setting is None:
                self.problems.append(unknown_key(key, self.all_known))
            elif not setting.below:
                taken[name] = _entered(value, setting, self.folder)
            elif isinstance(value, dict):
                taken[name] = self.checked(value, setting.below, key)
            else:
                self.no_tables.append(key)
                self.problems.append(f"{dotted(key)}: {no_table(key, known, setting)}")
        return taken


def _entered(value: Any, setting: Setting, folder: Path) -> Any:
    if isinstance(value, str) and setting.is_secret:
        return SecretStr(value)
    if isinstance(value, str) and setting.is_path:
        return folder / value
    return value


def _items(text: str) -> Any:
    """Return the list that a variable's text is; JSON that cannot be read stays a text, which is no list."""
    if not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",")]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
