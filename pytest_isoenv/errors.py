"""What can go wrong, as data.

::

    IsoenvError
    ├── ConfigError           what was declared is wrong: a usage error, nothing was built
    ├── InterpreterNotFound   no Python on this machine answers the request
    ├── CommandError          a program we ran (the installer, an interpreter) failed
    │   ├── ResolutionError   the requirements have no solution, or no index answered
    │   └── BuildError        installing the resolved artefacts failed
    ├── LockError             a lock file that does not fit the environment
    ├── HashError             what an index has is not what a requirements file allows
    ├── LayerError            an environment does not fit on the one beneath it
    ├── StoreError            the cache directory cannot be used
    ├── BrokenEnvironment     a finished environment does not answer as it was built
    └── WorkerError           the process that runs the tests could not be started, or died

Every error keeps its fields, survives :mod:`pickle`, and says what to do next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pytest_isoenv._redact import redact


class IsoenvError(Exception):
    """The base of every error that pytest-isoenv raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), dict(vars(self)))


def _rebuild(cls: type[IsoenvError], fields: dict[str, object]) -> IsoenvError:
    error = cls.__new__(cls)
    vars(error).update(fields)
    return error


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a declaration.

    ``where`` is the file and key (or the test), ``what`` names the value and the rule.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return redact(f"{self.where}: {self.what}")


@dataclasses.dataclass(eq=False)
class ConfigError(IsoenvError):
    """Declarations that cannot be used; holds every problem found, not only the first."""

    problems: Sequence[Problem]

    def __str__(self) -> str:
        return "\n".join(f"isoenv: {problem}" for problem in self.problems)


@dataclasses.dataclass(eq=False)
class InterpreterNotFound(IsoenvError):
    """No interpreter satisfies ``request``; ``found`` are the versions that are there.

    ``download`` says what became of downloading it: ``""`` where that could not help, ``"off"``
    where it is not allowed, ``"offline"`` where the run is, else why it failed.
    """

    request: str
    found: Sequence[str]
    download: str = ""

    def __str__(self) -> str:
        ways = ["install it", "name one of these"]
        if self.download == "off":
            ways.append("let uv download it (UV_PYTHON_DOWNLOADS=automatic)")
        if self.download == "offline":
            ways.append("run without --env-offline, so that uv can download it")
        return f"{self.reason}; {', '.join(ways)}, or set missing-interpreter: skip"

    @property
    def reason(self) -> str:
        """What is missing, without what to do about it: a test that is skipped says no more."""
        found = ", ".join(self.found) or "none"
        text = f"no Python interpreter for {self.request!r} was found (found: {found})"
        failed = self.download not in ("", "off", "offline")
        return f"{text}, and uv could not download it: {self.download}" if failed else text


@dataclasses.dataclass(eq=False)
class CommandError(IsoenvError):
    """A command failed: what for, which command, its exit status and its own words.

    ``happened`` says it in ours, and ``hint`` what to do next, where that is known. ``offline``:
    it lacks what it was not to ask the network for.
    """

    purpose: str
    command: str
    status: int
    output: str
    hint: str = ""
    happened: str = ""
    offline: bool = False

    def __str__(self) -> str:
        lines = [
            f"{self.purpose}: {self.happened or f'the command exited with status {self.status}'}",
            self.output.rstrip() or "(it printed nothing)",
            f"to repeat it: {self.command}",
        ]
        return "\n".join(lines + [f"next step: {self.hint}"] * bool(self.hint))


class ResolutionError(CommandError):
    """The requirements could not be resolved to artefacts."""


class BuildError(CommandError):
    """The environment's directory could not be built from its artefacts."""


@dataclasses.dataclass(eq=False)
class LockError(IsoenvError):
    """The lock file ``path`` cannot be used with an interpreter of version ``python``."""

    path: str
    reason: str
    python: str

    def __str__(self) -> str:
        return (
            f"the lock {self.path} does not fit Python {self.python} on this machine: "
            f"{self.reason}; lock the environment anew (isoenv lock), or give it another Python"
        )


@dataclasses.dataclass(eq=False)
class HashError(IsoenvError):
    """No file of ``package`` has one of the ``allowed`` hashes; ``found`` are those that it has."""

    package: str
    allowed: Sequence[str]
    found: Sequence[str]

    def __str__(self) -> str:
        allowed, found = ", ".join(self.allowed), ", ".join(self.found) or "none"
        return (
            f"no file of {self.package} has a hash that the requirements file allows "
            f"(allowed: {allowed}; found: {found}); make the requirements file anew if you trust "
            f"the index"
        )


@dataclasses.dataclass(eq=False)
class LayerError(IsoenvError):
    """What is asked for cannot lie on top of the environment ``layer``, for ``reason``."""

    layer: str
    reason: str

    def __str__(self) -> str:
        return (
            f"this does not fit on top of {self.layer!r}: {self.reason}; change one of the two, or "
            f"take {self.layer!r} out of its layers and let it extend that environment instead"
        )


@dataclasses.dataclass(eq=False)
class StoreError(IsoenvError):
    """The cache at ``path`` cannot be used, for ``reason``."""

    path: str
    reason: str

    def __str__(self) -> str:
        return (
            f"the cache directory {self.path} cannot be used: {self.reason}; "
            f"name another with --env-cache-dir"
        )


@dataclasses.dataclass(eq=False)
class BrokenEnvironment(IsoenvError):
    """The environment at ``path`` is not what was recorded when it was built."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"the environment {self.path} is broken: {self.reason}"


@dataclasses.dataclass(eq=False)
class WorkerError(IsoenvError):
    """The worker of an environment could not run: how it ended, and its last words."""

    environment: str
    ending: str
    output: str = ""

    def __str__(self) -> str:
        text = f"the worker of environment {self.environment!r} {self.ending}"
        return f"{text}\n{self.output.rstrip()}" if self.output.strip() else text
