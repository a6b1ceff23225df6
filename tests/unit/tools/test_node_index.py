"""The npm package's entry points export what the protos declare, under the names that ts-proto gives."""

import re

from google.protobuf.descriptor_pb2 import FileDescriptorProto

import contract
import node_index
from protos import ROOT

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
