"""tools/plain_words.py finds the listed words, and only those."""

import pytest

import plain_words


def names(text: str, file: str = "a.py") -> list[str]:
    """Return the names of the words found in a text."""
    return [found.word.name for found in plain_words.found_in(file, text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Mend the fields.", ["mend"]),
        ("the error is mended", ["mend"]),
        ("def test_a_told_fault() -> None:", ["told"]),
        ("class ToldOf:", ["told"]),
        ("nobody's, and nobody", ["nobody", "nobody"]),
        ("a call that waits in line", ["in line"]),
        ("The caller leaves.", ["leaves"]),
        ("It repeats the POST", ["repeat"]),
        ("as it was told\nanew", ["told", "anew"]),
        ("amend, intelligent, untold, generational, leaves(), in line 3", []),
        ("wallet-safe-to-repeat and SAFE_TO_REPEAT", []),
        ("  repeated string call_ids = 2;", []),
        ("a repeated field", []),
        ("fix, retry, queue, reported, classify, again", []),
    ],
)
def test_finds_words(text: str, found: list[str]) -> None:
    """A listed word is found in prose, snake case and camel case; a longer word and an excepted phrase are not."""
    assert names(text) == found


def test_says_where_and_what_to_write() -> None:
    """A finding names the file, the line, the word as it stands there, and what to write instead."""
    (found,) = plain_words.found_in("docs/a.yaml", "fine\nMended here")
    assert str(found).startswith('docs/a.yaml:2: "Mended": write fix')


def test_each_folder_has_its_own_words() -> None:
    """A word that one folder still has is refused in every other one, and another word is refused in that folder."""
    found = [each for file in ("docs/a.yaml", "tools/b.py") for each in plain_words.found_in(file, "told, mended")]
    refused = plain_words.refused(found, {"docs": {"anew", "told"}})
    assert [(each.file, each.word.name) for each in refused] == [
        ("docs/a.yaml", "mend"),
        ("tools/b.py", "mend"),
        ("tools/b.py", "told"),
    ]


def test_left_is_what_is_found() -> None:
    """The words that are left are exactly those that were found, by folder of at most three levels."""
    found = [*plain_words.found_in("docs/a.yaml", "told"), *plain_words.found_in("t/unit/x/y/test_a.py", "anew told")]
    assert plain_words.left(found) == {"docs": {"told"}, "t/unit/x": {"anew", "told"}}


def test_only_text_of_the_repository_is_read() -> None:
    """Generated code, locks, pictures and the list itself are not checked; code, documents and protos are."""
    files = plain_words.files()
    assert {"bridge/errors.py", "README.md", "docs/failures.md", "protos/wallet/v1/wallet_error.proto"} <= set(files)
    assert not [name for name in files if name.startswith(("generated/", "requirements/")) or "plain_words" in name]
