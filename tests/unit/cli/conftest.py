"""What tests of commands share: files that settings can name, and a process as it was before."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.process.signals import IGNORED_SIGNALS
from tests.support.pem_files import write_pem_files


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of files that settings can name."""
    folder = tmp_path_factory.mktemp("mistakes")
    write_pem_files(folder)
    return folder


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave out the variables of the environment, and put back the signals that `bridge serve` ignores."""
    for name in [name for name in os.environ if name.startswith(("BRIDGE_", "OTEL_"))]:
        monkeypatch.delenv(name)
    signals = {number: signal.getsignal(number) for number in (signal.SIGHUP, *IGNORED_SIGNALS)}
    yield
    for number, handler in signals.items():
        signal.signal(number, handler)
