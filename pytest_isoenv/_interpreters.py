"""Finding Pythons: by what they are, by path, by name; each probed once, and the probe kept."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_isoenv._files import read_json, write_json
from pytest_isoenv._process import Processes
from pytest_isoenv._settings import Settings
from pytest_isoenv.errors import InterpreterNotFound
from pytest_isoenv.pinned import OLDEST, Interpreter
from pytest_isoenv.spec import names_a_path

if TYPE_CHECKING:
    from packaging.version import Version

    from pytest_isoenv._python_downloads import Downloads
    from pytest_isoenv._python_request import PythonRequest

#: Runs in the interpreter that is probed, on any Python 3.
PROBE = """
import json, os, platform, sys, sysconfig

def full(info):
    text = "%d.%d.%d" % info[:3]
    return text if info.releaselevel == "final" else text + info.releaselevel[0] + str(info.serial)

version = platform.python_version()
executable = getattr(sys, "_base_executable", None) or sys.executable
if sys.prefix != sys.base_prefix and executable == sys.executable:  # until 3.10 it does not say
    executable = os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])
print(json.dumps({
    "executable": executable,
    "version": version,
    "implementation": sys.implementation.name,
    "abi": sysconfig.get_config_var("SOABI") or (sys.implementation.cache_tag or "") + (
        "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    ),
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

_ANSWERED = frozenset(
    {"executable", "version", "implementation", "abi", "platform", "libc", "markers"}
)


class Interpreters:
    """The Pythons of this machine; probes are kept in ``memory``, a JSON file.

    ``keep`` writes it.
    """

    def __init__(
        self,
        settings: Settings,
        processes: Processes,
        memory: Path,
        keep: Callable[[Path, Any], None] = write_json,
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._memory = memory
        self._write = keep
        remembered = read_json(memory)
        self._known: dict[str, Any] = remembered if isinstance(remembered, dict) else {}
        self._found: dict[str | None, Interpreter] = {}
        self._lock = threading.RLock()

    @cached_property
    def _downloads(self) -> Downloads:
        from pytest_isoenv._python_downloads import Downloads  # only who misses one pays for it

        return Downloads(self._settings, self._processes)

    def find(self, request: str | None, *, download: bool = True) -> Interpreter:
        """The interpreter for a request; None is the host's own.

        A version (``3.12``), a range (``>=3.10,<3.13``), an implementation (``pypy3.11``,
        ``3.13t``), an executable's name, or the path of one, or of an environment's directory.
        Of several that fit, the host's own comes first, then the newest. What is not there is
        downloaded where that is allowed, and ``download`` says so. Raises
        :exc:`~pytest_isoenv.errors.InterpreterNotFound`.
        """
        with self._lock:
            if request in self._found:
                return self._found[request]
            own = self._probe(Path(getattr(sys, "_base_executable", sys.executable)))
            found = self._find(request, own)
        failed = ""
        if found is None and download:
            found, failed = self._download(request)
        if found is None or found.release < OLDEST:
            raise InterpreterNotFound(request or "the host's", self._labels(own), failed)
        self._found[request] = found
        return found

    def _find(self, request: str | None, own: Interpreter | None) -> Interpreter | None:
        if request is None:
            return own
        if names_a_path(request):
            return self._at((self._settings.root / Path(request).expanduser()).absolute())
        from pytest_isoenv._python_request import parse_request  # the host's own costs no look

        wanted = parse_request(request)
        named = self._by_name(request, wanted)
        return self._by_kind(wanted, own) if named is None and wanted else named

    def _at(self, path: Path) -> Interpreter | None:
        from pytest_isoenv._python_places import python_below  # the host's own costs no look

        return self._probe(python_below(path) if path.is_dir() else path)

    def _by_name(self, name: str, wanted: PythonRequest | None) -> Interpreter | None:
        if not name[0].isalpha():
            return None
        from pytest_isoenv._python_places import is_script  # the host's own costs no look

        path = shutil.which(name, path=self._settings.environ.get("PATH"))
        if path is None or (wanted and is_script(Path(path))):
            return None  # a shim that would have to run each time: the version says it all
        found = self._probe(Path(path))
        return None if found and wanted and not wanted.fits_host(found) else found

    def _by_kind(self, wanted: PythonRequest, own: Interpreter | None) -> Interpreter | None:
        if own and wanted.fits_host(own):
            return own
        for of_conda in (False, True):
            files = self._executables_of_conda if of_conda else self._executables
            likely = [path for path in files if wanted.may_be_called(path.resolve().name)]
            fitting = [python for python in self._probe_all(likely) if wanted.fits(python)]
            if fitting:
                return max(fitting, key=_newest)
        return None

    # To list them takes longer than all else on a hit: once for all that a run looks for.
    @cached_property
    def _executables(self) -> list[Path]:
        from pytest_isoenv._python_places import executables

        return list(executables(self._settings.environ))

    @cached_property
    def _executables_of_conda(self) -> list[Path]:
        from pytest_isoenv._python_places import conda_executables

        return list(conda_executables(self._settings.environ))

    def _download(self, request: str | None) -> tuple[Interpreter | None, str]:
        from pytest_isoenv._python_request import parse_request  # the host's own costs no look

        wanted = parse_request(request) if request else None
        if wanted is None:
            return None, ""
        answer = self._downloads.fetch(wanted)
        if isinstance(answer, str):
            return None, answer
        with self._lock:
            vars(self).pop("_executables", None)  # there is one more
            found = self._probe(answer)
        return (found, "") if found and wanted.fits(found) else (None, f"{answer} does not fit")

    def _labels(self, own: Interpreter | None) -> list[str]:
        """What is there to choose from, oldest first; CPythons before others."""
        with self._lock:
            files = [p for p in self._executables if not p.resolve().name.startswith("python2")]
            probed = self._probe_all(files)
        found = {python for python in [own, *probed] if python and python.release >= OLDEST}
        ordered = sorted(found, key=lambda python: (python.implementation, *_newest(python)))
        return list(dict.fromkeys(python.label for python in ordered))

    def _probe_all(self, paths: Iterable[Path]) -> list[Interpreter]:
        return [python for python in map(self._probe, paths) if python is not None]

    def _probe(self, path: Path, *, follow: bool = True) -> Interpreter | None:
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
        if follow and executable != path and executable.is_file():
            return self._probe(executable, follow=False)
        python = described(path, real, answer)
        self._known[str(path)] = {**dataclasses.asdict(python), "machine": _machine()}
        self._keep()
        return python

    def _keep(self) -> None:
        """Write down what is known, beside what other processes have found out meanwhile."""
        kept = read_json(self._memory)
        self._known = {**(kept if isinstance(kept, dict) else {}), **self._known}
        self._write(self._memory, self._known)

    def _ask(self, path: Path) -> dict[str, Any] | None:
        try:
            answer = self._processes.run(
                [path, "-I", "-c", PROBE], environ=self._settings.worker_environ
            )
        except OSError:  # not executable, or of another architecture
            return None
        if answer.status != 0:
            return None
        try:
            described = json.loads(answer.stdout)
        except ValueError:
            return None
        complete = isinstance(described, dict) and described.keys() >= _ANSWERED
        return described if complete else None


def described(path: Path, real: Path, answer: Mapping[str, Any]) -> Interpreter:
    """What the answer to :data:`PROBE` says of the interpreter at ``path``."""
    fields = dict(answer)
    stat = real.stat()
    fields["markers"] = tuple(sorted(fields["markers"].items()))
    fields |= {"executable": str(path), "real_path": str(real)}
    return Interpreter(size=stat.st_size, mtime_ns=stat.st_mtime_ns, **fields)


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


def _newest(python: Interpreter) -> tuple[bool, Version]:
    """Sorts the newest last; what is not released yet comes before all that is."""
    from pytest_isoenv._python_request import version_of

    version = version_of(python)
    return not version.is_prerelease, version
