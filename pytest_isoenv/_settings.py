"""What this machine and this invocation say: the host's variables, the cache's place, limits.

The only module that reads ``os.environ`` and asks platformdirs.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import platformdirs

from pytest_isoenv import _variables
from pytest_isoenv.errors import ConfigError, Problem

# How each installer is told to leave the network alone.
_OFFLINE = ("UV_OFFLINE", "PIP_NO_INDEX", "CONDA_OFFLINE", "MAMBA_OFFLINE")
# How often each tries again by itself what has failed; a user who has said it is obeyed.
_RETRIES = ("UV_HTTP_RETRIES", "PIP_RETRIES")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How this run uses the machine.

    ``root`` is the directory that relative paths of declarations start from. ``jobs`` bounds the
    environments that are built and run at once; ``timeout`` is how long (seconds) one may give no
    sign of life while it has something to do, None for ever. With ``refresh`` every environment is
    ephemeral; with ``upgrade`` kept resolutions are made anew; with ``offline`` nothing asks the
    network. ``outputs`` are files that the run writes, and so no part of what it tests. ``shared``
    is where the processes of one run keep ephemeral environments together; None where a process
    has its own. ``scratch`` is a place for what cannot be in the cache, as nobody can write there.
    """

    root: Path
    cache: Path
    jobs: int
    refresh: bool
    upgrade: bool
    environ: Mapping[str, str] = dataclasses.field(repr=False)
    outputs: frozenset[Path] = frozenset()
    timeout: float | None = None
    shared: Path | None = None
    offline: bool = False
    scratch: Path = dataclasses.field(default_factory=lambda: _scratch())

    @property
    def addopts(self) -> str:
        """What the shell adds to the host's command line; an environment may declare another."""
        return self.environ.get("PYTEST_ADDOPTS", "")

    @property
    def installer_environ(self) -> dict[str, str]:
        """The host's variables that an installer gets to see."""
        return _variables.for_installers(self.environ)

    @property
    def network_environ(self) -> dict[str, str]:
        """Variables for installers beside those of the host: how they are to use the network."""
        if self.offline:
            return dict.fromkeys(_OFFLINE, "1")
        return {}

    @property
    def first_try(self) -> dict[str, str]:
        """Variables with which installers try once: what is down is said at once.

        Empty where the user has said how often they try.
        """
        if self.offline or any(self.environ.get(name) for name in _RETRIES):
            return {}
        return dict.fromkeys(_RETRIES, "0")

    @property
    def worker_environ(self) -> dict[str, str]:
        """The host's variables that processes in an environment get to see: see :meth:`passed`."""
        return self.passed(None)

    def passed(self, patterns: Collection[str] | None) -> dict[str, str]:
        """The host's variables that processes in an environment get to see.

        Where ``patterns`` are given, these are names and globs, and nothing else is passed but what
        no process can do without. The executables of the host's own virtual environment leave
        ``PATH``, as if it had been deactivated.
        """
        environ = _variables.for_environments(self.environ, patterns)
        if sys.prefix != sys.base_prefix:
            own = {str(Path(sys.prefix, "bin")), str(Path(sys.prefix, "Scripts"))}
            own |= {str(Path(sys.executable).parent)}
            entries = environ.get("PATH", os.defpath).split(os.pathsep)
            environ["PATH"] = os.pathsep.join(entry for entry in entries if entry not in own)
        return environ


def gather(
    root: Path,
    *,
    cache: Path | None = None,
    jobs: int | None = None,
    refresh: bool = False,
    upgrade: bool = False,
    timeout: float | None = None,
    outputs: Iterable[Path] = (),
    shared: Path | None = None,
    offline: bool = False,
) -> Settings:
    """The settings of this process; what is not given is found out.

    The cache lies where ``XDG_CACHE_HOME`` or the platform's convention puts a user's caches.
    Raises :exc:`~pytest_isoenv.errors.ConfigError` for what contradicts itself.
    """
    if offline and upgrade:
        what = "--env-upgrade resolves anew, which needs the network: give one of the two"
        raise ConfigError([Problem("--env-offline", what)])
    return Settings(
        root=root,
        cache=cache.absolute() if cache else _cache(),
        jobs=jobs or usable_cpus(),
        refresh=refresh,
        upgrade=upgrade,
        timeout=timeout,
        environ=dict(os.environ),
        outputs=frozenset(outputs),
        shared=shared,
        offline=offline,
    )


def _cache() -> Path:
    """Where the platform keeps a user's caches; a user without a home has it among temporary files.

    What a service runs as may have no home directory, or one that is not there.
    """
    usual = platformdirs.user_cache_path("pytest-isoenv")
    there = next((path for path in (usual, *usual.parents) if path.exists()), Path())
    can_be_made = usual.is_absolute() and there.is_dir() and os.access(there, os.W_OK)
    return usual if there == usual or can_be_made else _scratch()


def _scratch() -> Path:
    """A place of this user's own among temporary files."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()).absolute() / f"pytest-isoenv-{user}"


def usable_cpus() -> int:
    """How many CPUs this process may use, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
