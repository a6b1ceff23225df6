"""Which process a log line is of, with real processes."""

import json
import re

from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.support.engines import current
from tests.support.processes import bridge_command
from tests.support.supervised import NOWHERE, supervised
from tests.support.whole_path import environment


async def test_a_process_alone_names_itself() -> None:
    """Every line of a bridge without workers has its process id, and no worker."""
    async with bridge_command("serve", environ=environment(NOWHERE)) as command:
        await command.line(lambda line: '"event":"serving"' in line)
        command.process.terminate()
        await command.end()
        pid = command.process.pid
    lines = [json.loads(line) for line in command.output.splitlines()]
    assert current() == "grpcio"
    assert [line["event"] for line in lines][-1] == "stopped"
    assert {(line["pid"], line.get("worker")) for line in lines} == {(pid, None)}


async def test_a_worker_names_itself() -> None:
    """A line of a worker has its number and its process id, which are those that its supervisor has logged."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        bridge.command.process.terminate()
        reported = [await bridge.event("draining") for _ in range(2)]
    assert {line["worker"]: line["pid"] for line in reported} == bridge.pids


async def test_a_line_for_people_names_the_worker() -> None:
    """The console's format has the same fields."""
    settings = environment(NOWHERE, {"SERVER__WORKERS": "2", "TELEMETRY__LOG_FORMAT": "console"})
    async with bridge_command("serve", environ=settings) as command:
        await command.line(lambda line: " serving " in line)
        command.process.terminate()
        await command.end()
    drains = [line for line in command.output.splitlines() if " draining " in line]
    assert sorted(re.findall(r"worker=(\d+)", " ".join(drains))) == ["1", "2"]
