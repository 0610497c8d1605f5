"""The root of the cache: whose it is, who may write there, and what to say if it is of no use."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pytest_isoenv._steps import reached
from pytest_isoenv.errors import StoreError

_README = """\
This directory belongs to pytest-isoenv, a pytest plugin. It keeps the environments that tests ran
in, so that the next run need not build them again. Nothing in it is precious: when no test run is
under way it may be deleted as a whole.
"""
_CACHEDIR_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# This file marks a cache directory; see https://bford.info/cachedir/
"""

#: What a file system says that is full.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def own(root: Path) -> bool:
    """Make the root, for this user alone; raises StoreError where it must not be used.

    Returns whether it can be written to: one that cannot is no trouble while everything is there.
    """
    reached("make the root", root)
    with told(root):
        if not root.is_dir():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_strangers(root)
        if not os.access(root, os.W_OK):
            return False
        for name, text in (("README.md", _README), ("CACHEDIR.TAG", _CACHEDIR_TAG)):
            if _is_empty(root / name):
                (root / name).write_text(text, encoding="utf-8")
    return True


def refuse_strangers(root: Path) -> None:
    """Raise StoreError where others can write: they could have us run what they like."""
    if not hasattr(os, "getuid"):
        return
    trusted = {os.getuid(), 0}
    link, status = root.lstat(), root.stat()
    if link.st_uid not in trusted:
        what = "a link of" if stat.S_ISLNK(link.st_mode) else "it belongs to"
        raise StoreError(str(root), f"{what} the user with id {link.st_uid}")
    if status.st_uid not in trusted:
        raise StoreError(str(root), f"it belongs to the user with id {status.st_uid}")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise StoreError(str(root), "others may write to it (mode 0700 is what it should have)")


def _is_empty(file: Path) -> bool:
    try:
        return file.stat().st_size == 0
    except FileNotFoundError:
        return True


@contextlib.contextmanager
def told(root: Path) -> Iterator[None]:
    """What the file system refuses is said of the cache as a whole."""
    try:
        yield
    except OSError as error:
        raise refused(root, error) from error


def refused(root: Path, error: OSError) -> StoreError:
    """What to say of a cache whose file system refuses something."""
    hint = "; make room on its disk (isoenv prune)" if error.errno in NO_ROOM else ""
    return StoreError(str(root), f"{error}{hint}")
