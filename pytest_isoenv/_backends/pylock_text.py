"""The text of PEP 751 documents, as uv writes them and as it wants them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from pytest_isoenv._redact import without_credentials
from pytest_isoenv._urls import path_of
from pytest_isoenv.pinned import parse_pylock, pylock_trees
from pytest_isoenv.spec import Index

_PYPI = "https://pypi.org/simple"


def pins(text: str) -> list[str]:
    """What a document pins, as constraints; a package may stand there once for each of several."""
    if not text:
        return []
    found = []
    for package in parse_pylock(text).packages:
        if package.version is not None:
            marker = f" ; {package.marker}" if package.marker else ""
            found.append(f"{package.name}=={package.version}{marker}")
    return found


def rooted(text: str, start: Path) -> str:
    """The document with absolute paths: it is going to be installed from another place."""
    return _with_paths(text, lambda path: str((start / path).resolve()))


def moved(text: str, start: Path, to: Path) -> str:
    """The document with paths that start from ``to`` instead of ``start``."""

    def relative(path: str) -> str:
        return os.path.relpath((start / path).resolve(), to.resolve()).replace(os.sep, "/")

    def of_url(match: re.Match[str]) -> str:
        return f'path = "{path_of(urlsplit(match[1]).path)}"'

    # A file of this machine, as links to directories give it, has a path as well (PEP 751).
    return _with_paths(re.sub(r'\burl = "(file:[^"]+)"', of_url, text), relative)


def _with_paths(text: str, changed: Callable[[str], str]) -> str:
    return re.sub(r'\bpath = "([^"]+)"', lambda match: f'path = "{changed(match[1])}"', text)


def _blocks(text: str) -> tuple[str, list[str]]:
    head, *packages = re.split(r"^(?=\[\[packages\]\])", text, flags=re.MULTILINE)
    return head, packages


def without_trees(text: str) -> str:
    """The document without local trees: they are built from their content, never from a cache."""
    return _kept(text, lambda block: not pylock_trees(block))


def without(text: str, names: Container[str]) -> str:
    """The document without the packages of these (normalised) names."""
    return _kept(text, lambda block: _name(block) not in names)


def divided(text: str, names: Container[str]) -> tuple[str, str]:
    """The document with only the packages of these (normalised) names, and that with all others."""
    return _kept(text, lambda block: _name(block) in names), without(text, names)


def changed_packages(text: str, changed: Callable[[str, str], str]) -> str:
    """The document with each package's part as a function of its (normalised) name and text."""
    head, packages = _blocks(text)
    return head + "".join(changed(_name(block), block) for block in packages)


def _kept(text: str, wanted: Callable[[str], bool]) -> str:
    head, packages = _blocks(text)
    kept = "".join(filter(wanted, packages))
    # PEP 751 wants the key where there is no package, too.
    return head + kept if kept or not packages else f"{head}packages = []\n"


def _name(block: str) -> str:
    match = re.search(r'^name = "([^"]+)"', block, re.MULTILINE)
    return str(canonicalize_name(match[1])) if match else ""


def with_index(text: str, index: str | None) -> str:
    """The document with the index of each package, which uv needs to find its cached files."""
    if index is None:
        return text
    head, packages = _blocks(text)
    named = rf'\g<0>\nindex = "{index}"'
    return head + "".join(
        re.sub(r"^version = .*$", named, block, count=1, flags=re.MULTILINE)
        if re.search(r"^(wheels|sdist) = ", block, re.MULTILINE)
        and not re.search(r"^index = ", block, re.MULTILINE)
        else block
        for block in packages
    )


def only_index(environ: Mapping[str, str], declared: Index) -> str | None:
    """The one index that everything came from; None where there are several to choose from."""
    variables = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
    if declared.extra or declared.find_links or any(environ.get(key) for key in variables):
        return None
    index = (
        declared.default or environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or _PYPI
    )
    return without_credentials(re.sub(r"^[\w-]+=", "", index))  # it may have a name
