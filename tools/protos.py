"""Where the protos and their imports are, and how protoc is called. Shared by the tools in this folder."""

import sys
from collections.abc import Sequence
from pathlib import Path

from google.api import annotations_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
# google/api, google/rpc and google/type come with googleapis-common-protos, google/protobuf with grpcio-tools.
INCLUDES = (PROTOS, Path(annotations_pb2.__file__).parents[2], Path(protoc.__file__).parent / "_proto")


def sources() -> list[str]:
    """Return every proto of ours, as paths relative to PROTOS, sorted."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))


def compile_protos(*outputs: str, extra_sources: Sequence[str] = ()) -> None:
    """Run protoc over every proto of ours, and these of others, with these outputs; exit with its code if it fails."""
    includes = (f"--proto_path={folder}" for folder in INCLUDES)
    arguments = ["protoc", *includes, *outputs, *sources(), *extra_sources]
    if code := protoc.main(arguments):
        sys.exit(code)
