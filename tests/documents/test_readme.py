"""README and docs must be true: what they list is what the code has."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bridge.errors import leaves
from bridge.sandbox import markdown
from bridge.settings.model import load
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
DEVELOPMENT, OPERATIONS = ((DOCS / name).read_text() for name in ("development.md", "operations.md"))
README_BYTES_MAX = 8_000


def test_readme_is_short() -> None:
    """The README stays below 8 kB; what is longer has a page in docs/."""
    assert len(README.encode()) <= README_BYTES_MAX


def test_pictures_are_drawn_from_their_sources() -> None:
    """Each picture of docs/pictures/ is what `make pictures` draws from the source beside it."""
    drawing = [sys.executable, str(ROOT / "tools" / "draw.py"), "--check"]
    assert subprocess.run(drawing, check=False, capture_output=True, text=True).stderr == ""  # noqa: S603 - our own tool


def test_every_failure_is_a_row() -> None:
    """The table of failures has exactly the reasons of the error tree, each with its gRPC code and outcome."""
    text = (DOCS / "failures.md").read_text()
    rows = re.findall(r"^\| ([A-Z_]+) \| .* \| ([A-Z_]+) \| ([A-Z_]+) \|$", text, re.MULTILINE)
    tree = [(leaf.reason, leaf.grpc_code.name, leaf.outcome.name) for leaf in leaves()]
    assert sorted(rows) == sorted(tree)


def test_test_tokens() -> None:
    """The table of test tokens is the sandbox's own."""
    assert markdown() in (DOCS / "sandbox.md").read_text()


def test_settings_example_loads(tmp_path: Path) -> None:
    """The example of the settings loads as it stands, but for the secret files, which a machine of yours has not."""
    example = re.search(r"```toml\n(.*?)```", (DOCS / "settings.md").read_text(), re.DOTALL)
    assert example is not None
    text = example[1].replace("/run/secrets/", "")
    (tmp_path / "access_key").write_text(ACCESS_KEY)
    (tmp_path / "private_key").write_text(PRIVATE_KEY)
    (tmp_path / "bridge.toml").write_text(text)
    settings = load(tmp_path / "bridge.toml", {})
    shown = {section: set(table) for section, table in tomllib.loads(text).items()}
    # What is optional and has no default stands in a comment.
    commented = {
        header: set(re.findall(r"^# (\w+) =", body, re.MULTILINE))
        for header, body in re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    }
    for section in ("server", "wallet", "telemetry"):
        assert shown[section] | commented[section] == set(type(getattr(settings, section)).model_fields)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)`", README + DEVELOPMENT))))
def test_make_targets_exist(target: str) -> None:
    """Every make target that README and docs/development.md name is one, with its line in `make help`."""
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


PATHS = re.findall(r"`((?:bridge|tests|protos|generated|deploy|docs)/[\w/.-]*)`", README + DEVELOPMENT + OPERATIONS)


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_named_files_exist(path: str) -> None:
    """Every file and folder that README, docs/development.md and docs/operations.md name is there."""
    assert (ROOT / path).exists()
