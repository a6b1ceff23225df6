"""Tools that people point at a gRPC server, with nothing but reflection: they list, describe and call.

Grpcurl and ghz are pinned in tools/toolchain.toml, and installed by `make tools`; buf is one of the Python packages.
"""

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import toolchain
from bridge import sandbox
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.server.reflection import NAMES
from tests.support.engines import on_both_engines
from tests.support.whole_path import bridge_to

pytestmark = [pytest.mark.long, on_both_engines]

METHOD = "wallet.v1.WalletService/Terminate"
DATA = json.dumps(TERMINATE_REQUEST)
BUF = str(Path(sys.executable).with_name("buf"))
BALANCE = "22085.75"


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test where a pinned program is not installed, and say how to install it."""
    return pytest.mark.skipif(bool(toolchain.absent(name)), reason=toolchain.absent(name) or f"{name} is installed")


async def printed(program: str | Path, *arguments: str) -> str:
    """Run a tool and return all that it prints; it must succeed. ADDRESS in an argument is the bridge's."""
    async with sandbox.serve() as wallet, bridge_to(wallet.url) as caller:
        process = await asyncio.create_subprocess_exec(
            program,
            *(argument.replace("ADDRESS", caller.bridge.address) for argument in arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


GRPCURL = {
    "list": (["ADDRESS", "list"], [*NAMES, "wallet.v1.WalletService", "grpc.health.v1.Health"]),
    "list methods": (["ADDRESS", "list", "wallet.v1.WalletService"], ["wallet.v1.WalletService.Terminate"]),
    "describe all": (["ADDRESS", "describe"], ["service WalletService", *(f"{name} is a service" for name in NAMES)]),
    "describe a method": (["ADDRESS", "describe", METHOD.replace("/", ".")], ["is a method", "rpc Terminate"]),
    "describe a message": (["ADDRESS", "describe", "wallet.v1.WalletError"], ["is a message"]),
    "describe an extension": (["ADDRESS", "describe", "wallet.v1.echo"], ["is an extension"]),
    "describe v1 itself": (["ADDRESS", "describe", NAMES[0]], [".grpc.reflection.v1.ServerReflectionRequest"]),
    "call": (["-d", DATA, "ADDRESS", METHOD], [BALANCE]),
}


@needs("grpcurl")
@pytest.mark.parametrize(("arguments", "shown"), GRPCURL.values(), ids=GRPCURL)
async def test_grpcurl(arguments: Sequence[str], shown: Sequence[str]) -> None:
    """Grpcurl, which asks v1 first."""
    output = await printed(toolchain.programs()["grpcurl"].path, "-plaintext", *arguments)
    assert [text for text in shown if text not in output] == []


BUF_CURL = {
    "list services": (["--list-services", "http://ADDRESS"], ["wallet.v1.WalletService"]),
    "list methods": (["--list-methods", "http://ADDRESS"], [METHOD]),
    "call": (["--data", DATA, f"http://ADDRESS/{METHOD}"], [BALANCE]),
}


@pytest.mark.skipif(shutil.which(BUF) is None, reason="buf is not installed")
@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
@pytest.mark.parametrize(("arguments", "shown"), BUF_CURL.values(), ids=BUF_CURL)
async def test_buf_curl(version: str, arguments: Sequence[str], shown: Sequence[str]) -> None:
    """Buf curl, by either version."""
    output = await printed(
        *(BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", version, *arguments)
    )
    assert [text for text in shown if text not in output] == []


@needs("ghz")
@pytest.mark.parametrize("call", [METHOD, METHOD.replace("/", ".")])
async def test_ghz(call: str) -> None:
    """Ghz, which looks for the method by its full name: all its calls are OK."""
    arguments = ["--insecure", "--call", call, "-d", DATA, "-n", "10", "-c", "2", "-O", "json", "ADDRESS"]
    report = json.loads(await printed(toolchain.programs()["ghz"].path, *arguments))
    assert report["statusCodeDistribution"] == {"OK": 10}
