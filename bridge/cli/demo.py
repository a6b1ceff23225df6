"""`make run`: sandbox and bridge in one process, one real Terminate through both, then service until Ctrl-C."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import TextIO

import grpc.aio
from google.protobuf import text_format

from bridge import sandbox
from bridge.cli.event_loop import run_to_end
from bridge.process.signals import stop_signal
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.server.app import running
from bridge.settings.model import Settings, load
from wallet.v1.wallet_service_pb2 import TerminateRequest, TerminateResponse
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

METHOD = "wallet.v1.WalletService/Terminate"


def demo_settings(wallet_url: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return settings for the sandbox at this URL with its published sample keys; `environ` overrides them."""
    defaults = {
        "BRIDGE_WALLET__URL": wallet_url,
        "BRIDGE_WALLET__ALLOW_PLAINTEXT": "true",
        "BRIDGE_TELEMETRY__METRICS_LISTEN": "",
    }
    for provider in sandbox.SAMPLE_PROVIDERS:
        section = f"BRIDGE_WALLET__PROVIDERS__{provider.provider_id}"
        defaults[f"{section}__ACCESS_KEY"] = provider.access_key
        defaults[f"{section}__PRIVATE_KEY"] = provider.private_key
    return load(None, {**defaults, **environ})


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Add nothing: `bridge demo` has no flags."""


def run(_parsed: argparse.Namespace) -> int:
    """Show one call, then serve until a signal to stop; return the exit code."""
    return run_to_end(demo())


async def demo(out: TextIO = sys.stdout) -> None:
    """Show one call, then serve; return after SIGINT or SIGTERM."""

    def say(line: str = "") -> None:
        print(line, file=out, flush=True)

    stop = stop_signal()
    async with sandbox.serve() as wallet, running(demo_settings(wallet.url)) as bridge:
        say(f"sandbox wallet  {wallet.url}  (HTTP/2; `bridge sandbox --tokens` lists its test tokens)")
        say(f"bridge          {bridge.address}  (gRPC, plaintext)")
        say()
        say(f"> {METHOD}, the example of the wallet's own page")
        say(json.dumps(TERMINATE_REQUEST))
        say()
        say("< the wallet's answer, typed")
        say(text_format.MessageToString(await _terminate(bridge.address)))
        say("The same with grpcurl; the token test-echo-player shows an error with all its details:")
        say(f"grpcurl -plaintext -d '{json.dumps(TERMINATE_REQUEST)}' {bridge.address} {METHOD}")
        say()
        say("serving until Ctrl-C")
        await stop
        await bridge.drain(0)
    say("stopped")


async def _terminate(address: str) -> TerminateResponse:
    # A proxy of the environment would be asked for an address that is this machine's own.
    async with grpc.aio.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        return await WalletServiceStub(channel).Terminate(TerminateRequest(**TERMINATE_REQUEST), timeout=5)
