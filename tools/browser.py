"""Headless Chromium over its debugging pipe (the Chrome DevTools Protocol): for screenshots and tests of pages.

No driver and no WebSocket: messages are JSON, each ended by a NUL, on the descriptors 3 and 4 of the browser.
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 60.0
_PAUSE_S = 0.05
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe"),
)


def chromium() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """One page of a browser. RuntimeError when the browser refuses a command or ends, TimeoutError when it is slow."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._numbers = itertools.count(1)
        self._unread = b""
        self._session: dict[str, str] = {}

    def open(self, url: str, width: int, height: int) -> None:
        """Show a URL in a window of this size in pixels, in the light colours."""
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self._do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self._do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
        self._do("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """Return the value of a JavaScript expression, which must be JSON."""
        return self._do("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script: str) -> None:
        """Return once a JavaScript expression is true."""
        ends_s = time.monotonic() + PATIENCE_S
        while not self.value(script):
            if time.monotonic() > ends_s:
                raise TimeoutError(f"after {PATIENCE_S:g} s this is still false: {script}")
            time.sleep(_PAUSE_S)  # the page runs in another process, which reports nothing by itself

    def screenshot(self) -> bytes:
        """Return what the window shows, as PNG."""
        return base64.b64decode(self._do("Page.captureScreenshot", format="png")["data"])

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters, **self._session}
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            read = os.read(self._answers, 65_536)
            if not read:
                raise RuntimeError("the browser has ended")
            self._unread += read
        message, _, self._unread = self._unread.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def page(browser: str, url: str, *, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Run a browser that shows a URL; nothing of it is left afterwards."""
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # The shell gives the pipes the numbers that the browser looks for.
        line = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        argv = ["bash", "-c", line, "bash", browser, *_FLAGS, f"--user-data-dir={folder}"]
        with subprocess.Popen(argv, pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL) as process:
            os.close(to_browser)
            os.close(from_browser)
            try:
                shown = Page(commands, answers)
                shown.open(url, width, height)
                yield shown
            finally:
                os.close(commands)
                process.kill()
                process.wait()
                os.close(answers)
