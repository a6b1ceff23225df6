"""`bridge sandbox`: a wallet for tests, with a line for each call that it gets."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bridge import sandbox
from bridge.address import split_listen
from bridge.cli.event_loop import run_to_end
from bridge.process.signals import stop_signal
from bridge.settings.model import SettingsError, load
from bridge.telemetry.log_writer import LogWriter
from bridge.telemetry.logs import configure

STDOUT, STDERR = 1, 2
LISTEN = "127.0.0.1:8080"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge sandbox`."""
    parser.add_argument("--listen", default=LISTEN, metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--config", type=Path, metavar="FILE", help="take the providers from here, not the samples")
    parser.add_argument("--certificate-file", metavar="FILE", help="PEM; with it and --key-file: TLS")
    parser.add_argument("--key-file", metavar="FILE", help="PEM")
    parser.add_argument("--tokens", action="store_true", help="print the test tokens and exit")


def run(parsed: argparse.Namespace) -> int:
    """Run a sandbox until a signal to stop, or print its test tokens; return the exit code."""
    if parsed.tokens:
        print(sandbox.plain_text())
        return 0
    address, providers = _address(parsed.listen), _providers(parsed.config)
    # Neither its lines about calls nor those of its log may hold it up, however slowly they are read.
    lines, log = (LogWriter(stream, "{} lines dropped\n".format) for stream in (STDOUT, STDERR))
    configure("warning", "console", log)
    try:
        return run_to_end(_serve(parsed, address, providers, lines))
    finally:
        lines.close()
        log.close()


async def _serve(
    parsed: argparse.Namespace, address: tuple[str, int], providers: Sequence[sandbox.Provider], lines: LogWriter
) -> None:
    stop = stop_signal()
    async with sandbox.serve(
        *address,
        providers=providers,
        certificate_file=parsed.certificate_file,
        key_file=parsed.key_file,
        on_call=lambda received: lines.put(_call_line(received)),
    ) as wallet:
        lines.put(f"sandbox wallet on {wallet.url}, until Ctrl-C\n")
        await stop


def _address(listen: str) -> tuple[str, int]:
    try:
        return split_listen(listen)
    except ValueError:
        raise SettingsError(f'--listen: wants host:port, like "{LISTEN}"') from None


def _providers(config: Path | None) -> Sequence[sandbox.Provider]:
    if config is None:
        return sandbox.SAMPLE_PROVIDERS
    return [
        sandbox.Provider(provider_id, provider.access_key.get_secret_value(), provider.private_key.get_secret_value())
        for provider_id, provider in load(config).wallet.providers.items()
    ]


def _call_line(received: sandbox.Received) -> str:
    what = received.refusal or received.test_token or "success"
    return f"{received.request.method} {received.request.path}: {received.status or 'no answer'} ({what})\n"
