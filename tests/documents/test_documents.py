"""Documents lead somewhere: what code and documents name is in the repository."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = {".md", ".py", ".proto", ".toml", ".yaml", ".yml", ".go", ".java", ".ts", ".js", ".sh"}

# A document by its path, with the section that is meant: docs/design/contract.md, "Time".
NAMED = re.compile(r"(?<![\w/.{}$-])((?:[\w-]+/)*[\w-]+\.md)(?:, \"([^\"\n]+)\")?")
GRPC_DOCUMENTS = "doc/"
"""How the documents of grpc/grpc are named there."""
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"],  # noqa: S607 - wherever it is installed
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if Path(name).suffix in TEXT]


def _headings(document: Path) -> set[str]:
    return set(HEADING.findall(document.read_text(encoding="utf-8")))


def _anchors(document: Path) -> set[str]:
    # As GitHub makes them: lower case, without punctuation, spaces as hyphens.
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in _headings(document)}


def _named_in_vain(file: Path) -> Iterator[str]:
    for name, section in NAMED.findall(file.read_text(encoding="utf-8")):
        if name.startswith(GRPC_DOCUMENTS):
            continue
        places = [ROOT / name, file.parent / name, *ROOT.glob(f"docs/**/{name}"), *ROOT.glob(f"deploy/**/{name}")]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            yield f"{file.relative_to(ROOT)} names {name}"
        elif section and section[0].isupper() and section not in _headings(found):
            yield f'{file.relative_to(ROOT)} names {name}, "{section}"'


def _broken_links(file: Path) -> Iterator[str]:
    for name, anchor in LINK.findall(file.read_text(encoding="utf-8")):
        target = file.parent / name if name else file
        if not target.exists():
            yield f"{file.relative_to(ROOT)} links to {name}"
        elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
            yield f"{file.relative_to(ROOT)} links to {name}#{anchor}"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what is tracked is known in a git checkout only")
def test_named_documents_exist() -> None:
    """Every document that is named somewhere is in the repository, with the section that is named."""
    assert [each for file in _tracked() for each in _named_in_vain(file)] == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what is tracked is known in a git checkout only")
def test_links_lead_somewhere() -> None:
    """Every link between documents leads to a file and to a heading of it."""
    assert [each for file in _tracked() if file.suffix == ".md" for each in _broken_links(file)] == []
