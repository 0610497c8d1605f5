"""Finding Pythons: by version, by path, by name; probed once, the probe kept and validated."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_isoenv._files import read_json, write_json
from pytest_isoenv._process import Processes
from pytest_isoenv._settings import Settings
from pytest_isoenv.errors import InterpreterNotFound
from pytest_isoenv.pinned import Interpreter
from pytest_isoenv.spec import is_path

# Runs in the interpreter that is probed, on any Python 3.
_PROBE = """
import json, os, platform, sys, sysconfig

def full(info):
    text = "%d.%d.%d" % info[:3]
    return text if info.releaselevel == "final" else text + info.releaselevel[0] + str(info.serial)

version = platform.python_version()
print(json.dumps({
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "version": version,
    "implementation": sys.implementation.name,
    "abi": sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag or "",
    "platform": sysconfig.get_platform(),
    "libc": " ".join(platform.libc_ver()),
    "markers": {
        "implementation_name": sys.implementation.name,
        "implementation_version": full(sys.implementation.version),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        # A build between two releases calls itself "3.13.0+", which is no version (PEP 440).
        "python_full_version": version + "local" if version.endswith("+") else version,
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    },
}))
"""

_VERSION = re.compile(r"(?:python)?(?P<version>\d+(\.\d+){0,2})$")
#: The oldest Python that a worker runs on.
OLDEST = (3, 8)


class Interpreters:
    """The Pythons of this machine; probes are kept in ``memory``, a JSON file."""

    def __init__(self, settings: Settings, processes: Processes, memory: Path) -> None:
        self._settings = settings
        self._processes = processes
        self._memory = memory
        remembered = read_json(memory)
        self._known: dict[str, Any] = remembered if isinstance(remembered, dict) else {}
        self._lock = threading.RLock()

    def find(self, request: str | None) -> Interpreter:
        """The interpreter for a version (``3.12``), a path or a name; None is the host's own.

        Of several that fit a version, the host's own comes first, then the newest. Raises
        :exc:`~pytest_isoenv.errors.InterpreterNotFound`.
        """
        with self._lock:
            return self._find(request)

    def _find(self, request: str | None) -> Interpreter:
        own = self._probe(Path(getattr(sys, "_base_executable", sys.executable)))
        if request is None:
            found = own
        elif is_path(request):
            found = self._probe((self._settings.root / Path(request).expanduser()).absolute())
        else:
            found = self._by_name(request) or self._by_version(request, own)
        if found is None or _numbers(found.version) < OLDEST:
            raise InterpreterNotFound(request or "the host's", self._versions(own))
        return found

    def _by_name(self, name: str) -> Interpreter | None:
        if name[0].isdigit():
            return None
        found = shutil.which(name, path=self._settings.environ.get("PATH"))
        if found is None or (_VERSION.match(name) and _is_script(Path(found))):
            return None  # a shim that would have to run each time: the version says it all
        return self._probe(Path(found))

    def _by_version(self, request: str, own: Interpreter | None) -> Interpreter | None:
        match = _VERSION.match(request)
        if match is None:
            return None
        wanted = _numbers(match["version"])
        if own and _numbers(own.version)[: len(wanted)] == wanted:
            return own
        fitting = [
            python
            for python in self._named_like(wanted)
            if _numbers(python.version)[: len(wanted)] == wanted
            and python.implementation == "cpython"
        ]
        return max(fitting, key=lambda python: _numbers(python.version), default=None)

    def _named_like(self, wanted: tuple[int, ...]) -> list[Interpreter]:
        """Probe what is called python3.12 when 3.12 is wanted; the rest only if nothing is."""
        executables = list(_executables())
        name = "python" + ".".join(str(number) for number in wanted[:2])
        named = [path for path in executables if path.name in (name, f"{name}.exe")]
        return self._probe_all(named) or self._probe_all(executables)

    def _versions(self, own: Interpreter | None) -> list[str]:
        probed = [own, *self._probe_all(_executables())]
        versions = {python.version for python in probed if python}
        return sorted((v for v in versions if _numbers(v) >= OLDEST), key=_numbers)

    def _probe_all(self, paths: Iterable[Path]) -> list[Interpreter]:
        return [python for python in map(self._probe, paths) if python is not None]

    def _probe(self, path: Path) -> Interpreter | None:
        """Ask an executable what it is, unless the same file has answered before."""
        try:
            real = path.resolve(strict=True)
            stat = real.stat()
        except OSError:
            return None
        known = _remembered(self._known.get(str(path)))
        seen = (stat.st_size, stat.st_mtime_ns, str(real))
        if known and (known.size, known.mtime_ns, known.real_path) == seen:
            return known
        answer = self._ask(path)
        if answer is None:
            return None
        executable = Path(answer.pop("executable"))
        # A shim or a virtual environment's Python answers with the interpreter behind it.
        if executable.is_file() and executable.resolve() != real:
            return self._probe(executable)
        markers = tuple(sorted(answer.pop("markers").items()))
        python = Interpreter(
            executable=str(path),
            real_path=str(real),
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            markers=markers,
            **answer,
        )
        self._known[str(path)] = {**dataclasses.asdict(python), "machine": _machine()}
        write_json(self._memory, self._known)
        return python

    def _ask(self, path: Path) -> dict[str, Any] | None:
        try:
            answer = self._processes.run(
                [path, "-I", "-c", _PROBE], environ=self._settings.worker_environ
            )
        except OSError:  # not executable, or of another architecture
            return None
        if answer.status != 0:
            return None
        try:
            described: dict[str, Any] = json.loads(answer.stdout)
        except ValueError:
            return None
        return described


def _remembered(written: Any) -> Interpreter | None:
    """A probe as it was written down; None if another version wrote something else.

    Nor does it hold on another machine, or after the system's own upgrade: markers speak of both.
    """
    try:
        fields = dict(written)
        if fields.pop("machine") != _machine():
            return None
        markers = tuple((name, text) for name, text in fields.pop("markers"))
        return Interpreter(markers=markers, **fields)
    except (KeyError, TypeError, ValueError):
        return None


def _machine() -> str:
    """The system that probes hold for."""
    return f"{platform.machine()} {platform.release()} {platform.version()}"


def _executables() -> Iterator[Path]:
    """Every file on this machine that looks like a Python, without starting any; no shims."""
    from findpython.providers import (
        ALL_PROVIDERS,
    )  # only a run that asks for another version pays for it

    seen: set[Path] = set()
    for provider_class in ALL_PROVIDERS.values():
        provider = provider_class.create()
        for python in provider.find_pythons() if provider else ():
            path = Path(python.executable)
            if _is_new_binary(path, seen):
                yield path


def _is_new_binary(path: Path, seen: set[Path]) -> bool:
    try:
        # The name matters beside the target: python3.12 is looked for by name.
        identity = path.resolve(strict=True) / path.name
        if identity in seen:
            return False
        seen.add(identity)
        return not _is_script(path)
    except OSError:
        return False


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
