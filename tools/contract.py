"""The contract as descriptors: the files of protos/ as protoc reads them, for tools that write what follows."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodOptions

from protos import compile_protos, sources

RETRYABLE = frozenset({MethodOptions.IDEMPOTENT, MethodOptions.NO_SIDE_EFFECTS})


@dataclass(frozen=True, slots=True)
class Rpc:
    """One rpc: its place and what it says of retries."""

    service: str
    """The full name of its service: wallet.v1.WalletService."""
    method: str
    """Its own name: Terminate."""
    repeatable: bool
    """Whether it is declared IDEMPOTENT or NO_SIDE_EFFECTS."""


def load(extra_sources: Sequence[str] = ()) -> list[FileDescriptorProto]:
    """Return the descriptors of our protos, and of these others, sorted by their file's name; comments left out."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "contract.binpb"
        compile_protos(f"--descriptor_set_out={path}", extra_sources=extra_sources)
        wanted = {*sources(), *extra_sources}
        files = FileDescriptorSet.FromString(path.read_bytes()).file
        return sorted((file for file in files if file.name in wanted), key=lambda file: file.name)


def rpcs(files: Sequence[FileDescriptorProto]) -> Iterator[Rpc]:
    """Every rpc, in the order of its file."""
    for file in files:
        for service in file.service:
            for method in service.method:
                name = f"{file.package}.{service.name}"
                yield Rpc(name, method.name, method.options.idempotency_level in RETRYABLE)
