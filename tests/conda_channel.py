"""A conda channel in a directory, with packages made here; its Python is a shim of the host's."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SUBDIR_OF_MACHINE = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
VERSION = "{}.{}.{}".format(*sys.version_info)
#: Where the packages of this Python lie below its prefix.
PURELIB = Path(sysconfig.get_path("purelib", vars={"base": "/p"})).relative_to("/p").as_posix()


def make_package(
    channel: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    depends: Iterable[str] = (),
) -> Path:
    """Write a ``.tar.bz2`` package for every machine that has this one's files."""
    index = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": list(depends),
        "subdir": subdir(),
    }
    texts = dict(files or {})
    paths = "\n".join([*texts, *(links or {})]) + "\n"
    texts |= {"info/index.json": json.dumps(index), "info/files": paths}
    package = channel / subdir() / f"{name}-{version}-0.tar.bz2"
    package.parent.mkdir(parents=True, exist_ok=True)
    (channel / "noarch").mkdir(exist_ok=True)
    with tarfile.open(package, "w:bz2") as archive:
        for path, text in texts.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            member.mode = 0o755 if path.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
        for path, target in (links or {}).items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return package


def subdir() -> str:
    return SUBDIR_OF_MACHINE[os.uname().machine]


def make_python(channel: Path) -> Path:
    """A ``python`` that is a virtual environment of the Python that runs the tests."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    files = {
        "pyvenv.cfg": f"home = {base.parent}\ninclude-system-site-packages = false\n",
        f"{PURELIB}/README.txt": "here go packages\n",
    }
    names = ("python", "python3", f"python3.{sys.version_info.minor}")
    links = {f"bin/{name}": str(base) for name in names}
    return make_package(channel, "python", VERSION, files=files, links=links)


def make_distribution(
    channel: Path, name: str, version: str, requires: Iterable[str] = (), module: str | None = None
) -> Path:
    """A package of Python's own kind, as conda has many: it brings the metadata of a wheel."""
    info = f"{PURELIB}/{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    files = {
        f"{PURELIB}/{name}.py": module or f"__version__ = {version!r}\nORIGIN = 'conda'\n",
        f"{info}/METADATA": metadata,
        f"{info}/RECORD": "",
        f"{info}/INSTALLER": "conda\n",
    }
    return make_package(channel, name, version, files=files, depends=["python"])


def write_index(channel: Path) -> str:
    """Write what conda reads of a channel first; returns the channel's URL."""
    for directory in (channel / "noarch", channel / subdir()):
        directory.mkdir(parents=True, exist_ok=True)
        packages = {file.name: _entry(file) for file in sorted(directory.glob("*.tar.bz2"))}
        repodata = {"info": {"subdir": directory.name}, "packages": packages}
        (directory / "repodata.json").write_text(json.dumps(repodata))
    return channel.as_uri()


def _entry(package: Path) -> dict[str, Any]:
    data = package.read_bytes()
    with tarfile.open(package) as archive:
        member = archive.extractfile("info/index.json")
        assert member is not None
        entry: dict[str, Any] = json.load(member)
    digests = {kind: hashlib.new(kind, data).hexdigest() for kind in ("md5", "sha256")}
    return {**entry, **digests, "size": len(data)}
