"""The samples on the pages of the packages, which are what a person sees first, work as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import toolchain
from bridge import sandbox
from bridge.cli.demo import demo_settings
from bridge.server.app import running
from protos import ROOT
from tests.support.processes import program

pytestmark = pytest.mark.long

GENERATED = ROOT / "generated"
TSC = toolchain.programs()["tsc"]


def sample(package: str, language: str) -> str:
    """Return the code on a package's page."""
    page = (GENERATED / package / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return str(code)


@pytest.mark.skipif(bool(toolchain.absent("tsc")), reason=toolchain.absent("tsc") or "tsc is installed")
@pytest.mark.timeout(300)
def test_node_sample_has_the_right_types(tmp_path: Path) -> None:
    """TypeScript takes the sample of the npm page, strictly, as an ES module and as CommonJS."""
    assert isinstance(TSC, toolchain.NodeProgram)
    modules = tmp_path / "node_modules"
    shutil.copytree(GENERATED / "node", modules / "wallet-bridge")
    for scope in ("@grpc", "@bufbuild", "@types"):
        (modules / scope).symlink_to(TSC.modules / scope)
    files = ("module.mts", "common.cts")
    for name in files:
        (tmp_path / name).write_text(sample("node", "js"), encoding="utf-8")
    # Without the check of the libraries, which takes most of the time: `make clients` compiles with it.
    options = "--strict --noEmit --skipLibCheck --module nodenext --target es2022 --types node"
    command = [str(TSC.path), *options.split(), *files]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert ended.returncode == 0, ended.stdout


async def test_python_sample_reaches_a_bridge() -> None:
    """The sample of the page of the Python stubs calls a bridge, which refuses a request without a player."""
    settings = {"BRIDGE_SERVER__LISTEN": "127.0.0.1:0"}
    async with sandbox.serve() as wallet, running(demo_settings(wallet.url, settings)) as bridge:
        code = sample("python", "python").replace("bridge:50051", bridge.address).replace("timeout=5", "timeout=60")
        environ = {**os.environ, "PYTHONPATH": str(GENERATED / "python")}
        async with program(sys.executable, "-c", code, env=environ) as command:
            assert await command.end() == 1
    assert "StatusCode.INVALID_ARGUMENT" in command.output
    assert "INVALID_REQUEST: " in command.output
