"""`bridge call --dry-run`: exactly what a bridge would send, without a bridge, without a secret."""

import io
from pathlib import Path

import grpc
import pytest

from bridge import __version__
from bridge.cli.call import run
from bridge.cli.channel import Tls
from bridge.cli.main import main
from bridge.sandbox import serve
from bridge.settings.model import SettingsError
from tests.support.command_runs import parsed
from tests.support.fake_channel import EXAMPLE
from tests.support.whole_path import bridge_to, environment

WALLET_URL = "https://wallet.example/base"

# Body and signature: docs/design/wallet.md, "X-Request-Signature".
EXAMPLE_TEXT = """\
POST https://wallet.example/base/api/wallet/terminate
content-type: application/json
content-length: 127
accept: application/json
accept-encoding: identity
user-agent: wallet-bridge/VERSION
authorization: Basic ********
x-request-signature: 9e8526e3091242bffff60bede3e76807f44ec299e251aba7da7d43272628a135

{"token":"3dc8fe01-2018-486e-9632-35aef21028a5","player_id":1,"site_id":1,"provider_id":1,"game_id":"example","currency":"EUR"}
body: 127 bytes
""".replace("VERSION", __version__)


def no_channel(address: str, _tls: Tls | None) -> grpc.Channel:
    """Fail the test: a dry run opens no channel."""
    pytest.fail(f"a channel to {address} was opened")


def dry_run(*arguments: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
    """Run `bridge call terminate --dry-run`; a channel that is opened fails the test."""
    out = io.StringIO()
    environ = environment(WALLET_URL) if environ is None else environ
    return run(parsed("call", "terminate", "--dry-run", *arguments), no_channel, out, environ), out.getvalue()


def test_dry_run_of_the_wallets_example() -> None:
    """A dry run prints the exact 127 bytes and the known signature, every header in order, the secret masked."""
    assert dry_run(*EXAMPLE) == (0, EXAMPLE_TEXT)


async def test_dry_run_shows_what_the_bridge_sends() -> None:
    """What a dry run prints is what a wallet then receives from a bridge with the same settings."""
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        assert (await caller.terminate("smørrebrød 🎲", player_id=2**64 - 1)).code == "OK"
        (received,) = sandbox.received
        _, text = dry_run(
            *EXAMPLE, "--token=smørrebrød 🎲", f"--player-id={2**64 - 1}", environ=environment(sandbox.url)
        )
    request = received.request
    names = [name for name, _ in request.headers if not name.startswith(":")]
    lines = text.splitlines()
    assert lines[0] == f"POST {sandbox.url}{request.path}"
    assert [line.partition(":")[0] for line in lines[1:8]] == names
    assert lines[7] == f"x-request-signature: {request.header('x-request-signature')}"
    assert lines[9].encode() == request.body


def test_dry_run_says_when_the_body_is_escaped() -> None:
    """A body that cannot be printed as it is is shown with escapes, and the line about its bytes says so."""
    _, text = dry_run(*EXAMPLE, "--token", "\x7f\u202e")
    assert r'{"token":"\u007f\u202e",' in text
    assert text.endswith("\nbody: 95 bytes before what cannot be printed was escaped\n")


def test_terminal_that_lacks_a_character() -> None:
    """What standard output's encoding cannot hold is escaped, as JSON would; the rest stays as it is."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", write_through=True)
    assert (
        run(parsed("call", "terminate", "--dry-run", *EXAMPLE, "--token=é🎲"), no_channel, out, environment(WALLET_URL))
        == 0
    )
    assert r'{"token":"é\ud83c\udfb2",'.encode("latin-1") in out.detach().getvalue()


def test_dry_run_names_the_fields_at_fault() -> None:
    """A request that the bridge would refuse is not signed: one line for each field."""
    assert dry_run(*EXAMPLE, "--token=", "--player-id=0") == (1, "token is required\nplayer_id is required\n")


def test_dry_run_of_an_unknown_provider() -> None:
    """A provider without credentials is one line that says what to add."""
    assert dry_run(*EXAMPLE, "--provider-id=7") == (1, "provider_id 7 has no credentials: add [wallet.providers.7]\n")


def test_dry_run_reads_the_configuration_file(tmp_path: Path) -> None:
    """--config is a bridge.toml, which the environment overrides."""
    config = tmp_path / "bridge.toml"
    config.write_text(
        '[wallet]\nurl = "https://file.example"\n[wallet.providers.1]\naccess_key = "abcde12345"\n'
        'private_key = "e56eb966-a55f-4087-bc7d-e66df1f377a1"\n'
    )
    _, by_file = dry_run(*EXAMPLE, "--config", str(config), environ={})
    _, by_both = dry_run(
        *EXAMPLE, "--config", str(config), environ={"BRIDGE_WALLET__URL": "https://environment.example"}
    )
    assert by_file.startswith("POST https://file.example/api/wallet/terminate\n")
    assert by_both.startswith("POST https://environment.example/api/wallet/terminate\n")


def test_dry_run_without_settings() -> None:
    """Settings that are wrong are reported by their own error, which `bridge` turns into lines and exit code 2."""
    with pytest.raises(SettingsError, match=r"^no --config FILE is given.*\nwallet\.url: is missing"):
        dry_run(*EXAMPLE, environ={})


def test_wrong_settings_are_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the settings' own lines on standard error, and nothing else."""
    assert main(["call", "terminate", "--dry-run", "--config", str(tmp_path / "none.toml"), *EXAMPLE]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "none.toml: cannot be read: No such file or directory" in err
