"""Protos that a test writes for itself: .proto text in, descriptors out.

    file = compile_proto(HEADER + "message Player { string name = 1; }")
    file.message_types_by_name["Player"], file.services_by_name["..."], file.enum_types_by_name["..."]
    player = message_class(file, "Player")(name="Ada")

The text may import whatever our own protos import. Every call has a descriptor pool of its own (`file.pool`), so that
two tests may name their messages alike; options such as google.api.http and wallet.v1.echo are read as usual.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc

FILE = "wallet_test.proto"

HEADER = """
syntax = "proto3";
package wallet.test;
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/type/decimal.proto";
import "wallet/v1/options.proto";
"""
"""What most protos of tests begin with. An import that goes unused is only a warning of protoc's."""

# google/api and google/type, google/protobuf, wallet/v1: as tools/protos.py finds them.
INCLUDES = (
    Path(annotations_pb2.__file__).parents[2],
    Path(protoc.__file__).parent / "_proto",
    Path(__file__).parents[2] / "protos",
)


def compile_proto(text: str) -> FileDescriptor:
    """Return the file that this .proto text means; what protoc does not like it says on standard error."""
    with TemporaryDirectory() as folder:
        image = Path(folder, "image.binpb")
        Path(folder, FILE).write_text(text)
        includes = [f"--proto_path={include}" for include in (folder, *INCLUDES)]
        code = protoc.main(["protoc", *includes, "--include_imports", f"--descriptor_set_out={image}", FILE])
        assert code == 0, "protoc refused the text"
        files = FileDescriptorSet.FromString(image.read_bytes()).file
    pool = DescriptorPool()
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(FILE)


def message_class(file: FileDescriptor, name: str) -> Any:
    """Return the class of a message of the file: typed as Any, for its fields are known to the test only."""
    return GetMessageClass(file.message_types_by_name[name])
