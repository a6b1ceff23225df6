"""`bridge serve` with both listeners, as a process: SIGTERM seen from either, and a port that is taken."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.sandbox.behaviours import after
from bridge.sandbox.server import FaultServer, bound_socket
from tests.support.certificates import write_certificates
from tests.support.processes import bridge_command
from tests.support.secure_callers import call_over, channel_to, tls_settings
from tests.support.whole_path import environment

Request, Response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse


def watch(channel: grpc.aio.Channel) -> Any:
    """Watch the health of the whole; the stub's generated type is that of another kind of channel."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return stub.Watch(Request())


async def test_drain_with_both_listeners(tmp_path: Path) -> None:
    """On SIGTERM watchers on both ports receive NOT_SERVING, calls over mutual TLS get their answers, the end is 0."""
    certificates, may_answer = write_certificates(tmp_path), asyncio.Event()
    secure = tls_settings(certificates.server, certificates.ca_file, "client.example")
    # Bound and not listening: the port stays free for the bridge, whose log does not have this listener's address.
    with bound_socket() as reserved:
        health_address = f"127.0.0.1:{reserved.getsockname()[1]}"
        async with FaultServer(after(may_answer)) as wallet:
            settings = environment(wallet.url, {**secure, "SERVER__HEALTH_LISTEN": health_address})
            async with bridge_command("serve", environ=settings) as command:
                address = json.loads(await command.line(lambda line: '"serving"' in line))["address"]
                async with (
                    channel_to(address, certificates.ca_file, certificates.client) as channel,
                    channel_to(health_address) as health_channel,
                ):
                    watches = [watch(channel), watch(health_channel)]
                    assert [(await each.read()).status for each in watches] == [Response.SERVING] * 2
                    calls = [asyncio.create_task(call_over(channel)) for _ in range(10)]
                    await wallet.until(lambda: len(wallet.requests) == len(calls))
                    command.process.terminate()
                    assert [(await each.read()).status for each in watches] == [Response.NOT_SERVING] * 2
                    may_answer.set()
                    assert {(await call).code for call in calls} == {"OK"}
                    assert await command.end() == 0


async def test_port_for_health_in_use() -> None:
    """A taken port for health stops the start with one event that names its key, and exit code 2."""
    with bound_socket() as taken:
        taken.listen()
        settings = {"SERVER__HEALTH_LISTEN": f"127.0.0.1:{taken.getsockname()[1]}"}
        async with bridge_command("serve", environ=environment("http://127.0.0.1:1", settings)) as command:
            assert await command.end() == 2
    events = [json.loads(line) for line in command.output.splitlines()]
    problems = [event["problem"] for event in events if event["event"] == "cannot start"]
    assert [problem.partition(" cannot")[0] for problem in problems] == ["server.health_listen:"]
