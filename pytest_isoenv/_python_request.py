"""What a request for a Python means: a version or a range of them, an implementation, a kind."""

from __future__ import annotations

import dataclasses
import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from pytest_isoenv.pinned import OLDEST, Interpreter

_REQUEST = re.compile(
    r"(python|(?P<implementation>cpython|pypy|graalpy))?"
    r"(?P<version>\d+(\.\d+){0,2}((a|b|rc)\d+)?)?"
    r"(?P<free_threaded>t)?"
)
_PARTS = ("implementation", "version", "free_threaded")
# What installations call their executables; where links lead to, it says the minor version.
_FILE = re.compile(r"(?P<implementation>python|pypy|graalpy)(?P<version>\d\.\d+)?")
# More than any minor version or patch will count up to.
_HIGHEST = 60


@dataclasses.dataclass(frozen=True)
class PythonRequest:
    """A Python asked for by what it is, not by where it lies.

    ``versions`` are those that will do; ``implementation`` is empty where none was named: then it
    is CPython, or whatever the host runs on. ``text`` is the request as uv understands it.
    """

    implementation: str
    versions: SpecifierSet
    free_threaded: bool
    text: str

    def fits_host(self, own: Interpreter) -> bool:
        """Whether the host's own Python will do; where nothing was said, it is as it is."""
        implementation = self.implementation or own.implementation
        return (
            self._has(own)
            and own.implementation == implementation
            and (own.free_threaded or not self.free_threaded)
        )

    def fits(self, python: Interpreter) -> bool:
        """Whether another Python of this machine will do."""
        return (
            self._has(python)
            and python.implementation == (self.implementation or "cpython")
            and python.free_threaded == self.free_threaded
        )

    def _has(self, python: Interpreter) -> bool:
        return python.release >= OLDEST and self.versions.contains(
            version_of(python), prereleases=True
        )

    def may_be_called(self, file: str) -> bool:
        """Whether an executable of this name is worth a question; ``python`` alone always is."""
        match = _FILE.match(file.lower())
        if match is None or match["version"] is None:
            return not file.startswith("python2")
        called = match["implementation"].replace("python", "cpython")
        if called != (self.implementation or "cpython"):
            return False
        return self._may_have(match["version"])

    @property
    def can_be_had(self) -> bool:
        """Whether any Python that a worker runs on would do."""
        major, oldest = OLDEST
        return any(self._may_have(f"{major}.{minor}") for minor in range(oldest, _HIGHEST))

    def _may_have(self, minor: str) -> bool:
        return bool(self.versions.prereleases) or any(
            self.versions.contains(f"{minor}.{patch}", prereleases=True)
            for patch in range(_HIGHEST)
        )


def parse_request(text: str) -> PythonRequest | None:
    """Read ``3.12``, ``>=3.10,<3.13``, ``pypy3.11``, ``3.13t``; None for the name of a file."""
    if text[0] in "<>=!~":
        return _range(text)
    match = _REQUEST.fullmatch(text)
    if match is None or not (match["version"] or match["implementation"]):
        return None
    implementation, version, kind = (match[name] or "" for name in _PARTS)
    text = f"{implementation}{version}{kind}"
    return PythonRequest(implementation, _prefix(version), bool(kind), text)


def _range(text: str) -> PythonRequest | None:
    try:
        versions = SpecifierSet(text)
    except InvalidSpecifier:
        return None
    oldest = ".".join(map(str, OLDEST))
    return PythonRequest("", versions, False, f"{versions},>={oldest}")


def _prefix(version: str) -> SpecifierSet:
    if not version:
        return SpecifierSet()
    is_whole = Version(version).is_prerelease
    return SpecifierSet(f"=={version}" if is_whole else f"=={version}.*")


def version_of(python: Interpreter) -> Version:
    """An interpreter's version; a build between two releases calls itself ``3.13.0+``."""
    return Version(python.version + "local" if python.version.endswith("+") else python.version)
