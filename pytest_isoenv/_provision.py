"""The first half of the chain: EnvSpec -> PinnedEnv -> EnvKey -> Environment."""

from __future__ import annotations

import importlib.metadata
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pytest_isoenv._files import content_digest, read_json, write_json
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._process import Processes
from pytest_isoenv._settings import Settings
from pytest_isoenv._store import Entry, Store
from pytest_isoenv.backend import Backend, Wanted
from pytest_isoenv.environment import Environment, activated, python_of
from pytest_isoenv.errors import BrokenEnvironment, CommandError
from pytest_isoenv.pinned import (
    SCHEMA,
    IntentKey,
    Interpreter,
    PinnedEnv,
    Resolution,
    Source,
    digest,
    digest_of,
)
from pytest_isoenv.spec import EnvName, EnvSpec, is_path

#: The oldest pytest that a worker runs.
OLDEST_PYTEST = "7.0"

# Compiles a finished environment and asks it, through itself, what it is. Compiled, for where
# PYTHONDONTWRITEBYTECODE is set every run would do it again; once and last, for bytecode of
# a module that a later step of the installation replaced could pass for its own.
_FINISH = """
import compileall, json, os, platform, sys, sysconfig
from importlib.metadata import distributions
paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
for path in paths:
    compileall.compile_dir(path, quiet=2, workers=0)
packages = {}
for dist in distributions():
    if dist.metadata["Name"]:
        packages.setdefault(dist.metadata["Name"], dist.version)
real = os.path.realpath(sys.executable)
print(json.dumps({
    "python": platform.python_version(),
    "real_path": real,
    "interpreter_file": [os.stat(real).st_size, os.stat(real).st_mtime_ns],
    "installed": {path: sorted(set(os.listdir(path)) - {"__pycache__"}) for path in paths},
    "packages": packages,
}))
"""

# A project's files that its metadata may come from; its code does not change what it depends on.
_METADATA = ("pyproject.toml", "setup.py", "setup.cfg", "*requirements*.txt", "requirements/*.txt")

#: Called with an environment's name when work on it begins that may take a while.
Notify = Callable[[EnvName], None]


class Provisioner:
    """Turns requests into environments; the same request twice in a run is one environment.

    Of several ``backends`` with one name, the last counts. Threads may share a provisioner.
    """

    def __init__(
        self,
        settings: Settings,
        backends: Iterable[Backend],
        notify: Notify = lambda name: None,
    ) -> None:
        self._settings = settings
        self._backends = {backend.name: backend for backend in backends}
        self._notify = notify
        self._processes = Processes()
        self._store = Store(settings.cache)
        self._fresh = Store(settings.shared) if settings.shared else None
        self._interpreters = Interpreters(settings, self._processes, self._store.interpreters)
        self._lock = threading.Lock()
        self._locks: dict[EnvSpec, threading.Lock] = {}
        self._ready: dict[EnvSpec, Environment] = {}

    def stop(self) -> None:
        """End what is being built: the run was interrupted."""
        for store in filter(None, (self._store, self._fresh)):
            store.stop()
        self._processes.stop()

    def close(self) -> None:
        """Remove what was ephemeral."""
        self._store.close()

    @cached_property
    def shared(self) -> Path:
        """Where other processes of this run may keep ephemeral environments until it is over."""
        return self._store.ephemeral()

    def environment(self, name: EnvName, spec: EnvSpec) -> Environment:
        """The environment for a request, cached or built now.

        Raises the errors of :mod:`pytest_isoenv.errors` but ConfigError.
        """
        with self._lock:
            lock = self._locks.setdefault(spec, threading.Lock())
        with lock:
            if spec not in self._ready:
                self._ready[spec] = self._provision(name, spec)
            return self._ready[spec]

    def _provision(self, name: EnvName, spec: EnvSpec) -> Environment:
        interpreter = self._interpreters.find(spec.python)
        pinned = self._pin(name, spec, interpreter)
        entry = self._enter(name, pinned)
        return self._environment(name, pinned, entry)

    # EnvSpec -> PinnedEnv

    def _pin(self, name: EnvName, spec: EnvSpec, interpreter: Interpreter) -> PinnedEnv:
        backend = self._backends[spec.backend]
        environ = self._settings.installer_environ
        wanted = Wanted(
            spec,
            interpreter,
            pytest_requirements(spec, interpreter),
            self._settings.root,
            environ,
        )
        resolution = self._resolution(name, backend, wanted)
        trees = [self._source(path, editable) for path, editable in resolution.trees]
        local = [self._source(path, editable=False) for path in spec.local]
        return PinnedEnv(spec, interpreter, resolution.pylocks, (*trees, *local))

    def _resolution(self, name: EnvName, backend: Backend, wanted: Wanted) -> Resolution:
        store = self._store_for(wanted.spec)
        if store is None:
            self._notify(name)
            return backend.resolve(wanted, self._store.ephemeral(), self._run)
        intent = _intent(backend, wanted)
        anew = self._settings.upgrade and store is self._store
        kept = None if anew else _kept(store.kept_resolution(intent))
        if kept is not None:
            return kept
        self._notify(name)
        with store.resolution(intent) as directory:
            kept = None if anew else _kept(directory)
            if kept is None:
                directory.mkdir(parents=True, exist_ok=True)
                kept = backend.resolve(wanted, directory, self._run)
                write_json(directory / "pin.json", {"pylocks": kept.pylocks, "trees": kept.trees})
            return kept

    def _source(self, text: str, editable: bool) -> Source:
        path = (self._settings.root / Path(text).expanduser()).resolve()
        return Source(
            path=str(path),
            digest=self._digest(path, editable),
            editable=editable,
        )

    def _digest(self, path: Path, editable: bool) -> str:
        if editable:
            return _metadata_digest(path)
        return content_digest(path, self._settings.outputs)

    # PinnedEnv -> EnvKey -> directory

    def _enter(self, name: EnvName, pinned: PinnedEnv) -> Entry:
        def build(directory: Path) -> Mapping[str, Any]:
            self._notify(name)
            return self._create(pinned, directory)

        store = self._store_for(pinned.spec)
        if store is None:
            return self._store.throw_away(build)
        backend = self._backends[pinned.spec.backend]
        entry = store.ensure(
            pinned.key(),
            pinned.key_inputs(),
            label=f"{self._settings.root}\0{name}",
            build=build,
            check=lambda entry: backend.check(entry.directory, entry.facts),
        )
        return entry if store is self._store else replace(entry, provisioned="ephemeral")

    def _store_for(self, spec: EnvSpec) -> Store | None:
        """Where it is kept; None if it is ephemeral, and no other process is to have it."""
        ephemeral = self._settings.refresh or spec.refresh
        return self._fresh if ephemeral else self._store

    def _create(self, pinned: PinnedEnv, directory: Path) -> Mapping[str, Any]:
        self._backends[pinned.spec.backend].create(pinned, directory, self._run)
        facts = self._finish(directory)
        if facts["python"] != pinned.interpreter.version:
            built_with = f"Python {facts['python']}, not {pinned.interpreter.version}"
            raise BrokenEnvironment(str(directory), f"it was built with {built_with}")
        if "pytest" not in facts["packages"]:
            raise BrokenEnvironment(str(directory), "pytest is not installed in it")
        return facts

    def _finish(self, directory: Path) -> dict[str, Any]:
        answer = self._processes.run(
            [python_of(directory), "-I", "-c", _FINISH], environ=self._settings.worker_environ
        )
        if answer.status != 0:
            raise BrokenEnvironment(str(directory), f"its Python does not run: {answer.output}")
        facts: dict[str, Any] = json.loads(answer.stdout)
        facts["packages"] = {
            str(canonicalize_name(name)): version for name, version in facts["packages"].items()
        }
        return facts

    # directory -> Environment

    def _environment(self, name: EnvName, pinned: PinnedEnv, entry: Entry) -> Environment:
        environ = activated(
            self._settings.worker_environ, entry.directory, pinned.spec, self._settings.root
        )
        return Environment(
            name=name,
            path=entry.directory,
            python=python_of(entry.directory),
            version=entry.facts["python"],
            packages=dict(sorted(entry.facts["packages"].items())),
            key=pinned.key(),
            provisioned=entry.provisioned,
            seconds=round(entry.seconds, 3),
            why=entry.why,
            environ=environ,
            spec=pinned.spec,
        )

    def _run(
        self, args: Sequence[str | Path], *, purpose: str, failure: Any, cwd: Path | None = None
    ) -> str:
        ended = self._processes.run(args, environ=self._settings.installer_environ, cwd=cwd)
        if ended.status != 0:
            error: CommandError = failure(
                purpose, ended.command, ended.status, ended.output, _hint(ended.output)
            )
            raise error
        return ended.stdout


def _hint(output: str) -> str:
    """What to do about an installer's failure, where its words give it away."""
    text = output.lower()
    if "no solution found" in text:
        return "loosen one of the requirements named above, or give this environment another Python"
    network = ("error sending request", "dns error", "failed to fetch", "could not connect")
    if any(sign in text for sign in network):
        return "check the network and the index (UV_DEFAULT_INDEX), then run again"
    if "failed to build" in text or "build backend" in text:
        return (
            "see what the build says above; a wheel for this Python, or a compiler, may be missing"
        )
    return ""


def pytest_requirements(spec: EnvSpec, interpreter: Interpreter) -> list[str]:
    """What is asked of pytest itself, best first: the host's version, else any that a worker runs.

    A requirement of the user's own that excludes the host's version rules the first one out.
    """
    host = importlib.metadata.distribution("pytest")
    anything = f"pytest>={OLDEST_PYTEST}"
    supported = SpecifierSet(host.metadata["Requires-Python"] or "")
    own = [Requirement(text) for text in spec.requirements if not is_path(text)]
    asked = [r.specifier for r in own if canonicalize_name(r.name) == "pytest"]
    fits = all(specifier.contains(host.version, prereleases=True) for specifier in asked)
    if fits and supported.contains(interpreter.version, prereleases=True):
        return [f"pytest=={host.version}", anything]
    return [anything]


def _intent(backend: Backend, wanted: Wanted) -> IntentKey:
    """Names everything that a resolution hangs on; equal intents share a kept resolution."""
    spec, root = wanted.spec, wanted.root
    inputs = {
        "schema": SCHEMA,
        "backend": backend.name,
        **wanted.interpreter.key_inputs(),
        **backend.index_inputs(wanted.installer_environ),
        "requirements": "\n".join(spec.requirements),
        "pytest": "\n".join(wanted.pytest_requirements),
        "lock": content_digest(root / spec.lock) if spec.lock else "",
    }
    if spec.project != "none":
        inputs["project"] = f"{spec.project} {root} {spec.extras} {_metadata_digest(root)}"
    for text in filter(is_path, spec.requirements):
        path = root / Path(text.partition("[")[0]).expanduser()
        inputs[f"path {path}"] = _metadata_digest(path)
    return IntentKey(digest_of(inputs))


def _kept(directory: Path) -> Resolution | None:
    pin = read_json(directory / "pin.json")
    if not pin:
        return None
    return Resolution(tuple(pin["pylocks"]), tuple((path, edit) for path, edit in pin["trees"]))


def _metadata_digest(path: Path) -> str:
    if path.is_file():
        return content_digest(path)
    files = sorted({file for pattern in _METADATA for file in path.glob(pattern)})
    return digest("\n".join(f"{file.name} {content_digest(file)}" for file in files))
