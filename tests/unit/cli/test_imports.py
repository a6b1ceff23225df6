"""What a command imports: its own code and libraries, and nothing that only another command needs."""

import json
import subprocess
import sys

import pytest

from bridge.cli.main import COMMANDS, parser_for
from tests.support.processes import unmeasured

DEAR = {
    "bridge.sandbox",
    "cryptography",
    "grpc",
    "h2",
    "httpx",
    "hypercorn",
    "opentelemetry",
    "prometheus_client",
    "pydantic",
    "pygrpc_native",
    "redis",
    "sqlite3",
    "structlog",
}
"""Each costs a process at its start some 10 ms and more than a megabyte."""

SESSION = ["--player-id=1", "--site-id=1", "--game-id=a", "--currency=EUR"]
SUB_COMMANDS = {"call": ["terminate"], "certify": SESSION, "completion": ["bash"], "settlement": ["list"]}
SERVING = {"grpc", "httpx", "prometheus_client", "pydantic"}


def imported_by(statement: str) -> set[str]:
    """Return which of the dear modules a new process has after this statement."""
    script = f"import json, sys\n{statement}\njson.dump(sorted(sys.modules), sys.stdout)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=unmeasured())  # noqa: S603 - our own
    return DEAR & set(json.loads(done.stdout))


def test_the_command_by_itself_is_light() -> None:
    """`bridge --version` and `bridge --help` know every command by name, and import none."""
    assert imported_by("from bridge.cli.main import parser_for; parser_for(['--help'])") == set()


def test_serving_imports_what_every_bridge_needs() -> None:
    """A bridge in plaintext with a log in JSON, without traces or a sandbox: what only others need is not there."""
    assert imported_by("from bridge.cli.main import parser_for; parser_for(['serve'])") == SERVING


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_flags_and_what_runs_it(name: str) -> None:
    """Whatever the table of commands names can be imported and parsed."""
    arguments = [name, *SUB_COMMANDS.get(name, [])]
    assert callable(parser_for(arguments).parse_args(arguments).run)


@pytest.mark.parametrize("name", ["wallet.v1.WalletError", "google.rpc.ErrorInfo", "google.rpc.RetryInfo"])
@pytest.mark.short("wallet.v1.WalletError")
def test_call_knows_the_details_of_a_status(name: str) -> None:
    """A process that has imported `bridge call` and nothing else can decode each detail that a bridge sends."""
    script = "import bridge.cli.call; from google.protobuf import descriptor_pool as pools\n"
    script += f"print(pools.Default().FindMessageTypeByName({name!r}).full_name)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=unmeasured())  # noqa: S603 - our own
    assert done.stdout.strip() == name
