"""Check the words of the repository: those that `WORDS` lists have a standard term that every reader knows.

    python tools/plain_words.py            fail on a listed word, unless plain_words_left.txt has it for that folder
    python tools/plain_words.py --all      print every listed word, those that are still allowed too
    python tools/plain_words.py --left     write plain_words_left.txt as it is now

It reads the files that git tracks. A word counts in prose and in names alike: `told`, `was_told` and `ToldOf` are one
word. To add a word, add a row with a term to write instead; to keep one in a fixed phrase (a public name, a term of a
protocol), add that phrase to the row's `except_in`.
"""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("bridge", "tests", "tools", "benchmarks", "docs", "protos", "deploy", "examples")
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "pyproject.toml")
TEXT = re.compile(r"/[^/.]+$|\.(conf|go|java|m?js|m?ts|md|proto|py|sh|toml|tpl|ya?ml)$|^Makefile$")
"""Names of files that people write."""
LEFT = ROOT / "tools" / "plain_words_left.txt"
ITSELF = {"tools/plain_words.py", "tests/unit/tools/test_plain_words.py"}
"""The files that must name the words."""


class Word(NamedTuple):
    """A listed word."""

    name: str
    pattern: str
    """Matched regardless of case, between characters that are no letters, or parts of a name in camel case."""
    write: str
    why: str
    except_in: str = ""
    """Phrases in which the word is right: a regular expression."""


WORDS = (
    Word(
        "mend",
        r"mend(s|ed|ing)?",
        "fix, correct",
        "the usual word for faults and fields",
        r"\bMEND\b|\bMend +Next|return Mend",  # constants of the sample callers
    ),
    Word("judge", r"judg(e|es|ed|ing|ements?|ments?)", "classify, check, decide", "the term for it"),
    Word("anew", r"anew", "again, or the verb with re-", "archaic"),
    Word("whoever", r"whoever", "name the party: caller, operator, reader", "a reader must not guess the party"),
    Word("goodbye", r"goodbyes?", "graceful close, GOAWAY, close_notify", "each protocol has its term (RFC 9113, 6.8)"),
    Word("generation", r"generations?", "key version, certificate version", "the term of key management"),
    Word(
        "told",
        r"told|tells?|telling",
        "report, log, notify, say, print",
        "the verb says where a report goes",
        r"\.tell\(\)",  # a method of files
    ),
    Word(
        "nobody",
        r"nobody('s)?",
        "unused, abandoned, unmapped, no caller",
        "the participle says what holds",
        r"\"user\": \"nobody\"",  # a user of Unix
    ),
    Word("stronger", r"stronger", "overrides, takes precedence", "the term for layers of configuration"),
    Word("who knows", r"who knows", "is unknown", "a question is no statement"),
    Word("way of a call", r"way of (a|the|one) call", "call path", "the term of architecture documents"),
    Word("go away", r"go(es)? away", "closes, exits, disconnects, cancels", "say what the peer does"),
    Word("in vain", r"in vain", "without success", "archaic"),
    Word("wants", r"wants", "must be, requires", "a rule is stated as a rule"),
    Word("leaves", r"(caller|client)s? (that |who )?(leaves?|has left|went)", "the client cancels", "gRPC's term"),
    Word("in line", r"(wait(s|ing)?|stands?|stood|place|time|turn) in line", "in the queue", "admission has a queue"),
    Word("heard", r"hears?|heard", "receive, learn", "bytes and events are received"),
    Word("stranger", r"strangers?", "another process, an unknown peer", "say what it is"),
    Word("somebody", r"somebody('s)?", "name the party, or another ...", "a reader must not guess the party"),
    Word(
        "repeat",
        r"repeat(s|ed|ing)?",
        "retry; echo, for a field of the request that stands in the answer",
        "gRPC and HTTP speak of retries",
        r"(?i:safe.to.repeat|never.repeat)|\bREPEAT\b|\bRepeat +Next|return Repeat"
        r"|repeated (field|'|float|string|uint64|google|message|\w+ \w+ = \d)|(nested or|provider_id|JSON of) repeated"
        r"|\"repeated\"|enum, repeated|is_repeated|itertools\.repeat",
    ),
)


def still_allowed() -> dict[str, set[str]]:
    """Return the words that the files of each folder still have; it only ever shrinks."""
    lines = LEFT.read_text().splitlines() if LEFT.exists() else []
    return {folder: set(words.split(", ")) for folder, _, words in (line.partition(": ") for line in lines)}


class Found(NamedTuple):
    """A listed word in a file."""

    file: str
    line: int
    text: str
    word: Word

    def __str__(self) -> str:
        return f'{self.file}:{self.line}: "{self.text}": write {self.word.write} ({self.word.why})'


def compiled(words: Iterable[Word] = WORDS) -> list[tuple[Word, re.Pattern[str], re.Pattern[str] | None]]:
    """Return each word with the pattern that finds it, and with that of its exceptions."""
    return [
        (word, re.compile(rf"(?<![a-zA-Z])(?i:{word.pattern})(?![a-z])"), _exceptions(word.except_in)) for word in words
    ]


def _exceptions(pattern: str) -> re.Pattern[str] | None:
    return re.compile(pattern) if pattern else None


PATTERNS = compiled()


def found_in(file: str, text: str) -> Iterator[Found]:
    """Yield every listed word of a text, line by line."""
    for number, line in enumerate(text.splitlines(), 1):
        for word, pattern, exceptions in PATTERNS:
            kept = line if exceptions is None else exceptions.sub("", line)
            yield from (Found(file, number, match[0], word) for match in pattern.finditer(kept))


def files() -> list[str]:
    """Return the tracked text files that are checked, as paths below the root."""
    listed = subprocess.run(["git", "ls-files", *PLACES, *PAGES], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607 - git by name
    present = (name for name in listed.stdout.splitlines() if (ROOT / name).is_file())
    # What a symbolic link leads to is checked at its own place.
    return [name for name in present if TEXT.search(name) and name not in ITSELF and not (ROOT / name).is_symlink()]


def folder_of(file: str) -> str:
    """Return the folder under which STILL_ALLOWED lists a file: at most three levels deep."""
    return "/".join(file.split("/")[:-1][:3]) or file


def all_found() -> list[Found]:
    """Return every listed word of the repository."""
    return [found for file in files() for found in found_in(file, (ROOT / file).read_text(encoding="utf-8"))]


def left(found: Iterable[Found]) -> dict[str, set[str]]:
    """Return the listed words of each folder."""
    names = defaultdict[str, set[str]](set)
    for each in found:
        names[folder_of(each.file)].add(each.word.name)
    return names


def refused(found: Iterable[Found], allowed: Mapping[str, AbstractSet[str]]) -> list[Found]:
    """Return those that their folder may not have."""
    return [each for each in found if each.word.name not in allowed.get(folder_of(each.file), ())]


def main(arguments: Sequence[str]) -> int:
    """Print what is asked for; return 1 when a word is refused."""
    found = all_found()
    if "--left" in arguments:
        LEFT.write_text("".join(f"{name}: {', '.join(sorted(words))}\n" for name, words in sorted(left(found).items())))
        return 0
    shown = found if "--all" in arguments else refused(found, still_allowed())
    print(*shown, sep="\n", end="\n" if shown else "")
    return bool(shown)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
