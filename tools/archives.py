"""Archives whose bytes depend on their content alone: no owner, one mode, one time, names sorted."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

MODE = 0o644


def write_chart(chart: Path, archive: Path, epoch: int) -> None:
    """Write a chart's folder as the archive that `helm install` takes, without what its .helmignore names.

    `helm package` writes the time of the moment into it.
    """
    ignored = [line.rstrip("/") for line in (chart / ".helmignore").read_text(encoding="utf-8").split()]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, name in _files(chart):
            if any(fnmatch(part, pattern) for part in name.split("/") for pattern in ignored):
                continue
            member = tarfile.TarInfo(f"{chart.name}/{name}")
            member.size, member.mode, member.mtime = path.stat().st_size, MODE, epoch
            tar.addfile(member, io.BytesIO(path.read_bytes()))
    with archive.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed:
        packed.write(content.getvalue())


def write_go_module(module: Path, proxy: Path, path: str, version: str, epoch: int) -> None:
    """Write a module's files as a proxy serves them, below `proxy`; v0 and v1 only, no upper-case letters in the path.

    Names: go.dev/ref/mod, "GOPROXY protocol" and "Module zip files".
    """
    place = proxy / path / "@v"
    place.mkdir(parents=True)
    time = datetime.fromtimestamp(epoch, UTC)
    (place / "list").write_text(f"{version}\n", encoding="utf-8")
    info = {"Version": version, "Time": time.strftime("%Y-%m-%dT%H:%M:%SZ")}
    (place / f"{version}.info").write_text(json.dumps(info), encoding="utf-8")
    (place / f"{version}.mod").write_bytes((module / "go.mod").read_bytes())
    with zipfile.ZipFile(place / f"{version}.zip", "w") as archive:
        for file, name in _files(module):
            # A zip's time has no zone and begins in 1980.
            entry = zipfile.ZipInfo(
                f"{path}@{version}/{name}", max(time, datetime(1980, 1, 1, tzinfo=UTC)).timetuple()[:6]
            )
            entry.external_attr, entry.compress_type = MODE << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file below a folder and its name there, sorted by name."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return ((folder / name, name) for name in names)
