"""buf lint with protos/buf.yaml on an image that protoc built: offline, and the same protoc that generates the code."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

from protos import PROTOS, compile_protos, sources

BUF = Path(sys.executable).parent / "buf"


def build_image(image: Path) -> None:
    """Write the descriptors of our protos and their imports, with comments, to this file."""
    compile_protos(f"--descriptor_set_out={image}", "--include_imports", "--include_source_info")


def imported(image: Path) -> list[str]:
    """Return the files of the image that are not ours, which buf must not check."""
    files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    return sorted({file.name for file in files} - set(sources()))


def main() -> int:
    """Lint every proto of ours and return buf's exit code: 0 clean, 100 with findings."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        build_image(image)
        config = Path(scratch) / "buf.yaml"
        ignored = "".join(f"    - {json.dumps(name)}\n" for name in imported(image))
        config.write_text(f"{(PROTOS / 'buf.yaml').read_text()}  ignore:\n{ignored}")
        return subprocess.run([BUF, "lint", image, "--config", config], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
