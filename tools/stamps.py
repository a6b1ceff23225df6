"""Version and Go module path, each written in one place and carried from there to every file that has a copy.

The version is `__version__` in bridge/__init__.py. The Go module path is the `module` line of generated/go/go.mod: a
fork writes its own there (as a rule the address of its repository and /generated/go), then runs `make proto`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from protos import ROOT

VERSION_FILE = ROOT / "bridge" / "__init__.py"
GO_MOD = ROOT / "generated" / "go" / "go.mod"
STUBS = "wallet-bridge-stubs"


class StampError(Exception):
    """A file has no place for what must stand in it. The text names both."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One place with a copy of the version or the module path."""

    file: str
    """Relative to the repository."""
    place: str
    """A regular expression over lines; its one group is what is replaced, at each match."""


def version() -> str:
    """Return the version of the bridge and of every package: MAJOR.MINOR.PATCH."""
    return _only(r'^__version__ = "(\d+\.\d+\.\d+)"$', VERSION_FILE)


def go_module() -> str:
    """Return the path of the Go module, dotted in its first element as Go requires of what is fetched."""
    return _only(r"^module ([a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[\w.~-]+)*)$", GO_MOD)


def _only(place: str, path: Path) -> str:
    found = re.findall(place, path.read_text(encoding="utf-8"), re.MULTILINE)
    if len(found) != 1:
        raise StampError(f"{path.relative_to(ROOT)}: must be one line like {place}, has {len(found)}")
    return str(found[0])


CHART = "deploy/helm/wallet-bridge/Chart.yaml"
VERSIONED = (
    Stamp("pyproject.toml", rf'^    "{STUBS}==(.+)",$'),
    Stamp("generated/python/pyproject.toml", r'^version = "(.+)"$'),
    Stamp("generated/node/package.json", r'^  "version": "(.+)",$'),
    # The first after the artifact's own name, not a dependency's.
    Stamp("generated/java/pom.xml", r"^  <artifactId>wallet-bridge</artifactId>\n  <version>(.+)</version>$"),
    Stamp(CHART, r"^version: (.+)$"),
    Stamp(CHART, r"^appVersion: (.+)$"),
    Stamp("deploy/Containerfile", r"^#   docker build .* -t wallet-bridge:(\S+) \.$"),
    Stamp("deploy/kustomize/base/deployment.yaml", r"^ +image: wallet-bridge:(\S+)$"),
    Stamp("deploy/kustomize/overlays/example/kustomization.yaml", r"^    newTag: (\S+)$"),
    Stamp(
        "tests/clients/java/sample/pom.xml", r"^ +<artifactId>wallet-bridge</artifactId>\n +<version>(.+)</version>$"
    ),
    Stamp("examples/callers/java/pom.xml", r"^ +<artifactId>wallet-bridge</artifactId>\n +<version>(.+)</version>$"),
    Stamp("docs/callers.md", r"^go mod edit -require \S+@v(\S+) -replace"),
    Stamp("docs/callers.md", r"^npm install \./wallet-bridge-(\S+)\.tgz"),
)
OF_GO_MODULE = (
    Stamp("tests/clients/go/go.mod", r"^\t(\S+) v0\.0\.0$"),
    Stamp("tests/clients/go/go.mod", r"^replace (\S+) => \S+/generated/go$"),
    Stamp("tests/clients/go/main.go", r'^\twalletv1 "(\S+)/wallet/v1"$'),
    Stamp("tests/clients/go/terminate.go", r'^\twalletv1 "(\S+)/wallet/v1"$'),
    Stamp("examples/callers/go/main.go", r'^\twalletv1 "(\S+)/wallet/v1"$'),
    Stamp("docs/callers.md", r"^\| Go 1\.\d+\+ \| module `(\S+)`,"),
    Stamp("docs/callers.md", r"^go mod edit -require (\S+)@"),
    Stamp("docs/callers.md", r"^go mod edit .* -replace (\S+)=\$BRIDGE/"),
)


def stamped() -> Iterator[tuple[Path, str]]:
    """Every file with a stamp and its text as it must be; StampError where a place is missing."""
    texts: dict[Path, str] = {}
    for stamps, value in ((VERSIONED, version()), (OF_GO_MODULE, go_module())):
        for stamp in stamps:
            path = ROOT / stamp.file
            texts[path] = put(stamp, value, texts.get(path) or path.read_text(encoding="utf-8"))
    yield from texts.items()


def put(stamp: Stamp, value: str, text: str) -> str:
    """Return the text of a stamp's file with this value in its place."""

    def with_value(match: re.Match[str]) -> str:
        start, end = (position - match.start() for position in match.span(1))
        return f"{match[0][:start]}{value}{match[0][end:]}"

    changed, places = re.subn(stamp.place, with_value, text, flags=re.MULTILINE)
    if not places:
        raise StampError(f"{stamp.file}: no place like {stamp.place}")
    return changed
