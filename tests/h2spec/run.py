"""h2spec against the bridge on each engine: `python -m tests.h2spec.run`.

Its failures must be those of expected.toml, which has the reason beside each. The bridge must not grow by more than
GROWTH_MB, and must still serve when h2spec has ended.
"""

import asyncio
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import toolchain
from tests.support.engines import NAMES, served_by
from tests.support.floods.attacks import CHECK, MEBIBYTE
from tests.support.floods.measure import Target, target
from tests.support.serving import call_once
from tests.support.whole_path import NO_SETTINGS

EXPECTED = Path(__file__).with_name("expected.toml")
FRAME_S = "2"
"""How long h2spec waits for each answer."""
GROWTH_MB = 64
WHOLE_S = 400.0
"""How long all of it may take on one engine: section 5.1.2 has been seen to run for ever without a limit of streams."""


def expected(engine: str) -> Mapping[str, str]:
    """Return test -> why its failure is right."""
    groups = tomllib.loads(EXPECTED.read_text(encoding="utf-8"))[engine]
    return {test: group["reason"] for group in groups for test in group["tests"]}


def failures(report: Path) -> set[str]:
    """Return the tests that have failed, from a report in JUnit's format."""
    suites = ET.parse(report).iter("testsuite")  # noqa: S314 - the report is h2spec's own
    return {
        f"{suite.get('package')}: {case.get('classname')}"
        for suite in suites
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }


async def failed_tests(bridge: Target) -> set[str]:
    """Run h2spec to its end; return the tests that have failed."""
    host, _, port = bridge.address.rpartition(":")
    with TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        process = await asyncio.create_subprocess_exec(
            *(toolchain.programs()["h2spec"].path, "-h", host, "-p", port, "-P", CHECK, "-o", FRAME_S, "-j", report),
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await asyncio.wait_for(process.wait(), WHOLE_S)
        finally:
            if process.returncode is None:
                process.kill()
        return failures(report)


async def check(engine: str) -> list[str]:
    """Run h2spec on an engine; return what is wrong."""
    with served_by(engine):
        async with target(NO_SETTINGS) as bridge:
            before = bridge.memory_bytes()
            found = await failed_tests(bridge)
            growth_mb = (bridge.memory_bytes() - before) / MEBIBYTE
            end = await call_once(bridge.address)
    known = expected(engine)
    print(
        f"{engine}: {len(found)} failures, {len(found - known.keys())} of them new; memory grew by {growth_mb:.0f} MB"
    )
    for test in sorted(known.keys() - found):
        print(f"{engine}: no longer fails: {test}")
    wrong = [f"{engine}: {test}" for test in sorted(found - known.keys())]
    wrong += [f"{engine}: memory grew by {growth_mb:.0f} MB"] if growth_mb > GROWTH_MB else []
    return wrong + ([f"{engine}: a call afterwards ended with {end.code}"] if end.code != "OK" else [])


async def main() -> int:
    """Check each engine; return 1 when something is wrong, 2 when h2spec is missing."""
    if why := toolchain.absent("h2spec"):
        print(f"h2spec: {why}", file=sys.stderr)
        return 2
    wrong = [line for engine in NAMES for line in await check(engine)]
    print("\n".join(wrong) or "h2spec: every failure is one of those with a reason")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
