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
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import rattler

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
    await rattler.install(records, target_prefix=request["prefix"], show_progress=False)


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
