"""A copy of the repository with two operations added, as docs/development.md says ("Add an operation").

Freeze is idempotent, GrantBonus moves money; neither has a token.
"""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PROTO = "protos/wallet/v1/wallet_service.proto"
SANDBOX = "bridge/sandbox/operations.py"
TABLE = 'OPERATIONS: Mapping[str, Operation] = {"/api/wallet/terminate": TERMINATE}\n'
LONGER_TABLE = """\
OPERATIONS: Mapping[str, Operation] = {
    "/api/wallet/terminate": TERMINATE,
    "/api/wallet/freeze": FREEZE,
    "/api/wallet/bonus/grant": GRANT_BONUS,
}
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """Where the copy lies, and how its own commands run in it."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which the copy's code comes before any that is installed."""
        path = os.pathsep.join(str(self.folder / part) for part in ("", "generated/python"))
        return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *command: str) -> str:
        """Run a command in the copy; return what it printed."""
        ended = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False)  # noqa: S603 - our own commands
        assert ended.returncode == 0, (
            f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
        )
        return ended.stdout

    def make(self, *arguments: str) -> None:
        """Run make in the copy, which prints as it goes; interrupted, it leaves no process behind."""
        command = ("make", *arguments)
        with subprocess.Popen(command, cwd=self.folder, env=self.environ, start_new_session=True) as process:  # noqa: S603 - likewise
            try:
                assert process.wait() == 0, f"{' '.join(command)} ended with {process.returncode}"
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def python(self, *arguments: str) -> str:
        """Run this environment's Python in the copy."""
        return self.run(sys.executable, *arguments)

    def text(self, path: str) -> str:
        """Return a file of the copy."""
        return (self.folder / path).read_text(encoding="utf-8")

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace what stands in a file exactly once."""
        text = self.text(path)
        assert text.count(old) == 1, f"{path} has {text.count(old)} times {old!r}"
        (self.folder / path).write_text(text.replace(old, new), encoding="utf-8")


def are_added() -> bool:
    """Return whether the operations are in the proto here: then this is such a copy."""
    return text_of("rpcs") in (ROOT / PROTO).read_text(encoding="utf-8")


def copied(folder: Path) -> Copy:
    """Copy everything that git knows, or would take, as it stands now, and add the operations; nothing is generated."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")  # noqa: S603 - likewise
    for name in filter(None, names):
        into = folder / name
        into.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # removed, but not from git's index, or gone since it was listed
            into.write_bytes((ROOT / name).read_bytes())
            into.chmod((ROOT / name).stat().st_mode)
    copy = Copy(folder)
    head, _, rest = copy.text(PROTO).partition("service WalletService {\n")
    service, _, messages = rest.partition("\n}\n")
    added = f"{head}service WalletService {{\n{service}\n\n{text_of('rpcs')}}}\n{messages}\n{text_of('messages')}"
    (folder / PROTO).write_text(added, encoding="utf-8")
    copy.edit(SANDBOX, TABLE, text_of("rows") + LONGER_TABLE)
    return copy


def text_of(name: str) -> str:
    """Return what is added, from the file beside this one."""
    return (HERE / f"{name}.txt").read_text(encoding="utf-8")
