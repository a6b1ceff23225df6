"""examples/: each runs as its README says, from a copy of the folder; the Compose file names what is there."""

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from cryptography import x509

import certs
import toolchain
from bridge import __version__
from bridge.address import LISTEN as ADDRESS
from bridge.address import split_listen
from bridge.cli.sandbox import LISTEN
from bridge.settings.model import load
from tests.support.processes import bridge_command
from tests.support.promtool import MISSING, PROMTOOL, promtool

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
COMPOSE = EXAMPLES / "compose"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    name: [shlex.split(line) for line in lines.splitlines()]
    for name, lines in re.findall(r"<!-- example: (\w+) -->\n```sh\n(.*?)```", README, re.DOTALL)
}
CALL = ("--deadline-s=60", *COMMANDS["plaintext"][2][3:])
"""The flags of the call of the first example."""
ANY_PORT = "127.0.0.1:0"

each_example = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture(name="copy")
def _copy(tmp_path: Path) -> Path:
    """Return a folder with a copy of examples/, and with certificates as `make certs` makes them."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("certs", "callers"))
    certs.write(tmp_path / "examples" / "tls" / "certs")
    return tmp_path


def value_of(flag: str, command: Sequence[str], default: str) -> str:
    """Return what a flag of a command is given."""
    return command[command.index(flag) + 1] if flag in command else default


async def called(sandbox: Sequence[str], serve: Sequence[str], call: Sequence[str], copy: Path) -> str:
    """Run the three commands, in the copy, on ports that are free; return what the call prints."""
    settings = load(copy / value_of("--config", serve, ""), {})
    async with bridge_command(*sandbox, "--listen", ANY_PORT, "--page", "", folder=copy) as wallet:
        wallet_url = (await wallet.line("sandbox wallet on")).split()[3].strip(",")
        host = settings.wallet.url.rpartition(":")[0]
        environ = {
            "BRIDGE_WALLET__CONNECT_TIMEOUT_S": "30",
            "BRIDGE_WALLET__DEADLINE_MAX_S": "60",
            "BRIDGE_WALLET__URL": f"{host if 'https' in host else 'http://127.0.0.1'}:{wallet_url.rpartition(':')[2]}",
            "BRIDGE_SERVER__LISTEN": ANY_PORT,
            "BRIDGE_TELEMETRY__METRICS_LISTEN": ANY_PORT,
            "BRIDGE_TELEMETRY__LOG_FORMAT": "json",
        }
        async with bridge_command(*serve, environ=environ, folder=copy) as bridge:
            port = (await bridge.address()).rpartition(":")[2]
            address = f"{value_of('--address', call, ADDRESS).rpartition(':')[0]}:{port}"
            async with bridge_command(*call, "--deadline-s=60", f"--address={address}", folder=copy) as calling:
                assert await calling.end() == 0, calling.output + bridge.output
    return calling.output


@pytest.mark.long
@each_example
async def test_an_example_runs(name: str, copy: Path) -> None:
    """A sandbox and a bridge with the example's file, started by its own commands, answer its own call."""
    assert {command[0] for command in COMMANDS[name]} == {"bridge"}
    sandbox, serve, call = (command[1:] for command in COMMANDS[name])
    assert (await called(sandbox, serve, call, copy)).startswith("code: 1\n")


@each_example
def test_the_commands_meet(name: str, copy: Path) -> None:
    """Without the ports that the test sets, the three commands find each other on those that the files name."""
    sandbox, serve, call = (command[1:] for command in COMMANDS[name])
    settings = load(copy / value_of("--config", serve, ""), {})
    assert (
        split_listen(settings.wallet.url.partition("://")[2])[1]
        == split_listen(value_of("--listen", sandbox, LISTEN))[1]
    )
    assert settings.server.port == split_listen(value_of("--address", call, ADDRESS))[1]


@pytest.mark.long
async def test_an_unknown_caller_is_refused(copy: Path) -> None:
    """With TLS a call without the caller's certificate is refused."""
    sandbox, serve, call = (command[1:] for command in COMMANDS["tls"])
    at = call.index("--client-certificate-file")
    with pytest.raises(AssertionError, match="does it want a client certificate"):
        await called(sandbox, serve, call[:at] + call[at + 4 :], copy)


def test_the_command_makes_the_certificates(tmp_path: Path) -> None:
    """`make certs` says what it made; keys are for their owner alone, and the authority's is not kept."""
    command = [sys.executable, str(ROOT / "tools" / "certs.py"), str(tmp_path / "certs")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own tool
    assert said.startswith("certs: ca, wallet, bridge, game in ")
    made = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "certs").iterdir()}
    keys = {name: mode for name, mode in made.items() if "key" in name}
    assert keys == {"wallet_key.pem": 0o600, "bridge_key.pem": 0o600, "game_key.pem": 0o600}
    assert set(made) - set(keys) == {"ca.pem", "wallet.pem", "bridge.pem", "game.pem"}


def test_a_second_run_replaces_all(tmp_path: Path) -> None:
    """A second run replaces all of them: each is of the new authority, and goes with its new key."""
    certs.write(tmp_path)
    old = (tmp_path / "bridge.pem").read_bytes()
    certs.write(tmp_path)
    assert (tmp_path / "bridge.pem").read_bytes() != old
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    for name in certs.LEAVES:
        x509.load_pem_x509_certificate((tmp_path / f"{name}.pem").read_bytes()).verify_directly_issued_by(authority)


SERVICES = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))["services"]
MOUNTS = {
    target: (COMPOSE / source).resolve()
    for service in SERVICES.values()
    for source, target, _ in (volume.split(":") for volume in service["volumes"])
}
"""Path in a container -> file of the repository."""


@pytest.mark.skipif(
    bool(toolchain.absent("compose-go")), reason=toolchain.absent("compose-go") or "compose-go is installed"
)
def test_the_compose_specification_takes_it() -> None:
    """The specification's own loader takes the file, by its schema and rules, and each path it resolves is a file."""
    command = [str(toolchain.programs()["compose-go"].path), "-format", "json", "compose.yaml"]
    ended = subprocess.run(command, cwd=COMPOSE, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert ended.returncode == 0, ended.stderr
    services = json.loads(ended.stdout)["services"]
    assert set(services) == {"sandbox", "bridge", "prometheus"}
    mounts = [Path(volume["source"]) for service in services.values() for volume in service["volumes"]]
    assert all(path.is_file() for path in mounts), mounts


def test_what_it_mounts_and_builds_is_there() -> None:
    """Mounted files are in the repository, read-only, and the image is this version's, of its Containerfile."""
    assert all(path.is_file() and path.is_relative_to(ROOT) for path in MOUNTS.values()), MOUNTS
    assert all(volume.endswith(":ro") for service in SERVICES.values() for volume in service["volumes"])
    for name in ("sandbox", "bridge"):
        build = SERVICES[name]["build"]
        assert (COMPOSE / build["context"] / build["dockerfile"]).resolve() == ROOT / "deploy" / "Containerfile"
        assert SERVICES[name]["image"] == f"wallet-bridge:{__version__}"


def test_it_publishes_on_loopback_alone() -> None:
    """No port can be reached from another machine, and what is published is where the bridge listens."""
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    settings = load(COMPOSE / "bridge.toml", {})
    assert published["bridge"] == [f"{ADDRESS}:{settings.server.port}"]


@pytest.mark.long
async def test_its_commands_run(copy: Path) -> None:
    """What the containers run, on the files that they mount, is a sandbox and a bridge that carries a call to it."""
    mounted = {target: str(path.relative_to(ROOT)) for target, path in MOUNTS.items()}
    sandbox, serve = ([mounted.get(word, word) for word in SERVICES[name]["command"]] for name in ("sandbox", "bridge"))
    assert (await called(sandbox, serve, ("call", "terminate", *CALL), copy)).startswith("code: 1\n")


def test_its_names_meet() -> None:
    """The bridge calls the sandbox, and Prometheus scrapes the bridge, by a service's name and its port."""
    settings = load(COMPOSE / "bridge.toml", {})
    listen = value_of("--listen", SERVICES["sandbox"]["command"], "")
    assert settings.wallet.url == f"http://sandbox:{split_listen(listen)[1]}"
    prometheus = yaml.safe_load((COMPOSE / "prometheus.yml").read_text(encoding="utf-8"))
    (scraped,) = prometheus["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": [f"bridge:{split_listen(settings.telemetry.metrics_listen)[1]}"]}]
    assert f'job="{scraped["job_name"]}"' in (ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8")


@pytest.mark.skipif(PROMTOOL is None, reason=MISSING)
async def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """Prometheus' own check takes the configuration with the rules that the container mounts."""
    text = (COMPOSE / "prometheus.yml").read_text(encoding="utf-8")
    for target, path in MOUNTS.items():
        text = text.replace(target, str(path))
    await asyncio.to_thread((tmp_path / "prometheus.yml").write_text, text)
    code, said = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert code == 0, said
    assert "rules found" in said
