"""The guard of the protos: what breaks older stubs is found, what adds to them is not.

The service config covers what the protos declare repeatable, however many rpcs and services there are.

The npm package's entry points export what the protos declare, under the names that ts-proto gives.

protos/buf.gen.yaml, the example for other languages, gives code with the programs that are here.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodOptions

import contract
import node_index
import proto_image
import service_config
from contract import Rpc
from protos import PROTOS, ROOT

Change = Callable[[FileDescriptorProto], None]


def message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    """Return one of a file's messages."""
    return next(one for one in file.message_type if one.name == name)


def rename_field(file: FileDescriptorProto) -> None:
    """Give a field another name: its JSON and the code change."""
    message(file, "TerminateRequest").field[1].name = "gamer_id"


def change_type(file: FileDescriptorProto) -> None:
    """Make a number a string."""
    field = message(file, "TerminateRequest").field[1]
    field.type = field.TYPE_STRING


def delete_field(file: FileDescriptorProto) -> None:
    """Take a field away."""
    del message(file, "TerminateResponse").field[0]


def delete_rpc(file: FileDescriptorProto) -> None:
    """Take an rpc away."""
    del file.service[0].method[0]


def forbid_retries(file: FileDescriptorProto) -> None:
    """No longer declare an rpc idempotent."""
    file.service[0].method[0].options.idempotency_level = MethodOptions.IDEMPOTENCY_UNKNOWN


def add_field(file: FileDescriptorProto) -> None:
    """Add a field with a number of its own."""
    message(file, "TerminateRequest").field.add(
        name="note", number=99, type="TYPE_STRING", label="LABEL_OPTIONAL", json_name="note"
    )


def add_rpc(file: FileDescriptorProto) -> None:
    """Add an rpc."""
    added = file.service[0].method.add()
    added.CopyFrom(file.service[0].method[0])
    added.name = "TerminateAgain"


def nothing(_file: FileDescriptorProto) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("change", "breaks"),
    [
        (rename_field, True),
        (change_type, True),
        (delete_field, True),
        (delete_rpc, True),
        (forbid_retries, True),
        (add_field, False),
        (add_rpc, False),
        (nothing, False),
    ],
)
def test_what_breaks_older_stubs(change: Change, breaks: bool) -> None:  # noqa: FBT001 - a case's expectation
    """A change of the protos is refused exactly if a caller with older stubs would notice it."""
    old = proto_image.current()
    new = FileDescriptorSet.FromString(old.SerializeToString())
    change(next(file for file in new.file if file.name == "wallet/v1/wallet_service.proto"))
    assert proto_image.breaks(new, proto_image.ours(old)) is breaks


def test_the_image_is_the_contract_of_now() -> None:
    """protos/landed.txtpb has everything that protos/ says, its options too, and reading it back loses nothing."""
    now = proto_image.ours(proto_image.current())
    assert proto_image.rendered(proto_image.landed()) == proto_image.rendered(now)
    assert 'post: "/api/wallet/terminate"' in proto_image.rendered(now)
    assert "[wallet.v1.echo]: true" in proto_image.rendered(now)


RPCS = [
    Rpc("wallet.v1.WalletService", "Terminate", repeatable=True),
    Rpc("wallet.v1.WalletService", "GrantBonus", repeatable=False),
    Rpc("wallet.v1.OtherService", "Freeze", repeatable=True),
]


def test_only_what_is_repeatable_has_a_policy() -> None:
    """Each repeatable rpc is named once, by service and method; one that moves money is not."""
    (policy,) = json.loads(service_config.render(RPCS))["methodConfig"]
    assert policy["name"] == [
        {"service": "wallet.v1.WalletService", "method": "Terminate"},
        {"service": "wallet.v1.OtherService", "method": "Freeze"},
    ]
    assert policy["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_nothing_repeatable() -> None:
    """Without a repeatable rpc there is no policy at all: one without a name is an error in some libraries."""
    assert json.loads(service_config.render(RPCS[1:2]))["methodConfig"] == []


NESTED = FileDescriptorProto(name="wallet/v1/nested.proto", package="wallet.v1")
_outer = NESTED.message_type.add(name="Outer")
_outer.nested_type.add(name="Inner").enum_type.add(name="Kind")
_outer.nested_type.add(name="LimitsEntry").options.map_entry = True
NESTED.service.add(name="BonusService")


def test_names_of_nested_types() -> None:
    """A message inside a message is Outer_Inner, an enum inside it likewise; a map's entries are not exported."""
    names = node_index.exports([NESTED])["wallet/v1/nested"]
    assert names == ["BonusServiceClient", "BonusServiceService", "Outer", "Outer_Inner", "Outer_Inner_Kind"]


def test_every_export_is_there() -> None:
    """Each name that an entry point takes from a generated file is exported by that file."""
    for file, names in node_index.exports(contract.load()).items():
        code = (ROOT / "generated" / "node" / "lib" / f"{file}.js").read_text(encoding="utf-8")
        assert set(names) <= set(
            re.findall(r"exports\.(\w+) =", code)
            + re.findall(r"\(exports\.(\w+) =", code)
            + re.findall(r"\|\| \(exports\.(\w+) = ", code)
        )


def test_both_kinds_of_import_have_the_same_names() -> None:
    """What `require` gives, `import` gives, and nothing else."""
    texts = node_index.render(contract.load())
    listed = [re.findall(r"^  (\w+),$", texts[name], re.MULTILINE) for name in ("index.js", "index.mjs")]
    assert listed[0] == listed[1] == [*sorted(listed[0][:-1]), "serviceConfig"]


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
