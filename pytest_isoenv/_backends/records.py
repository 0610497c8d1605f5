"""Whether the files of an environment are those that its installers wrote down, each of them.

Every distribution has a ``RECORD`` (PEP 376, PEP 627) with the size and the hash of its files. What
may differ: compiled bytecode, which Python writes anew when it likes; a file that several
distributions brought, of which the last stays; and what tests have added, which no record names.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import itertools
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv._prefixes import bin_directory
from pytest_isoenv.backend import Damage

_BYTECODE = (".pyc", ".pyo")
# Whose RECORD tells of the package as it was made, and not as it was installed.
_OTHERS = frozenset({"conda"})
# What of the top of site-packages makes a difference by being there.
_COUNTS = (".dist-info", ".egg-info", ".egg-link", ".pth")


@dataclasses.dataclass
class Written:
    """What an installer wrote down of a file; None and empty for what it did not.

    ``digest`` is in the URL-safe variant of base64, as in wheels.
    """

    package: str
    size: int | None = None
    algorithm: str = ""
    digest: str = ""


#: By path: what each package that has the file says of it.
Expected = Mapping[str, list[Written]]


def noted(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be recorded when an environment has been built.

    The digests of the records themselves, and of what stands in none: the environment's own
    scripts, and what is read when its Python starts.
    """
    relative = len(str(directory)) + 1
    return {
        "records": {str(record)[relative:]: _digest(record) for record in _records(facts)},
        "loose": {str(path)[relative:]: _identity(path) for path in _loose(directory, facts)},
    }


def examine(
    directory: Path, facts: Mapping[str, Any], *, thoroughly: bool = True
) -> Iterator[Damage]:
    """What is damaged; sizes alone tell of what was never written whole, and take less time."""
    looks = [
        compare(directory, expected(directory, facts), thoroughly=thoroughly),
        _changed_records(directory, facts),
    ]
    if thoroughly:
        looks += [_changed_loose(directory, facts), _added(directory, facts)]
    said = set()
    for damage in itertools.chain(*looks):
        if damage.path not in said:
            said.add(damage.path)
            yield damage


def expected(directory: Path, facts: Mapping[str, Any]) -> dict[str, list[Written]]:
    """What the records say of files inside of the environment."""
    found: dict[str, list[Written]] = defaultdict(list)
    inside = f"{directory}{os.sep}"
    for record in _records(facts):
        if _installer(record) in _OTHERS:
            continue
        package, home = _package(record), str(record.parent.parent)
        for name, digest, size in _rows(record):
            path = f"{home}{os.sep}{name}"
            if ".." in name or os.path.isabs(name):  # noqa: PTH117 - there are many
                path = os.path.normpath(os.path.join(home, name))  # noqa: PTH118
            if path.startswith(inside) and not path.endswith(_BYTECODE):
                algorithm, _, encoded = digest.partition("=")
                bytes_ = int(size) if size.isdigit() else None
                found[path].append(Written(package, bytes_, algorithm, encoded))
    return found


def compare(directory: Path, files: Expected, *, thoroughly: bool) -> Iterator[Damage]:
    """The files that none of those who have it wrote down as it is."""
    for path, several in files.items():
        reasons = [_difference(path, written, thoroughly=thoroughly) for written in several]
        if all(reasons):
            where = os.path.relpath(path, directory)
            yield Damage(where, reasons[-1] or "", several[-1].package)


def _difference(path: str, written: Written, *, thoroughly: bool) -> str | None:
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - there are many
        if written.size is not None and size != written.size:
            now = f"has {size} bytes" if size else "is empty"
            return f"{now}, and had {written.size}"
        if thoroughly and written.digest and not _is_like(path, written):
            return "has another content than was installed"
    except (FileNotFoundError, NotADirectoryError):
        return "is gone"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _is_like(path: str, written: Written) -> bool:
    try:
        hasher = hashlib.new(written.algorithm)
    except ValueError:
        return True  # nobody here can say
    with open(path, "rb") as file:  # noqa: PTH123 - there are many
        hasher.update(file.read())
    encoded = base64.urlsafe_b64encode(hasher.digest()).decode().rstrip("=")
    return encoded == written.digest.rstrip("=")


def _records(facts: Mapping[str, Any]) -> Iterator[Path]:
    """The records of what was installed at first; ``lib64`` may be another name of ``lib``."""
    places = {os.path.realpath(place): place for place in sorted(facts["installed"], reverse=True)}
    for place in sorted(places.values()):
        for name in facts["installed"][place]:
            record = Path(place, name, "RECORD")
            if name.endswith(".dist-info") and record.is_file():
                yield record


def _rows(record: Path) -> Iterator[tuple[str, str, str]]:
    try:
        lines = record.read_text(encoding="utf-8").splitlines()
        for row in csv.reader(lines):
            if row and row[0]:
                name, digest, size, *_ = (*row, "", "")
                yield name, digest, size
    except (OSError, UnicodeDecodeError, csv.Error):
        return  # that it was changed is said of the record itself


def _installer(record: Path) -> str:
    try:
        return record.with_name("INSTALLER").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _package(record: Path) -> str:
    """The name of the distribution, as its metadata's directory has it."""
    return record.parent.name.rpartition(".")[0].partition("-")[0]


def _changed_records(directory: Path, facts: Mapping[str, Any]) -> Iterator[Damage]:
    for name, digest in facts.get("records", {}).items():
        record = directory / name
        if not record.is_file():
            yield Damage(name, "is gone", _package(record))
        elif _digest(record) != digest:
            yield Damage(name, "was changed", _package(record))


def _changed_loose(directory: Path, facts: Mapping[str, Any]) -> Iterator[Damage]:
    for name, identity in facts.get("loose", {}).items():
        found = _identity(directory / name)
        if found != identity:
            yield Damage(name, "was changed" if found else "is gone")


def _added(directory: Path, facts: Mapping[str, Any]) -> Iterator[Damage]:
    """What somebody has installed since: others who have the same key did not ask for it."""
    for place, names in facts["installed"].items():
        for name in sorted(set(_names(Path(place))).difference(names)):
            if name.endswith(_COUNTS):
                where = os.path.relpath(os.path.join(place, name), directory)  # noqa: PTH118
                yield Damage(where, "was added")


def _loose(directory: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    yield from filter(Path.is_file, [directory / "pyvenv.cfg"])
    if not (directory / "conda-meta").is_dir():  # there, every file has its record
        scripts = bin_directory(directory)
        yield from (scripts / name for name in sorted(_names(scripts)))
    for place, names in facts["installed"].items():
        yield from (Path(place, name) for name in names if name.endswith((".pth", ".py")))


def _names(directory: Path) -> Collection[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names are wanted
    except OSError:
        return ()


def _identity(path: Path) -> str:
    """What a link says, or the digest of a file; empty for what cannot be read."""
    try:
        return f"-> {path.readlink()}" if path.is_symlink() else _digest(path)
    except OSError:
        return ""


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:20]


def told(damages: Iterable[Damage]) -> str:
    """The damage in a sentence: what is worst to know first, and how much more there is."""
    several = list(damages)
    more = f"; and {len(several) - 3} more files" if len(several) > 3 else ""
    return "; ".join(map(str, several[:3])) + more
