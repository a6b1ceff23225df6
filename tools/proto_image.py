"""The last landed contract, protos/landed.txtpb, and what `buf breaking` says of a change to it. Offline.

It holds the descriptors of our protos as text, so that a merge and a review can read it; what they import is added from
the present protoc. `make proto` brings it up to date, and refuses a change that breaks callers who have older stubs
unless it is informed that this is meant: `make proto BREAKING=1`. `make proto-lint` refuses an image that is behind.

What buf does not know (a REST path, `echo`, `settle`, a field that becomes REQUIRED) shows in the image's difference.
"""

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

from protos import PROTOS, ROOT, compile_protos, sources

LANDED = PROTOS / "landed.txtpb"
BUF = Path(sys.executable).parent / "buf"
BREAKING = 100
"""buf's exit code for findings."""


def current() -> FileDescriptorSet:
    """Return the descriptors of our protos and of what they import, as they are now, without comments."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "image.binpb"
        compile_protos(f"--descriptor_set_out={path}", "--include_imports")
        return FileDescriptorSet.FromString(path.read_bytes())


def ours(image: FileDescriptorSet) -> FileDescriptorSet:
    """Return the files of an image that are in protos/."""
    return FileDescriptorSet(file=[file for file in image.file if file.name in sources()])


def landed() -> FileDescriptorSet:
    """Return the image in the work tree; an empty one where there is none."""
    return _parsed(LANDED.read_text(encoding="utf-8")) if LANDED.exists() else FileDescriptorSet()


def committed() -> FileDescriptorSet:
    """Return the image of the last commit; that of the work tree where git knows none.

    A work tree's own may be from a minute ago: what has never landed may change freely.
    """
    name = LANDED.relative_to(ROOT).as_posix()
    command = ["git", "-C", str(ROOT), "show", f"HEAD:./{name}"]
    try:
        shown = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:  # no git
        return landed()
    return landed() if shown.returncode else _parsed(shown.stdout.decode())


def _parsed(text: str) -> FileDescriptorSet:
    image = text_format.Parse(text, _with_options()(), allow_unknown_extension=True)
    return FileDescriptorSet.FromString(image.SerializeToString())


def rendered(image: FileDescriptorSet) -> str:
    """Return the text of an image, our own options by their names."""
    return text_format.MessageToString(_with_options().FromString(image.SerializeToString()))


@functools.cache
def _with_options() -> type[Message]:
    """Return a FileDescriptorSet that knows every option of the protos: a pool of its own has their extensions."""
    pool = descriptor_pool.DescriptorPool()
    files = current().file
    for file in files:
        pool.Add(file)
    message_factory.GetMessageClassesForFiles([file.name for file in files], pool)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(FileDescriptorSet.DESCRIPTOR.full_name))


def breaks(new: FileDescriptorSet, old: FileDescriptorSet) -> bool:
    """Whether buf finds that the new image breaks callers of the old one (its rules of kind FILE); it prints each."""
    imported = [file for file in new.file if file.name not in sources()]
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / f"{name}.binpb" for name in ("new", "old")]
        for path, files in zip(paths, (ours(new).file, old.file), strict=True):
            path.write_bytes(FileDescriptorSet(file=[*imported, *files]).SerializeToString())
        config = json.dumps({"version": "v2", "breaking": {"use": ["FILE"]}})
        command = [str(BUF), "breaking", str(paths[0]), "--against", str(paths[1]), "--config", config]
        code = subprocess.run(command, check=False).returncode
    if code not in {0, BREAKING}:
        sys.exit(code)
    return code == BREAKING


def update(*, breaking_is_meant: bool) -> bool:
    """Write the image as the protos are now; False, and nothing is written, where they break the committed one."""
    now = current()
    if breaks(now, committed()) and not breaking_is_meant:
        print("protos: these changes break callers that have older stubs; if that is meant: `make proto BREAKING=1`")
        return False
    LANDED.write_text(rendered(ours(now)), encoding="utf-8")
    return True


def write_whole(path: Path) -> None:
    """Write the protos and all that they import as one image, for buf and other generators."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(current().SerializeToString(deterministic=True))


def main() -> int:
    """Compare the protos with the landed image; return 1 where they break it, or it is behind."""
    if sys.argv[1:2] == ["--write"]:
        write_whole(Path(sys.argv[2]))
        return 0
    now = current()
    is_behind = rendered(ours(now)) != rendered(landed())
    if is_behind and breaks(now, committed()):
        return 1
    if is_behind:
        print(f"{LANDED.relative_to(ROOT)} is not what protos/ gives: run `make proto` and commit")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
