"""`bridge serve` with both listeners, as a process: SIGTERM seen from either, and a port that is taken."""

import asyncio
from pathlib import Path

from grpc_health.v1 import health_pb2

from bridge.sandbox.behaviours import after
from bridge.sandbox.server import FaultServer, bound_socket
from tests.support.certificates import Certificates
from tests.support.processes import bridge_command
from tests.support.serving import channel_to, tls_settings, watch_health
from tests.support.whole_path import call_over, environment

Request, Response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse


async def test_drain_with_both_listeners(tmp_path: Path) -> None:
    """On SIGTERM watchers on both ports receive NOT_SERVING, calls over mutual TLS get their answers, the end is 0."""
    certificates, may_answer = Certificates(tmp_path), asyncio.Event()
    secure = tls_settings(certificates.server, certificates.ca_file, "client.example")
    # Bound and not listening: the port stays free for the bridge, whose log does not have this listener's address.
    with bound_socket() as reserved:
        health_address = f"127.0.0.1:{reserved.getsockname()[1]}"
        async with FaultServer(after(may_answer)) as wallet:
            settings = environment(wallet.url, {**secure, "SERVER__HEALTH_LISTEN": health_address})
            async with bridge_command("serve", environ=settings) as command:
                address = await command.address()
                async with (
                    channel_to(address, certificates.ca_file, certificates.client) as channel,
                    channel_to(health_address) as health_channel,
                ):
                    watches = [watch_health(channel), watch_health(health_channel)]
                    assert [(await each.read()).status for each in watches] == [Response.SERVING] * 2
                    calls = [asyncio.create_task(call_over(channel)) for _ in range(10)]
                    await wallet.until(lambda: len(wallet.requests) == len(calls))
                    command.process.terminate()
                    assert [(await each.read()).status for each in watches] == [Response.NOT_SERVING] * 2
                    may_answer.set()
                    assert {(await call).code for call in calls} == {"OK"}
                    assert await command.end() == 0
