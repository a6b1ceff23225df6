"""`bridge sandbox`: a wallet for tests, with a line for each call that it gets, and a page that explains them."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bridge import sandbox
from bridge.address import split_listen
from bridge.cli.event_loop import run_to_end
from bridge.process.signals import stop_signal
from bridge.sandbox.page import is_loopback, serve_page
from bridge.settings.model import SettingsError, load
from bridge.telemetry.log_writer import LogWriter
from bridge.telemetry.records import configure

STDOUT, STDERR = 1, 2
LISTEN = "127.0.0.1:8080"
PAGE = "127.0.0.1:8081"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge sandbox`."""
    parser.add_argument("--listen", default=LISTEN, metavar="HOST:PORT", help="default: %(default)s")
    page = f"a page with the last requests, on a loopback address; default: {PAGE}, or a free port; empty: none"
    parser.add_argument("--page", metavar="HOST:PORT", help=page)
    parser.add_argument("--config", type=Path, metavar="FILE", help="take the providers from here, not the samples")
    parser.add_argument("--certificate-file", metavar="FILE", help="PEM; with it and --key-file: TLS")
    parser.add_argument("--key-file", metavar="FILE", help="PEM")
    parser.add_argument("--tokens", action="store_true", help="print the test tokens and exit")


def run(parsed: argparse.Namespace) -> int:
    """Run a sandbox until a signal to stop, or print its test tokens; return the exit code."""
    if parsed.tokens:
        print(sandbox.plain_text())
        return 0
    address, pages, providers = _address("--listen", parsed.listen), _pages(parsed.page), _providers(parsed.config)
    # Neither its lines about calls nor those of its log may hold it up, however slowly they are read.
    lines, log = (LogWriter(stream, "{} lines dropped\n".format) for stream in (STDOUT, STDERR))
    configure("warning", "console", log)
    try:
        return run_to_end(_serve(parsed, address, pages, providers, lines))
    finally:
        lines.close()
        log.close()


async def _serve(
    parsed: argparse.Namespace,
    address: tuple[str, int],
    pages: Sequence[tuple[str, int]],
    providers: Sequence[sandbox.Provider],
    lines: LogWriter,
) -> None:
    stop = stop_signal()
    async with AsyncExitStack() as stack:
        serving = sandbox.serve(
            *address,
            providers=providers,
            certificate_file=parsed.certificate_file,
            key_file=parsed.key_file,
            on_call=lambda received: lines.put(_call_line(received)),
        )
        wallet = await stack.enter_async_context(serving)
        page = await _show(wallet, pages, stack)
        lines.put(f"sandbox wallet on {wallet.url}, until Ctrl-C\n")
        if page:
            lines.put(f"page with the last requests on {page}\n")
        for line in _key_lines(providers):
            lines.put(line)
        await stop


async def _show(wallet: sandbox.Sandbox, pages: Sequence[tuple[str, int]], stack: AsyncExitStack) -> str | None:
    """Serve the page on the first of these addresses that can be had, and return its URL; None where there is none."""
    for page in pages:
        try:
            return await stack.enter_async_context(serve_page(wallet, *page))
        except OSError:
            if page == pages[-1]:
                raise
    return None


def _address(flag: str, listen: str) -> tuple[str, int]:
    try:
        return split_listen(listen)
    except ValueError:
        raise SettingsError(f'{flag}: must be host:port, like "{PAGE if flag == "--page" else LISTEN}"') from None


def _pages(listen: str | None) -> Sequence[tuple[str, int]]:
    """Return the addresses to try for the page, in this order; none where there is to be no page."""
    if listen is None:
        host, port = split_listen(PAGE)
        return (host, port), (host, 0)
    if not listen:
        return ()
    host, port = _address("--page", listen)
    if not is_loopback(host):
        raise SettingsError(f'--page: {host} is not a loopback address, like "{PAGE}": it shows tokens and signatures')
    return ((host, port),)


def _key_lines(providers: Sequence[sandbox.Provider]) -> Iterator[str]:
    """Yield a line for each provider; of keys no others than the published samples."""
    for each in providers:
        if each in sandbox.SAMPLE_PROVIDERS:
            keys = f"access_key {each.access_key}, private_key {each.private_key} (published sample)"
        else:
            keys = "keys of its own"
        yield f"provider_id {each.provider_id}: {keys}\n"


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
