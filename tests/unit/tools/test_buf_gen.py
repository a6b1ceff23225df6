"""protos/buf.gen.yaml, the example for other languages, gives code with the programs that are here."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import proto_image
from protos import PROTOS

TEMPLATE: dict[str, Any] = yaml.safe_load((PROTOS / "buf.gen.yaml").read_text(encoding="utf-8"))
BUILT_IN = [plugin for plugin in TEMPLATE["plugins"] if "protoc_builtin" in plugin]
LOCAL = [plugin for plugin in TEMPLATE["plugins"] if "local" in plugin]


def generate(folder: Path, plugins: list[dict[str, Any]]) -> list[Path]:
    """Run `buf generate` as the example says, with these of its plugins; return the files that it writes."""
    image, template = folder / "contract.binpb", folder / "template.json"
    proto_image.write_whole(image)
    template.write_text(json.dumps({**TEMPLATE, "plugins": plugins}), encoding="utf-8")
    command = ["generate", str(image), "--path", "wallet", "--template", str(template), "--output", str(folder / "out")]
    subprocess.run([str(proto_image.BUF), *command], check=True)  # noqa: S603 - our own
    return [path for path in (folder / "out").rglob("*") if path.is_file()]


def program(plugin: dict[str, Any]) -> str:
    """Return the program that a plugin takes: protoc for the languages that it knows itself."""
    return str(plugin.get("local", "protoc"))


@pytest.mark.parametrize("folder", sorted({plugin["out"] for plugin in TEMPLATE["plugins"]}))
def test_a_language_is_generated(tmp_path: Path, folder: str) -> None:
    """What the plugins that are here make of a language has our operations; the others' are left out."""
    plugins = [plugin for plugin in TEMPLATE["plugins"] if plugin["out"] == folder and shutil.which(program(plugin))]
    if not plugins:
        pytest.skip("neither protoc nor a plugin of this language is installed")
    assert any("TerminateRequest" in path.read_text(encoding="utf-8") for path in generate(tmp_path, plugins))


def test_every_language_has_messages_and_stubs() -> None:
    """C#, Kotlin, PHP and Rust have a folder each, and something that makes stubs in it."""
    assert {plugin["out"] for plugin in LOCAL} == {f"gen/{name}" for name in ("csharp", "kotlin", "php", "rust")}
    assert {plugin["protoc_builtin"] for plugin in BUILT_IN} == {"csharp", "kotlin", "php"}
