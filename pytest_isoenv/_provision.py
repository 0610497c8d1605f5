"""The first half of the chain: EnvSpec -> PinnedEnv -> EnvKey -> Environment."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pytest_isoenv import _compiled, _layers, _locks, _runner
from pytest_isoenv._backends import uv
from pytest_isoenv._files import (
    content_digest,
    metadata_digest,
    read_json,
    write_atomically,
    write_json,
)
from pytest_isoenv._finish import FINISH
from pytest_isoenv._hints import LOOSEN, hint
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._once import Once
from pytest_isoenv._process import Processes
from pytest_isoenv._settings import Settings
from pytest_isoenv._store import Check, Entry, Store, used
from pytest_isoenv._wanted import intent_of, metadata_of, wanted_of
from pytest_isoenv._wheels import NotBuilt, built, wheel_of
from pytest_isoenv.backend import Backend, Finding, Run, Wanted
from pytest_isoenv.environment import Environment, activated, python_of
from pytest_isoenv.errors import BrokenEnvironment, CommandError, ResolutionError
from pytest_isoenv.pinned import (
    EnvKey,
    Foreign,
    Interpreter,
    PinnedEnv,
    Resolution,
    Source,
)
from pytest_isoenv.spec import EnvName, EnvSpec

#: Called with an environment's name when work on it begins that may take a while.
Notify = Callable[[EnvName], None]


@dataclasses.dataclass(frozen=True)
class Outlook:
    """What there is for a request: its Python at least, if it does not bring its own.

    ``pinned`` is None where nothing was resolved yet, or where it is resolved anew each time.
    ``resolution`` is the directory that keeps what was. ``entry`` is the environment if it can be
    used as it is; if it is ``broken``, why; ``changes`` says what is different from the one that
    the project had last.
    """

    interpreter: Interpreter | None
    pinned: PinnedEnv | None = None
    resolution: Path | None = None
    entry: Entry | None = None
    broken: str = ""
    changes: str = ""

    @property
    def python(self) -> tuple[str, str] | None:
        """The version and the path of its Python; None for one that it brings when it is built."""
        if self.entry is not None:
            return self.entry.facts["python"], str(python_of(self.entry.directory))
        if self.interpreter is not None:
            return self.interpreter.version, self.interpreter.executable
        return None


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
        self._ready: Once[EnvSpec, Environment] = Once()
        self._runners: Once[tuple[EnvKey, bool], Entry] = Once()

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
        return self._ready.get(spec, lambda: self._provision(name, spec))

    def look(self, name: EnvName, spec: EnvSpec) -> Outlook:
        """What there is for a request already; nothing is downloaded, resolved or built.

        Raises :exc:`~pytest_isoenv.errors.InterpreterNotFound`.
        """
        backend = self._backends[spec.backend]
        interpreter = self.interpreter_for(spec, download=False)
        layers = list(self._layers_there(spec))
        if self._is_ephemeral(spec) or len(layers) < len(spec.beneath):
            return Outlook(interpreter)
        packages = _layers.packages(layers)
        wanted = wanted_of(spec, interpreter, self._settings, packages)
        intent = intent_of(backend, wanted)
        directory = self._store.kept_resolution(intent)
        kept = _kept(directory)
        if kept is None:
            return Outlook(interpreter)
        try:
            pinned = self._pinned(wanted, kept, layers, build=False)
        except NotBuilt:
            return Outlook(interpreter)
        runner = _runner.layer_of(pinned)
        if runner is not None:
            below, _ = self._store.look(runner.key(), self._check_of(spec.backend))
            if below is None:
                return Outlook(interpreter, pinned, directory)
            pinned = _runner.on_top_of(pinned, runner, below.directory)
        entry, broken = self._store.look(pinned.key(), self._check_of(spec.backend))
        why = "" if entry else self._store.changes(self._label(name), pinned.key_inputs())
        return Outlook(interpreter, pinned, directory, entry, broken or "", why)

    def _layers_there(self, spec: EnvSpec) -> Iterator[Environment]:
        """Of the environments that lie beneath, those that are there already."""
        for name, beneath in spec.beneath:
            outlook = self.look(name, _layers.fitted(beneath, spec))
            if outlook.entry is not None and outlook.pinned is not None:
                yield self._environment(name, outlook.pinned, outlook.entry)

    def diagnose(self, backends: Iterable[str]) -> Iterator[Finding]:
        """What these backends say of what they need, those that say anything."""
        for name in backends:
            diagnose = getattr(self._backends[name], "diagnose", None)
            if diagnose is not None:
                yield from diagnose(self._settings.installer_environ, self._run)

    def check(self, backend: str, directory: Path, facts: Mapping[str, Any]) -> str | None:
        """Why a finished environment cannot be used any more; None if it can."""
        known = self._backends.get(backend)
        return known.check(directory, facts) or _compiled.changed(facts) if known else None

    def _provision(self, name: EnvName, spec: EnvSpec) -> Environment:
        interpreter = self.interpreter_for(spec)
        layers = [
            self.environment(beneath, _layers.fitted(below, spec))
            for beneath, below in spec.beneath
        ]
        _layers.check(spec, interpreter, layers)
        pinned = self._on_runner(name, self._pin(name, spec, interpreter, layers))
        entry = self._enter(name, pinned, layers)
        return self._environment(name, pinned, entry)

    def interpreter_for(self, spec: EnvSpec, *, download: bool = True) -> Interpreter | None:
        """The Python that an environment is built on; None where it brings its own.

        Raises :exc:`~pytest_isoenv.errors.InterpreterNotFound`.
        """
        if self._backends[spec.backend].brings_python:
            return None
        return self._interpreters.find(spec.python, download=download)

    def lock(self, spec: EnvSpec, old: str = "", upgrade: Iterable[str] = ()) -> str:
        """A lock for what is declared: the text of a PEP 751 document, with what it was made for.

        Versions of ``old`` stay where they fit, but for the packages in ``upgrade``. Raises the
        errors of :mod:`pytest_isoenv.errors`.
        """
        interpreter = self._interpreters.find(spec.python)
        layers = [
            self.environment(name, _layers.fitted(below, spec)) for name, below in spec.beneath
        ]
        _layers.check(spec, interpreter, layers)
        wanted = wanted_of(spec, interpreter, self._settings, _layers.packages(layers))
        python = _locks.lowest_python(spec, wanted.root, interpreter)
        directory = self._store.ephemeral()
        # Whatever installs it later: there is one way to lock.
        text, trees = uv.lock(wanted, directory, self._run, python=python, old=old, upgrade=upgrade)
        return _locks.marked(text, _locks.inputs_of(spec, wanted.root, trees))

    # EnvSpec -> PinnedEnv

    def _pin(
        self,
        name: EnvName,
        spec: EnvSpec,
        interpreter: Interpreter | None,
        layers: Sequence[Environment],
    ) -> PinnedEnv:
        backend = self._backends[spec.backend]
        wanted = wanted_of(spec, interpreter, self._settings, _layers.packages(layers))
        if spec.lock is not None and interpreter is not None:
            text = (wanted.root / Path(spec.lock).expanduser()).read_text(encoding="utf-8")
            _locks.check_python(spec.lock, text, interpreter)
        try:
            resolution = self._resolution(name, backend, wanted)
        except ResolutionError as error:
            if spec.lock is not None and error.hint == LOOSEN:
                error.hint = f"it must fit what {spec.lock} has locked: lock that anew, or {LOOSEN}"
            raise
        return self._pinned(wanted, resolution, layers)

    def _pinned(
        self,
        wanted: Wanted,
        resolution: Resolution,
        layers: Sequence[Environment],
        *,
        build: bool = True,
    ) -> PinnedEnv:
        named = [*resolution.trees, *((path, False) for path in wanted.spec.local)]
        sources = [self._source(path, editable, wanted, build) for path, editable in named]
        return PinnedEnv(
            wanted.spec,
            wanted.interpreter,
            resolution.pylocks,
            tuple(sources),
            _layers.beneath(layers),
            resolution.foreign,
        )

    def _resolution(self, name: EnvName, backend: Backend, wanted: Wanted) -> Resolution:
        store = self._store_for(wanted.spec)
        if store is None:
            self._notify(name)
            return backend.resolve(wanted, self._store.ephemeral(), self._run)
        intent = intent_of(backend, wanted)
        anew = self._settings.upgrade and store is self._store
        kept = None if anew else _kept(store.kept_resolution(intent))
        if kept is not None:
            used(store.kept_resolution(intent))
            return kept
        self._notify(name)
        with store.resolution(intent) as directory:
            kept = None if anew else _kept(directory)
            if kept is None:
                directory.mkdir(parents=True, exist_ok=True)
                kept = backend.resolve(wanted, directory, self._run)
                seen = metadata_of(path for path, _ in kept.trees)
                write_json(directory / "pin.json", {**dataclasses.asdict(kept), "metadata": seen})
            return kept

    def _source(self, text: str, editable: bool, wanted: Wanted, build: bool) -> Source:
        path = (self._settings.root / Path(text).expanduser()).resolve()
        if editable:
            told = filter(None, [metadata_digest(path), _compiled.sources_digest(path)])
            return Source(str(path), "-".join(told), editable=True)
        digest = content_digest(path, self._settings.outputs)
        build_wheel = getattr(self._backends[wanted.spec.backend], "build_wheel", None)
        if path.is_file() or build_wheel is None or wanted.interpreter is None:
            return Source(str(path), digest)

        def into(directory: Path) -> None:
            build_wheel(path, wanted, directory, self._building(directory))

        store = self._store_for(wanted.spec)
        if store is None:
            wheel = built(into, self._store.ephemeral())
        else:
            wheel = wheel_of(store, digest, wanted.interpreter, into if build else None)
        return Source(str(path), wheel.digest, wheel=str(wheel.path))

    def _on_runner(self, name: EnvName, pinned: PinnedEnv) -> PinnedEnv:
        """The environment on its runner layer, which is built where it is not there yet."""
        layer = _runner.layer_of(pinned)
        if layer is None:
            return pinned
        entry = self._runners.get(
            (layer.key(), layer.spec.refresh),
            lambda: self._enter(name, layer, (), called=_runner.name_of(layer)),
        )
        return _runner.on_top_of(pinned, layer, entry.directory)

    # PinnedEnv -> EnvKey -> directory

    def _enter(
        self,
        name: EnvName,
        pinned: PinnedEnv,
        layers: Sequence[Environment],
        called: EnvName | None = None,
    ) -> Entry:
        def build(directory: Path) -> Mapping[str, Any]:
            self._notify(name)
            facts = self._create(pinned, directory)
            _layers.refuse_overlaps(facts["own"], layers)
            return facts

        store = self._store_for(pinned.spec)
        if store is None:
            return self._store.throw_away(build)
        entry = store.ensure(
            pinned.key(),
            pinned.key_inputs(),
            label=self._label(called or name),
            build=build,
            check=self._check_of(pinned.spec.backend),
        )
        return entry if store is self._store else replace(entry, provisioned="ephemeral")

    def _label(self, name: EnvName) -> str:
        return f"{self._settings.root}\0{name}"

    def _check_of(self, backend: str) -> Check:
        return lambda entry: self.check(backend, entry.directory, entry.facts)

    def _is_ephemeral(self, spec: EnvSpec) -> bool:
        return self._settings.refresh or spec.refresh

    def _store_for(self, spec: EnvSpec) -> Store | None:
        """Where it is kept; None if it is ephemeral, and no other process is to have it."""
        return self._fresh if self._is_ephemeral(spec) else self._store

    def _create(self, pinned: PinnedEnv, directory: Path) -> Mapping[str, Any]:
        facts = self._filled(pinned, directory)
        if pinned.runner is not None and _runner.is_in_both(facts["own"], pinned.base):
            shutil.rmtree(directory)
            directory.mkdir()
            facts = self._filled(replace(pinned, runner=None), directory)
        if pinned.interpreter is not None and facts["python"] != pinned.interpreter.version:
            built_with = f"Python {facts['python']}, not {pinned.interpreter.version}"
            raise BrokenEnvironment(str(directory), f"it was built with {built_with}")
        if "pytest" not in facts["packages"]:
            raise BrokenEnvironment(str(directory), "pytest is not installed in it")
        trees = [source.path for source in pinned.sources if source.editable]
        return {**facts, "compiled": _compiled.modules(trees, facts["suffixes"])}

    def _filled(self, pinned: PinnedEnv, directory: Path) -> dict[str, Any]:
        run = self._building(self._store.ephemeral()) if pinned.sources else self._run
        runner = pinned.runner.path if pinned.runner else ""
        installed = _runner.without_runner(pinned) if runner else pinned
        self._backends[pinned.spec.backend].create(installed, directory, run)
        return self._finish(directory, runner, [layer.path for layer in pinned.beneath])

    def _finish(self, directory: Path, runner: str, beneath: Sequence[str]) -> dict[str, Any]:
        answer = self._processes.run(
            [python_of(directory), "-I", "-c", FINISH, runner, *beneath],
            environ=self._settings.worker_environ,
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
            forks_from=_runner.forks_from(pinned, entry.facts),
        )

    def _building(self, scratch: Path) -> Run:
        """Runs commands that may build source trees, and leaves nothing of it in the trees.

        setuptools keeps what it builds in a tree and packs it again, modules that were deleted
        since as well; but it can be told of another place, which no other backend looks at.
        """
        config = scratch / "setuptools.cfg"
        place = str(scratch / "build").replace("%", "%%")
        write_atomically(config, f"[build]\nbuild_base = {place}\n[build_ext]\nforce = 1\n")
        return partial(self._run, environ={"DIST_EXTRA_CONFIG": str(config)})

    def _run(
        self,
        args: Sequence[str | Path],
        *,
        purpose: str,
        failure: Any,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        environ = {**self._settings.installer_environ, **(environ or {})}
        ended = self._processes.run(args, environ=environ, cwd=cwd)
        if ended.status != 0:
            error: CommandError = failure(
                purpose, ended.command, ended.status, ended.output, hint(ended.output)
            )
            raise error
        return ended.stdout


def _kept(directory: Path) -> Resolution | None:
    """What was resolved, if all source trees that it found still ask for the same."""
    pin = read_json(directory / "pin.json")
    if not pin or metadata_of(path for path, _ in pin["trees"]) != pin.get("metadata", {}):
        return None
    foreign = tuple(Foreign(**fields) for fields in pin.get("foreign", []))
    trees = tuple((path, editable) for path, editable in pin["trees"])
    return Resolution(tuple(pin["pylocks"]), trees, foreign)
