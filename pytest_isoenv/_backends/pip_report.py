"""What pip says it would install -> PEP 751 -> what pip is told to install. Pure functions.

The pip of an older Python reads no PEP 751, so it is given lines of a requirements file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.pylock import Package, PackageSdist, PackageWheel
from packaging.utils import canonicalize_name

from pytest_isoenv._urls import path_of

# The hashes that pip takes for safe.
_STRONG = ("sha256", "sha384", "sha512")

#: An entry of pip's installation report.
Item = Mapping[str, Any]
#: Gives the hashes of a file that the report tells none of.
Hashed = Callable[[Item], Mapping[str, str]]


def document(items: Iterable[Item], hashed: Hashed) -> str:
    """A PEP 751 document of everything in an installation report."""
    lines = ['lock-version = "1.0"', 'created-by = "pytest-isoenv"', "packages = []"]
    tables = [["[[packages]]", *_package(item, hashed)] for item in sorted(items, key=name_of)]
    lines = lines[:2] if tables else lines
    return "\n".join(line for table in [lines, *tables] for line in [*table, ""])


def name_of(item: Item) -> str:
    """The normalised name of an entry's package."""
    return str(canonicalize_name(item["metadata"]["name"]))


def requirement_of(item: Item) -> str:
    """The one requirement that an entry answers."""
    if item.get("is_direct"):
        return f"{name_of(item)} @ {item['download_info']['url']}"
    return f"{name_of(item)}=={item['metadata']['version']}"


def _package(item: Item, hashed: Hashed) -> Iterator[str]:
    yield f"name = {json.dumps(name_of(item))}"
    download = item["download_info"]
    if "dir_info" in download:
        editable = json.dumps(bool(download["dir_info"].get("editable", False)))
        yield f"directory = {{ {_place(download['url'])}, editable = {editable} }}"
        return
    yield f"version = {json.dumps(item['metadata']['version'])}"
    if "vcs_info" in download:
        yield f"vcs = {_vcs(download)}"
        return
    told = download["archive_info"].get("hashes", {})
    strong = {kind: told[kind] for kind in _STRONG if kind in told} or hashed(item)
    hashes = ", ".join(f"{kind} = {json.dumps(value)}" for kind, value in strong.items())
    file = f"{{ {_place(download['url'])}, hashes = {{ {hashes} }} }}"
    if item.get("is_direct"):
        yield f"archive = {file}"
    else:
        is_wheel = urlsplit(download["url"]).path.endswith(".whl")
        yield f"wheels = [{file}]" if is_wheel else f"sdist = {file}"


def _place(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return f"path = {json.dumps(path_of(parts.path))}"
    return f"url = {json.dumps(parts._replace(fragment='').geturl())}"


def _vcs(download: Mapping[str, Any]) -> str:
    info = download["vcs_info"]
    fields = {"type": info["vcs"], "url": download["url"], "commit-id": info["commit_id"]}
    fields["requested-revision"] = info.get("requested_revision")
    fields["subdirectory"] = download.get("subdirectory")
    said = (f"{key} = {json.dumps(value)}" for key, value in fields.items() if value)
    return f"{{ {', '.join(said)} }}"


@dataclasses.dataclass(frozen=True)
class Lines:
    """What pip is told: requirements with hashes, commits (which have none), and where to look."""

    hashed: list[str]
    commits: list[str]
    options: list[str]


def lines_of(packages: Iterable[Package], *, by_url: bool = False) -> Lines:
    """The lines of a requirements file that install what a PEP 751 document pins.

    What comes from an index is named by version and hashes and not by its URL: so credentials are
    found as when it was resolved, and pip chooses among the wheels of many platforms. ``by_url``
    is for pip's cache, which has files by their URLs and no index.
    """
    lines = Lines([], [], [])
    indexes: dict[str, None] = {}
    directories: dict[str, None] = {}
    for package in packages:
        marker = f" ; {package.marker}" if package.marker else ""
        if package.vcs is not None:
            lines.commits.append(f"{package.name} @ {_revision(package)}{marker}")
        elif package.archive is not None:
            file = package.archive
            url = file.url or Path(str(file.path)).as_uri()
            url += f"#subdirectory={file.subdirectory}" * bool(file.subdirectory)
            lines.hashed.append(f"{package.name} @ {url}{marker}{_options(file.hashes)}")
        elif package.directory is None:
            files = _files(package)
            options = "".join(dict.fromkeys(_options(file.hashes) for file in files))
            address = files[0].url if by_url and len(files) == 1 else None
            what = f" @ {address}" if address else f"=={package.version}"
            lines.hashed.append(f"{package.name}{what}{marker}{options}")
            indexes |= {package.index: None} if package.index else {}
            directories |= {str(Path(file.path).parent): None for file in files if file.path}
    lines.options.extend(text for url in indexes for text in ("--extra-index-url", url))
    lines.options.extend(text for path in directories for text in ("--find-links", path))
    return lines


def _files(package: Package) -> list[PackageWheel | PackageSdist]:
    return [*(package.wheels or ()), *([package.sdist] if package.sdist else ())]


def _options(hashes: Mapping[str, str]) -> str:
    return "".join(f" --hash={kind}:{hashes[kind]}" for kind in _STRONG if kind in hashes)


def _revision(package: Package) -> str:
    vcs = package.vcs
    assert vcs is not None
    url = f"{vcs.type}+{vcs.url or Path(str(vcs.path)).as_uri()}@{vcs.commit_id}"
    return url + f"#subdirectory={vcs.subdirectory}" * bool(vcs.subdirectory)
