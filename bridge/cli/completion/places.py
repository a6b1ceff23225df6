"""Places where a shell can stand in a command line of `bridge`, and what can follow there.

The flags are those that each command adds to its parser. A command gets a recorder in the place of that parser, which
has the methods of argparse.ArgumentParser that the commands use.
"""

import argparse
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

FILE = "FILE"
"""The metavar of a flag that takes a file."""
SUMMARY_CHARACTERS_MAX = 78


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag, and what it takes."""

    names: tuple[str, ...]
    summary: str
    takes_value: bool = False
    takes_file: bool = False
    choices: tuple[str, ...] = ()
    """The values there are; empty: any, or none."""


HELP = Flag(("-h", "--help"), "show the help and exit")
VERSION = Flag(("--version",), "show the version and exit")


@dataclass(frozen=True, slots=True)
class Place:
    """A command by its words, from "bridge" on, with what can stand behind it."""

    words: tuple[str, ...]
    commands: Mapping[str, str]
    """Sub-command, or value of a positional argument -> what it does, "" for a value."""
    flags: tuple[Flag, ...]

    @property
    def name(self) -> str:
        """The words, with spaces between them."""
        return " ".join(self.words)


class Recorder:
    """What a command adds to its parser. Has what the commands use of argparse.ArgumentParser."""

    description: str | None = None

    def __init__(self) -> None:
        self.flags = [HELP]
        self.values: list[str] = []
        self.commands: dict[str, tuple[str, Recorder]] = {}

    def add_argument(self, *names: str, **settings: Any) -> None:
        """Note a flag; of a positional argument its choices."""
        if settings.get("help") == argparse.SUPPRESS:
            return
        choices = tuple(map(str, settings.get("choices", ())))
        if not names[0].startswith("-"):
            self.values.extend(choices)
            return
        takes_file = settings.get("metavar") == FILE
        flag = Flag(names, _summary(settings), "action" not in settings, takes_file, choices)
        self.flags.append(flag)

    def add_argument_group(self, *_arguments: Any, **_settings: Any) -> "Recorder":
        """Return this: a group's flags are its parser's."""
        return self

    def add_subparsers(self, **_settings: Any) -> "Recorder":
        """Return this, to which sub-commands are added."""
        return self

    def add_parser(self, name: str, **settings: Any) -> "Recorder":
        """Note a sub-command, and return what notes its flags."""
        recorder = Recorder()
        self.commands[name] = (_summary(settings), recorder)
        return recorder

    def set_defaults(self, **_settings: Any) -> None:
        """Note nothing: a default is no word of the command line."""


def places(commands: Mapping[str, tuple[str, str]]) -> Sequence[Place]:
    """Return every place of a table of commands, name -> module and summary, the place before any command first."""
    root = Recorder()
    root.flags.append(VERSION)
    for name, (module, summary) in commands.items():
        command = root.add_parser(name, help=summary)
        importlib.import_module(module).add_arguments(cast("argparse.ArgumentParser", command))
    return tuple(_below(("bridge",), root))


def flag_words(each: Iterable[Place]) -> Iterator[tuple[Place, Flag, str]]:
    """Yield each flag under each of its names, with its place."""
    yield from ((place, flag, name) for place in each for flag in place.flags for name in flag.names)


def _below(words: tuple[str, ...], recorder: Recorder) -> Iterator[Place]:
    commands = {name: summary for name, (summary, _) in recorder.commands.items()}
    yield Place(words, commands | dict.fromkeys(recorder.values, ""), tuple(recorder.flags))
    for name, (_, below) in recorder.commands.items():
        yield from _below((*words, name), below)


def _summary(settings: Mapping[str, Any]) -> str:
    """Return the first clause of a help text, with its default written out as argparse does."""
    text = str(settings.get("help") or "") % {"default": settings.get("default")}
    clause = text.partition(";")[0]
    return clause if len(clause) <= SUMMARY_CHARACTERS_MAX else f"{clause[:SUMMARY_CHARACTERS_MAX]}…"
