"""Protos that a test writes for itself: .proto text in, descriptors out.

    file = compile_proto(SOURCE, tmp_path)
    file.services_by_name["WalletService"], file.message_types_by_name["Player"], file.enum_types_by_name["Mood"]
    message_type = GetMessageClass(file.message_types_by_name["Player"])       # google.protobuf.message_factory

The text may import everything that our own protos import. Each call has a descriptor pool of its own (`file.pool`), so
that two tests may name their messages alike; options such as google.api.http and wallet.v1.echo are read as usual.
"""

import hashlib
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc

# Where google/api and google/type, google/protobuf, wallet/v1 are: as in tools/protos.py.
INCLUDES = (
    Path(annotations_pb2.__file__).parents[2],
    Path(protoc.__file__).parent / "_proto",
    Path(__file__).parents[1] / "protos",
)

HEADER = """
syntax = "proto3";
package wallet.test;
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/type/decimal.proto";
import "wallet/v1/options.proto";
"""
"""What most protos of tests begin with. An import that goes unused is only a warning of protoc's."""


def compile_proto(text: str, folder: Path) -> FileDescriptor:
    """Return the file that this .proto text means, written into and compiled in this folder."""
    name = f"p{hashlib.sha256(text.encode()).hexdigest()[:16]}.proto"
    image = folder / f"{name}.binpb"
    (folder / name).write_text(text)
    includes = [f"--proto_path={include}" for include in (folder, *INCLUDES)]
    arguments = ["protoc", *includes, "--include_imports", f"--descriptor_set_out={image}", name]
    # protoc says on standard error what it does not like.
    assert protoc.main(arguments) == 0, f"protoc refused {folder / name}"
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(image.read_bytes()).file:
        pool.Add(file)
    return pool.FindFileByName(name)
