"""What is removed leaves its place in one step, and is deleted then, by whoever comes by."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import uuid
from pathlib import Path

from pytest_isoenv._files import children
from pytest_isoenv._steps import reached


class Trash:
    """A directory for what is to be deleted, on the same file system as where that lies."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def discard(self, path: Path) -> Path:
        """Take something from its place; nothing is deleted yet. Returns where it is now."""
        reached("discard", path)
        self._directory.mkdir(parents=True, exist_ok=True)
        return path.replace(self._directory / f"{path.name}-{uuid.uuid4().hex[:8]}")

    def remove(self, path: Path) -> None:
        """Take something from its place, and delete it; what is not there is no error."""
        try:
            delete(self.discard(path))
        except FileNotFoundError:
            return
        except OSError:  # a file system that is full may refuse to move it
            delete(path)

    def empty(self, until: float | None = None) -> None:
        """Delete what was discarded; at a moment (of the monotonic clock) the rest is left."""
        for path in children(self._directory):
            if until is not None and time.monotonic() > until:
                return
            reached("empty the trash", path)
            delete(path)


def delete(path: Path) -> None:
    """Delete a file or a tree, as far as it can be done, also where tests took away permissions."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        _allow(path)
        shutil.rmtree(path, ignore_errors=True)


def _allow(tree: Path) -> None:
    """Give back the permissions that deleting needs, from the top down.

    Somebody else may be deleting the same at this moment.
    """
    with contextlib.suppress(FileNotFoundError):
        tree.chmod(stat.S_IRWXU)
    for directory, subdirectories, _ in os.walk(tree):
        for path in (Path(directory, name) for name in subdirectories):
            if not path.is_symlink():
                with contextlib.suppress(FileNotFoundError):
                    path.chmod(stat.S_IRWXU)
