"""The Containerfile, as far as it can be checked without a container engine."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bridge.cli.main import parser_for
from compiled_environment import SWITCH
from tests.support.forms import IS_COMPILED
from tests.support.manifests import ROOT, base

TEXT = (ROOT / "deploy" / "Containerfile").read_text()
IGNORED = (ROOT / "deploy" / "Containerfile.dockerignore").read_text().splitlines()
LINES = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
STEPS = [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in LINES if line]
Step = tuple[str, str]


def stages() -> Mapping[str, Sequence[Step]]:
    """Return the steps of each stage, from its FROM on, by its name; the final one has none."""
    found: dict[str, list[Step]] = {}
    for step, rest in STEPS:
        if step == "FROM":
            steps = found.setdefault(rest.partition(" AS ")[2], [])
        if found:
            steps.append((step, rest))
    return found


STAGES = stages()
FINAL = STAGES[""]


def commands(stage: str) -> list[list[str]]:
    """Return what a stage runs."""
    return [json.loads(rest) for step, rest in STAGES[stage] if step == "RUN"]


def rest_of(step: str) -> list[str]:
    """Return what follows each step of a kind."""
    return [rest for name, rest in STEPS if name == step]


def copied() -> list[str]:
    """Return what is copied from the repository."""
    sources = [shlex.split(rest)[:-1] for rest in rest_of("COPY") if not rest.startswith("--from")]
    return [path for paths in sources for path in paths]


@pytest.mark.parametrize("path", copied())
def test_what_is_copied_is_there(path: str) -> None:
    """Every source of a COPY exists, and the build may see it."""
    assert (ROOT / path).exists()
    assert f"!{path}" in IGNORED
    assert IGNORED[1] == "*"


def test_the_wheels_have_all_they_need(tmp_path: Path) -> None:
    """From what is copied alone, both wheels are built, with the licence, the generated code and the service config."""
    for path in copied():
        into = tmp_path / path
        into.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / path).is_dir() else shutil.copyfile)(ROOT / path, into)
    (own,) = (command for command in map(json.loads, rest_of("RUN")) if "wheel" in command)
    sources = [word for word in own if word.startswith(".")]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", "wheels"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, *sources], cwd=tmp_path, check=True)  # noqa: S603 - our own
    packed = {name for wheel in (tmp_path / "wheels").glob("*.whl") for name in zipfile.ZipFile(wheel).namelist()}
    assert {"bridge/__init__.py", "wallet/v1/wallet_service_pb2.py", "wallet/v1/service_config.json"} <= packed
    assert sum(name.endswith("/licenses/LICENSE") for name in packed) == len(sources) == 2


@pytest.mark.parametrize("step", ["RUN", "ENTRYPOINT", "CMD"])
def test_no_shell(step: str) -> None:
    """Every command is in the exec form: no shell is needed, and none stands before a signal."""
    commands = [json.loads(rest) for rest in rest_of(step)]
    assert commands
    assert all(isinstance(word, str) for command in commands for word in command)


def test_every_dependency_has_a_hash() -> None:
    """Packages come from locks with hashes as wheels, each lock into its stage; the bridge itself fetches nothing."""
    locks = {"compiled": ["image.txt", "compile.txt"], "build": ["image.txt"]}
    for stage, names in locks.items():
        locked, own = (command for command in commands(stage) if "pip" in command and "uninstall" not in command)
        assert {"--require-hashes", "--only-binary=:all:"} < set(locked)
        assert [word for word in locked if word.startswith("requirements/")] == [
            f"requirements/{name}" for name in names
        ]
        assert locked.count("--requirement") == len(names)
        assert {"--no-index", "--no-deps"} < set(own)
    assert not [command for stage in ("checked", "") for command in commands(stage) if "pip" in command]


def test_the_wheel_is_compiled() -> None:
    """One stage has what the hook that compiles needs, and its switch; the environment gets what that stage has built.

    Whether its modules are compiled is asked of the environment as the last step: the build stops where they are not.
    """
    (apt,) = (command for command in commands("compiled") if "apt-get" in command and "install" in command)
    assert {"gcc", "libc6-dev"} <= set(apt)
    names = [name for name, _ in STAGES["compiled"]]
    assert ("ENV", f"{SWITCH}=true") in STAGES["compiled"]
    assert names.index("ENV") < len(names) - 1 - names[::-1].index("RUN")
    (wheel,) = (command for command in commands("compiled") if "wheel" in command)
    (own,) = (command for command in commands("build") if "--find-links" in command)
    made, taken = wheel[wheel.index("--wheel-dir") + 1], own[own.index("--find-links") + 1]
    assert ("COPY", f"--from=compiled {made} {taken}") in STAGES["build"]
    assert "--no-build-isolation" in wheel
    assert own[-2:] == ["wallet-bridge-stubs", "wallet-bridge"]
    assert "hatch_build.py" in copied()
    assert commands("build")[-1][:3] == ["/opt/wallet-bridge/bin/python", "-I", "-c"]


def test_what_the_last_step_of_the_build_says() -> None:
    """Its exit code is 1 where the bridge is pure, as its sources are, and 0 where its modules are compiled."""
    done = subprocess.run([sys.executable, *commands("build")[-1][1:]], check=False)  # noqa: S603 - our own
    assert done.returncode == int(not IS_COMPILED)


def test_no_other_stage_has_a_compiler() -> None:
    """Debian's packages and mypyc's lock are installed in one stage alone, of which only wheels are taken."""
    assert [stage for stage, steps in STAGES.items() if "apt-get" in str(steps)] == ["compiled"]
    assert [stage for stage, steps in STAGES.items() if "compile.txt" in str(steps)] == ["compiled"]
    assert [rest for rest in rest_of("COPY") if rest.startswith("--from=compiled")] == [
        "--from=compiled /wheels /wheels"
    ]


def test_the_lock_of_the_compiler_is_that_of_the_tests() -> None:
    """What compiles in the image is what compiles for `make test-compiled`: every pin is the same."""
    compiling, dev = (_pins(ROOT / "requirements" / f"{name}.txt") for name in ("compile", "dev"))
    assert {"mypy", "setuptools"} <= {pin.partition("==")[0] for pin in compiling}
    assert compiling <= dev


def test_the_lock_is_the_bridges_with_the_extras_of_the_chart() -> None:
    """Nothing else is in it, and every pin is the same as where the tests run."""
    run, image, dev = (_pins(ROOT / "requirements" / f"{name}.txt") for name in ("run", "image", "dev"))
    assert run <= image <= dev
    more = {pin.partition("==")[0] for pin in image - run}
    assert {"redis", "pygrpc-native", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= more
    assert not more & {"pytest", "ruff", "mypy", "grpcio-tools", "coverage"}


def test_the_image_has_every_extra_of_the_bridge() -> None:
    """What a user may switch on in the chart is installed: no setting stops the start there for want of a package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name not in {"bench", "dev"}}
    pinned = {pin.partition("==")[0] for pin in _pins(ROOT / "requirements" / "image.txt")}
    for name, needs in extras.items():
        assert {re.split(r"[<>=]", need)[0] for need in needs} <= pinned, name


def test_nothing_of_the_build_is_left() -> None:
    """Each package of the lock that only the build needs is removed again, and nothing that the bridge needs."""
    lock = (ROOT / "requirements" / "image.txt").read_text()
    needed_by = {
        found[1]: set(re.sub(r"-c \S+|# via|#", "", found[2]).split())
        for found in re.finditer(r"^([\w.-]+)==(?:.*\n)(?: +--hash.*\n)+((?: +#.*\n)+)", lock, re.MULTILINE)
    }
    of_build = {name for name, by in needed_by.items() if any("build-system" in word for word in by)}
    while more := {name for name, by in needed_by.items() if by <= of_build} - of_build:
        of_build |= more
    (removed,) = [command for command in map(json.loads, rest_of("RUN")) if "uninstall" in command]
    assert set(removed[removed.index("--yes") + 1 :]) == of_build | {"pip", "setuptools"}


def _pins(lock: Path) -> set[str]:
    return {line.rstrip(" \\") for line in lock.read_text().splitlines() if "==" in line and line[0].isalpha()}


def test_the_final_stage() -> None:
    """It is on the base that all stages are on, gets the environment alone, and runs nothing."""
    bases = {stage: steps[0][1].split()[0] for stage, steps in STAGES.items()}
    assert bases == {"checked": "${PYTHON_IMAGE}", "compiled": "checked", "build": "checked", "": "${PYTHON_IMAGE}"}
    copies = [rest for step, rest in FINAL if step == "COPY"]
    assert copies == ["--from=build /opt/wallet-bridge /opt/wallet-bridge"]
    assert "RUN" not in {step for step, _ in FINAL}


def test_the_user_is_the_manifests_user() -> None:
    """A number that is not root, as Kubernetes checks it."""
    security = base().pod["securityContext"]
    assert [rest for step, rest in FINAL if step == "USER"] == [f"{security['runAsUser']}:{security['runAsGroup']}"]
    assert security["runAsUser"] > 0


def test_the_bridge_is_the_first_process() -> None:
    """It gets SIGTERM itself, from the console script that pyproject.toml declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (entry_point,) = map(json.loads, rest_of("ENTRYPOINT"))
    assert entry_point == ["/opt/wallet-bridge/bin/bridge"]
    assert project["scripts"] == {"bridge": "bridge.cli.main:main"}
    assert rest_of("STOPSIGNAL") == ["SIGTERM"]


def test_the_default_arguments() -> None:
    """They are those of the manifests, and the bridge takes them."""
    (arguments,) = map(json.loads, rest_of("CMD"))
    assert arguments == base().container["args"]
    parser_for(arguments).parse_args(arguments)


def test_the_ports() -> None:
    """The ports that are exposed are the container's."""
    (exposed,) = rest_of("EXPOSE")
    assert exposed.split() == [str(each["containerPort"]) for each in base().container["ports"]]


def test_no_settings_are_baked_in() -> None:
    """No variable of the image is a setting, which would override every bridge.toml."""
    assert "BRIDGE_" not in "".join(rest_of("ENV") + rest_of("ARG"))


def test_no_registry_is_named() -> None:
    """Images are named without a host: each installation has its own registry."""
    texts = {path: path.read_text() for path in (ROOT / "deploy").rglob("*") if path.is_file()}
    named = re.compile(r"(?:image|repository|FROM|newName|PYTHON_IMAGE)[:= ]+[\w-]+\.\S+/")
    assert not [path for path, text in texts.items() if named.search(text)]
