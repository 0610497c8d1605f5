"""A program of its own: solves for conda packages, or installs known ones, through py-rattler.

``python solve_conda.py REQUEST``, where REQUEST is a JSON file with ``prefix`` and either
``channels``, ``specs`` and ``exclude_newer``, or ``records``. Ends in ``os._exit``: py-rattler can
crash while the interpreter shuts down, after its work has succeeded.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import json
import os
import sys
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import rattler
from rattler.install import InstallerReporter
from rattler.package_cache import PackageCache

# The variable is conda's own.
_OFFLINE = os.environ.get("CONDA_OFFLINE", "").lower() in ("1", "true", "yes", "on")


class RefusedError(Exception):
    """What is there is not what was asked for; the text says why."""


async def fill(request: dict[str, Any]) -> None:
    """Create the prefix that a request describes."""
    if "records" in request:
        records = [record_of(fields) for fields in request["records"]]
    else:
        records = await solved(request)
    for record in records:
        check_file(record)
    packages = cache() / "pkgs"
    lying = {name_of(record): unpacked(packages, record) for record in records}
    watch = Watch(lying)  # type: ignore[abstract]  # the others are empty, and not abstract
    await rattler.install(
        records,
        target_prefix=request["prefix"],
        package_cache=PackageCache(packages),
        show_progress=False,
        reporter=watch,
    )


class Watch(InstallerReporter):
    """Ends the program before a package is linked that would write outside the prefix.

    py-rattler looks at no path that a package lists, and goes on if a reporter raises. ``unpacked``
    are the directories of packages by their names.
    """

    def __init__(self, unpacked: dict[str, Path]) -> None:
        self._unpacked = unpacked

    def on_link_start(self, operation: int, package_name: str) -> int:
        """Look at what was unpacked, whoever unpacked it."""
        try:
            reason = leads_out(self._unpacked[package_name])
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"it cannot be checked: {error!r}"
        if reason is not None:
            sys.stderr.write(f"RefusedError: {package_name} is not installed: {reason}\n")
            sys.stderr.flush()
            os._exit(1)
        return 0


def cache() -> Path:
    """Where py-rattler keeps what it has downloaded, also for others who use it."""
    told = os.environ.get("RATTLER_CACHE_DIR")
    if told:
        return Path(told)
    homes = {
        "darwin": Path.home() / "Library" / "Caches",
        "win32": Path(os.environ.get("LOCALAPPDATA") or Path.home()),
    }
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return homes.get(sys.platform, usual) / "rattler" / "cache"


def name_of(record: rattler.RepoDataRecord) -> str:
    """The name by which a reporter is told of a package."""
    return str(record.name.normalized)


def unpacked(packages: Path, record: rattler.RepoDataRecord) -> Path:
    """Where a package will lie below the cache."""
    return packages / f"{name_of(record)}-{record.version}-{record.build}"


def leads_out(package: Path) -> str | None:
    """Why an unpacked package would write outside the prefix that it is linked into."""
    for path in (*listed(package), *commands(package)):
        pure = PurePosixPath(path.replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts or Path(path).is_absolute():
            return f"its file {path!r} leads out of the environment"
        file = package / pure
        if file.is_symlink() and file.is_dir() and not _stays_inside(file, package):
            return f"its link {path!r} leads out of the environment, to another directory"
    return None


def _stays_inside(link: Path, package: Path) -> bool:
    return link.resolve().is_relative_to(package.resolve())


def listed(package: Path) -> list[str]:
    """The paths that a package says it has."""
    paths, files = package / "info" / "paths.json", package / "info" / "files"
    told = files.read_text(encoding="utf-8").splitlines() if files.exists() else []
    if paths.exists():
        entries = json.loads(paths.read_text(encoding="utf-8"))["paths"]
        told += [entry["_path"] for entry in entries]
    return told


def commands(package: Path) -> list[str]:
    """The scripts that are made for it, if it is a package of Python's for any platform."""
    link = package / "info" / "link.json"
    if not link.exists():
        return []
    noarch = json.loads(link.read_text(encoding="utf-8")).get("noarch") or {}
    return [f"bin/{entry.partition('=')[0].strip()}" for entry in noarch.get("entry_points") or ()]


async def solved(request: dict[str, Any]) -> list[rattler.RepoDataRecord]:
    """The packages that answer the specs of a request."""
    newest = request.get("exclude_newer")
    return await rattler.solve(
        [rattler.Channel(channel) for channel in request["channels"]],
        [rattler.MatchSpec(spec) for spec in request["specs"]],
        gateway=rattler.Gateway(default_config=rattler.SourceConfig(cache_action=_cache_action())),
        platforms=[rattler.Subdir.current(), rattler.Subdir("noarch")],
        virtual_packages=rattler.VirtualPackage.detect(),
        exclude_newer=datetime.datetime.fromisoformat(newest) if newest else None,
    )


def _cache_action() -> Literal["cache-or-fetch", "force-cache-only"]:
    return "force-cache-only" if _OFFLINE else "cache-or-fetch"


def leave_the_network_alone() -> None:
    """For installing there is no option: through a proxy that is nowhere nothing gets out."""
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        os.environ[name] = os.environ[name.lower()] = "http://127.0.0.1:9"


def record_of(fields: dict[str, Any]) -> rattler.RepoDataRecord:
    """A package as it was pinned."""
    package = rattler.PackageRecord(
        name=fields["name"],
        version=fields["version"],
        build=rattler.BuildString(fields["build"]),
        build_number=fields["build_number"],
        subdir=fields["subdir"],
        noarch=fields["noarch"],
        depends=fields["depends"],
        sha256=bytes.fromhex(fields["sha256"]),
        python_site_packages_path=fields["python_site_packages_path"],
    )
    return rattler.RepoDataRecord(package, fields["fn"], fields["url"], fields["channel"])


def check_file(record: rattler.RepoDataRecord) -> None:
    """Compare a file of this machine with its hash, which py-rattler does for downloads only."""
    parts = urlsplit(record.url)
    if parts.scheme != "file" or record.sha256 is None:
        return
    found = hashlib.sha256(Path(url2pathname(parts.path)).read_bytes()).digest()
    if found != record.sha256:
        raise RefusedError(
            f"{record.url} has the sha256 {found.hex()}, and {record.sha256.hex()} is pinned"
        )


def main(request: str) -> int:
    """Do what the file ``request`` says; the exit status."""
    if _OFFLINE:
        leave_the_network_alone()
    try:
        asyncio.run(fill(json.loads(Path(request).read_text(encoding="utf-8"))))
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:  # noqa: BLE001 - the exceptions of py-rattler have no common base
        offline = "offline: " if _OFFLINE else ""
        sys.stderr.write(f"{offline}{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(status)
