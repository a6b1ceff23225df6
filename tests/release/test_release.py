"""`make release`: the same bytes every time, with checksums, and what is in it can be installed from it alone."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import archives
import release
from bridge import __version__
from bridge.sandbox.operations import TERMINATE_REQUEST
from hatch_build import compiled_modules
from newest_python import candidates, each_minor
from protos import ROOT
from stamps import go_module

# Builds: seconds on a free machine, minutes on a busy one.
pytestmark = pytest.mark.timeout(900)
WHOLE = bool(os.environ.get("RELEASE"))
"""Whether parts count that download, or need a toolchain: `make release-check`."""
EPOCH = 1_700_000_000
QUICK = ("python", "go", "chart", "contract")
PARTS = tuple(release.PARTS) if WHOLE else QUICK
PURE, COMPILED = "wallet_bridge-*-none-any.whl", "wallet_bridge-*linux_*.whl"
MODULES = compiled_modules(ROOT)
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
CHART = f"wallet-bridge-chart-{__version__}.tgz"


@pytest.fixture(name="built", scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which a release was built."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    release.build(folder, PARTS, EPOCH)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """Return the checksums that a release says of itself."""
    lines = (folder / release.CHECKSUMS).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def test_two_builds_give_equal_bytes(built: Path, tmp_path: Path) -> None:
    """Built again at another moment, by a user with another umask, every file has the same bytes."""
    code = f"import os, sys; os.umask(0o077); sys.path.insert(0, {str(ROOT / 'tools')!r}); import pathlib, release; "
    code += f"release.build(pathlib.Path({str(tmp_path / 'again')!r}), {PARTS!r}, {EPOCH})"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
    assert hashes(tmp_path / "again") == hashes(built)


def test_checksums_are_of_every_file(built: Path) -> None:
    """SHA256SUMS has each file and no other, each with its own hash."""
    files = {path.relative_to(built).as_posix(): path for path in built.rglob("*") if path.is_file()}
    del files[release.CHECKSUMS]
    assert hashes(built) == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def names(archive: Path) -> set[str]:
    """Return the names of an archive's files."""
    if archive.suffix == ".whl" or archive.suffix in {".jar", ".zip"}:
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as tar:
        return set(tar.getnames())


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        (PURE, {"bridge/__main__.py", "bridge/py.typed"}),
        (COMPILED, {f"{name.replace('.', '/')}{end}" for name in MODULES for end in (".py", SUFFIX)}),
        (COMPILED, {f"wallet_bridge-{__version__}.dist-info/licenses/mypy/LICENSE"}),
        (
            "wallet_bridge_stubs-*.whl",
            {"wallet/v1/wallet_service_pb2.py", "wallet/v1/py.typed", "wallet/v1/service_config.json"},
        ),
        (f"wallet-bridge-{__version__}.tgz", {"package/index.mjs", "package/index.js", "package/service_config.json"}),
        (f"wallet-bridge-{__version__}.jar", {"wallet/v1/WalletServiceGrpc.class", "wallet/v1/service_config.json"}),
        (f"wallet-bridge-{__version__}-sources.jar", {"wallet/v1/WalletServiceGrpc.java"}),
        ("go/**/*.zip", {f"{go_module()}@v{__version__}/wallet/v1/service_config.json"}),
        (CHART, {"wallet-bridge/Chart.yaml", "wallet-bridge/values.schema.json"}),
    ],
)
def test_what_is_in_it(built: Path, pattern: str, wanted: set[str]) -> None:
    """Each package has its code, and, but for the chart, licence and README; nothing that lies about gets in."""
    found = list(built.glob(pattern))
    if not found and not WHOLE:
        pytest.skip("its part was not built: `make release-check` builds it")
    (archive,) = found
    inside = names(archive)
    assert wanted <= inside
    if archive.name != CHART:
        assert any(name.rsplit("/", 1)[-1] == "LICENSE" for name in inside)
        assert any(name.rsplit("/", 1)[-1] in {"README.md", "METADATA"} for name in inside)
    assert not [
        name for name in inside if name.endswith((".pyc", ".npmrc")) or "node_modules" in name or "/ci/" in name
    ]


def test_the_changelog_has_the_version() -> None:
    """CHANGELOG.md has a section for the version that is built, dated, below what has not been released."""
    headings = [
        line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line.startswith("## ")
    ]
    assert headings[0] == "## Unreleased"
    assert headings[1].startswith(f"## {__version__} - 20")


def touch(folder: Path) -> None:
    """Give every file another time."""
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))


def no_group(folder: Path) -> None:
    """Give every file another mode."""
    for path in folder.rglob("*"):
        path.chmod(0o700)


@pytest.mark.parametrize("change", [touch, no_group])
def test_archives_depend_on_content_alone(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Our own archives have no time and no mode of the files that they were made of."""
    made = []
    for name in ("one", "two"):
        chart, module = tmp_path / name / "wallet-bridge", tmp_path / name / "module"
        shutil.copytree(ROOT / release.CHART, chart)
        shutil.copytree(ROOT / "generated" / "go", module)
        if name == "two":
            change(tmp_path / name)
        archives.write_chart(chart, tmp_path / f"{name}.tgz", EPOCH)
        archives.write_go_module(module, tmp_path / name / "go", "example.org/x", "v1.0.0", EPOCH)
        made.append(
            [path.read_bytes() for path in (tmp_path / f"{name}.tgz", *sorted((tmp_path / name / "go").rglob("*.zip")))]
        )
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("part", "says"),
    [("npm", "npm: npm not found on PATH"), ("compiled", "compiled: no C compiler: .+ is not on PATH; on Debian: ")],
    ids=["a program", "what the hook that compiles says"],
)
def test_a_missing_toolchain_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, says: str) -> None:
    """Without what a part needs the release stops before it has removed anything, and says which part needs what."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "older").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(release.ReleaseError, match=f"{says}.*; leave it out by naming the other parts"):
        release.build(tmp_path / "dist", ["python", part], EPOCH)
    assert (tmp_path / "dist" / "older").exists()


PYTHONS = each_minor(candidates(), (3, 11)) if WHOLE else {}
"""Each Python on this machine on which the bridge must run."""
WITHOUT_EXTRAS = [name for name in MODULES if not name.startswith("bridge.server.native.")]
"""The compiled modules but for those that need the extra `native`, which `make test-compiled` has."""
whole = pytest.mark.skipif(not WHOLE, reason="`make release-check` runs it")


def run(folder: Path, *command: str | Path, **environ: str) -> str:
    """Run a command in a folder and return what it printed."""
    whole = {**os.environ, **environ}
    ended = subprocess.run(command, cwd=folder, env=whole, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@whole
@pytest.mark.parametrize("version", PYTHONS)
def test_the_bridge_installs_from_it(built: Path, tmp_path: Path, version: str) -> None:
    """On each Python with what the lock has, both distributions install from the folder alone, and make a call.

    Its modules are compiled on the Python that they were compiled for: pip takes that wheel. On others they are not.
    """
    run(tmp_path, PYTHONS[version], "-m", "venv", "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(
        tmp_path, python, "-m", "pip", "install", "--require-hashes", "--requirement", ROOT / "requirements" / "run.txt"
    )
    run(tmp_path, python, "-m", "pip", "install", "--no-index", "--find-links", built, f"wallet-bridge=={__version__}")
    run(tmp_path, python, "-m", "pip", "check")
    assert __version__ in run(tmp_path, python.with_name("bridge"), "--version")
    printed = json.loads(run(tmp_path, python, "-I", Path(__file__).with_name("one_call.py"), *WITHOUT_EXTRAS))
    assert printed["token"] == TERMINATE_REQUEST["token"]
    end = SUFFIX if version == f"{sys.version_info.major}.{sys.version_info.minor}" else ".py"
    packages = Path(run(tmp_path, python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))").strip())
    assert printed["files"] == [str(packages / f"{name.replace('.', '/')}{end}") for name in WITHOUT_EXTRAS]


@whole
def test_the_compiled_wheel_fits_where_its_tag_says(built: Path) -> None:
    """By auditwheel (PEP 600), what its libraries ask of a system is what the tag says."""
    (wheel,) = built.glob(COMPILED)
    found = json.loads(run(built, sys.executable, "-m", "auditwheel", "show", "--json", wheel.name))
    assert found["overall_tag"] == wheel.stem.rpartition("-")[2]


@whole
def test_the_go_module_installs_from_it(built: Path, tmp_path: Path) -> None:
    """With the folder as GOPROXY, an empty module requires ours by its version alone, and a caller is built."""
    downloads, proxy = run(tmp_path, "go", "env", "GOMODCACHE", "GOPROXY").split()
    environ = {
        "GOPROXY": f"file://{built}/go,file://{downloads}/cache/download,{proxy}",
        "GONOSUMDB": go_module(),
        "GOMODCACHE": str(tmp_path / "cache"),
        "GOFLAGS": "-modcacherw",
    }
    folder = tmp_path / "first"
    folder.mkdir()
    shutil.copyfile(ROOT / "examples" / "callers" / "go" / "main.go", folder / "main.go")
    for command in ("mod init first", f"mod edit -require {go_module()}@v{__version__}", "mod tidy", "build ./..."):
        run(folder, "go", *command.split(), **environ)


@whole
def test_the_sbom_has_the_lock(built: Path) -> None:
    """The SBOM is CycloneDX and has every package of requirements/run.txt, and what is compiled in, by its version."""
    (path,) = built.glob("*.cdx.json")
    bom = json.loads(path.read_text(encoding="utf-8"))
    lock = (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8")
    locked = {line.split()[0].split(";")[0] for line in lock.splitlines() if "==" in line.split(" ")[0]}
    assert bom["bomFormat"] == "CycloneDX"
    compiled_in = f"mypy=={importlib.metadata.version('mypy')}"
    assert locked | {compiled_in} <= {f"{one['name']}=={one.get('version')}" for one in bom["components"]}
