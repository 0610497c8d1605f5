"""What a user should know of the disk that the cache is on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

# File systems of other machines, by the beginnings of their types' names (Linux).
_NETWORK = (
    *("nfs", "cifs", "smb", "ncp", "afs", "9p", "ceph", "lustre", "glusterfs", "beegfs", "gpfs"),
    *("fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "davfs"),
)
_MOUNTS = Path("/proc/self/mountinfo")


def remarks(cache: Path, mounts: Path = _MOUNTS) -> Iterator[str]:
    """What is unusual about a cache directory, which need not be there yet.

    ``mounts`` lists what is mounted where (proc(5)); where there is no such file, nobody can tell.
    """
    if cache.exists() and not os.access(cache, os.W_OK):
        yield "it can only be read: what is missing in it is built for the run alone"
    kind = _kind_of(cache, mounts)
    if kind.startswith(_NETWORK):
        yield (
            f"it is on a network file system ({kind}), where locks may not hold and builds are "
            f"slow: a directory of this machine is better (--env-cache-dir)"
        )


def _kind_of(directory: Path, mounts: Path) -> str:
    """The type of the file system that a directory is on, or will be; empty if nobody can tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = directory.resolve()
    found = [(point, kind) for point, kind in map(_mounted, lines) if place.is_relative_to(point)]
    # Of two at one place the later one hides the other.
    deepest = sorted(found, key=lambda one: len(one[0].parts))[-1:]
    return deepest[0][1] if deepest else ""


def _mounted(line: str) -> tuple[Path, str]:
    """Where something is mounted, and its type."""
    where, _, what = line.partition(" - ")
    point = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), where.split(" ")[4])
    return Path(point), what.partition(" ")[0]
