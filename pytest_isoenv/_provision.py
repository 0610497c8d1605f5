"""The first half of the chain: EnvSpec -> PinnedEnv -> EnvKey -> Environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_isoenv import _layers, _locks, _runner, _soundness
from pytest_isoenv._commands import Commands
from pytest_isoenv._files import read_json
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._once import Once
from pytest_isoenv._prefixes import python_of
from pytest_isoenv._process import Processes
from pytest_isoenv._resolutions import is_too_old, kept_in
from pytest_isoenv._resolve import Resolver
from pytest_isoenv._settings import Settings
from pytest_isoenv._store import Check, Entry, manifest_in
from pytest_isoenv._stores import Stores
from pytest_isoenv._trees import Trees
from pytest_isoenv._wanted import intent_of, wanted_of
from pytest_isoenv.backend import Backend, Damage, Finding, Wanted
from pytest_isoenv.environment import Environment, activated
from pytest_isoenv.pinned import BUILT_AGAIN, EnvKey, Interpreter, PinnedEnv, Resolution
from pytest_isoenv.spec import EnvName, EnvSpec

if TYPE_CHECKING:
    from pytest_isoenv._build import Builder

#: Called with an environment's name when work on it begins that may take a while.
Notify = Callable[[EnvName], None]
#: Called with a runner layer and variables when an environment is built whose worker may be forked
#: from there, and run with those.
Foresee = Callable[[Path, Mapping[str, str]], None]


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
    def outdated(self) -> bool:
        """Whether it is older than its ``max-age``, and so will be resolved anew."""
        pinned = self.pinned
        return pinned is not None and is_too_old(pinned.resolved, pinned.spec.max_age)

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
        foresee: Foresee = lambda layer, environ: None,
    ) -> None:
        self._settings = settings
        self._backends = {backend.name: backend for backend in backends}
        self._notify = notify
        self._foresee = foresee
        self._stores = stores = Stores(settings)
        self._processes = processes = Processes(stores.scratch.run)
        self._commands = Commands(settings, processes, self._backends.values())
        self._resolver = Resolver(settings, stores, self._commands)
        self._trees = Trees(settings, stores, self._commands)
        kept = stores.kept
        self._interpreters = Interpreters(settings, processes, kept.interpreters, kept.note)
        self._ready: Once[EnvSpec, Environment] = Once()
        self._runners: Once[tuple[EnvKey, bool], Entry] = Once()

    def stop(self) -> None:
        """End what is being built: the run was interrupted."""
        self._stores.stop()
        self._processes.stop()

    def close(self) -> None:
        """Give back what was used, and remove what was ephemeral."""
        self._stores.close(clean=bool(self._ready) and not self._processes.stopped)

    @cached_property
    def _builder(self) -> Builder:
        from pytest_isoenv._build import Builder  # only a miss pays for it

        return Builder(self._settings, self._stores, self._processes, self._commands)

    @cached_property
    def shared(self) -> Path:
        """Where other processes of this run may keep ephemeral environments until it is over."""
        return self._stores.scratch.ephemeral()

    def note(self, path: Path, value: Any) -> None:
        """Write down in the cache what is good to know, unless it stands there already."""
        if read_json(path) != value:
            self._stores.kept.note(path, value)

    def environment(self, name: EnvName, spec: EnvSpec) -> Environment:
        """The environment for a request, cached or built now.

        Raises the errors of :mod:`pytest_isoenv.errors` but ConfigError.
        """
        return self._ready.get(spec, lambda: self._provision(name, spec))

    def look(self, name: EnvName, spec: EnvSpec) -> Outlook:
        """What there is for a request already; nothing is downloaded, resolved or built.

        Raises :exc:`~pytest_isoenv.errors.InterpreterNotFound`.
        """
        from pytest_isoenv._wheels import NotBuilt  # only a look without a run pays for it

        backend = self._backends[spec.backend]
        interpreter = self.interpreter_for(spec, download=False)
        layers = list(self._layers_there(spec))
        if self._stores.is_ephemeral(spec) or len(layers) < len(spec.beneath):
            return Outlook(interpreter)
        packages = _layers.packages(layers)
        wanted = wanted_of(spec, interpreter, self._settings, packages)
        intent = intent_of(backend, wanted)
        directory = self._stores.kept.kept_resolution(intent)
        kept = kept_in(directory)
        if kept is None:
            return Outlook(interpreter)
        try:
            pinned = self._pinned(wanted, kept, layers, build=False)
        except NotBuilt:
            return Outlook(interpreter)
        runner = _runner.layer_of(pinned)
        if runner is not None:
            below, _ = self._stores.kept.look(runner.key(), self._check_of(spec.backend))
            if below is None:
                return Outlook(interpreter, pinned, directory)
            pinned = _runner.on_top_of(pinned, runner, below.directory)
        entry, broken = self._stores.kept.look(pinned.key(), self._check_of(spec.backend))
        why = "" if entry else self._stores.kept.changes(self._label(name), pinned.key_inputs())
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
                yield from diagnose(self._settings.installer_environ, self._commands.run)

    def check(self, backend: str, directory: Path, facts: Mapping[str, Any]) -> str | None:
        """Why a finished environment cannot be used any more; None if it can."""
        known = self._backends.get(backend)
        return _soundness.glance(known, directory, facts) if known else None

    def examine(self, backend: str, directory: Path, facts: Mapping[str, Any]) -> list[Damage]:
        """Everything in a finished environment that is not as it was installed."""
        known = self._backends.get(backend)
        return _soundness.examine(known, directory, facts) if known else []

    def forget(self, backend: str, directory: Path, damages: Iterable[Damage]) -> None:
        """Let the next build take nothing from where this damage may have come from."""
        _soundness.forget(self._backends[backend], directory, damages, self._commands.run)

    def doubt(self, environment: Environment) -> str:
        """What is damaged in an environment where nothing works, or beneath it; empty if nothing.

        It is built again when it is wanted next, by this run as well.
        """
        if environment.provisioned == "ephemeral" or not self._stores.kept.writable:
            return ""  # nobody has it but this run, or it cannot be built again
        manifest = manifest_in(environment.path.parent)
        inputs = manifest["inputs"] if manifest is not None else {}
        beneath = [text for name, text in inputs.items() if name.startswith("layer ")]
        home = environment.path.parent.parent
        places = [environment.path, *(home / text.replace(" ", "/") for text in beneath)]
        found = "; ".join(filter(None, map(self._condemned, places)))
        if found:
            self._ready.clear()
            self._runners.clear()
        return found

    def _condemned(self, directory: Path) -> str:
        """Why an environment is not to be used any longer, from now on by nobody."""
        from pytest_isoenv._backends.records import told  # only damage pays for it

        manifest = manifest_in(directory.parent)
        if manifest is None or manifest["directory"] != directory.name:
            return "others have found that"
        backend, facts = manifest["inputs"].get("backend", ""), manifest["facts"]
        reason = self.check(backend, directory, facts)
        damages = [] if reason else self.examine(backend, directory, facts)
        if reason or damages:
            self.forget(backend, directory, damages)
            self._stores.kept.condemn(directory)
        return reason or told(damages)

    def _provision(self, name: EnvName, spec: EnvSpec) -> Environment:
        interpreter = self.interpreter_for(spec)
        layers = [
            self.environment(beneath, _layers.fitted(below, spec))
            for beneath, below in spec.beneath
        ]
        _layers.check(spec, interpreter, layers)
        pinned, runner = self._on_runner(name, self._pin(name, spec, interpreter, layers))
        entry = self._enter(name, pinned, layers)
        # That something beneath was built again says little without the reason.
        below = [*(layer.why for layer in layers), runner.why if runner else ""]
        reasons = "; ".join(dict.fromkeys(filter(None, below)))
        if BUILT_AGAIN in entry.why and reasons:
            entry = replace(entry, why=f"{entry.why} ({reasons})")
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
        from pytest_isoenv._backends import uv  # whatever installs it later: one way to lock

        interpreter = self._interpreters.find(spec.python)
        layers = [
            self.environment(name, _layers.fitted(below, spec)) for name, below in spec.beneath
        ]
        _layers.check(spec, interpreter, layers)
        wanted = wanted_of(spec, interpreter, self._settings, _layers.packages(layers))
        python = _locks.lowest_python(spec, wanted.root, interpreter)
        directory = self._stores.scratch.ephemeral()
        text, trees = uv.lock(
            wanted, directory, self._commands.run, python=python, old=old, upgrade=upgrade
        )
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
        resolution = self._resolver.resolution(backend, wanted, lambda: self._notify(name))
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
        backend = self._backends[wanted.spec.backend]
        sources = [
            self._trees.source(backend, path, editable, wanted, build=build)
            for path, editable in named
        ]
        return PinnedEnv(
            wanted.spec,
            wanted.interpreter,
            resolution.pylocks,
            tuple(sources),
            _layers.beneath(layers),
            resolution.foreign,
            read=resolution.artefacts,
            resolved=resolution.resolved,
            note=resolution.note,
        )

    def _on_runner(self, name: EnvName, pinned: PinnedEnv) -> tuple[PinnedEnv, Entry | None]:
        """The environment on its runner layer, which is built where it is not there yet."""
        layer = _runner.layer_of(pinned)
        if layer is None:
            return pinned, None
        entry = self._runners.get(
            (layer.key(), layer.spec.refresh),
            lambda: self._enter(name, layer, (), called=_runner.name_of(layer)),
        )
        return _runner.on_top_of(pinned, layer, entry.directory), entry

    # PinnedEnv -> EnvKey -> directory

    def _enter(
        self,
        name: EnvName,
        pinned: PinnedEnv,
        layers: Sequence[Environment],
        called: EnvName | None = None,
    ) -> Entry:
        backend = self._backends[pinned.spec.backend]

        def build(directory: Path) -> Mapping[str, Any]:
            _soundness.refuse(directory)
            self._notify(name)
            forked_from = _runner.may_fork_from(pinned)
            if forked_from is not None:
                self._foresee(forked_from, self._environ_of(directory, pinned.spec))
            facts = self._builder.build(backend, pinned, directory)
            _layers.refuse_overlaps(facts["own"], layers)
            return facts

        store = self._stores.of(pinned.spec)
        if store is not None and not store.writable:
            hit, _ = store.look(pinned.key(), self._check_of(pinned.spec.backend))
            if hit is not None:
                return hit
        if store is None or not store.writable:
            return self._stores.scratch.throw_away(build)
        entry = store.ensure(
            pinned.key(),
            pinned.key_inputs(),
            label=self._label(called or name),
            build=build,
            check=self._check_before_use(pinned.spec.backend),
        )
        return entry if store is self._stores.kept else replace(entry, provisioned="ephemeral")

    def _label(self, name: EnvName) -> str:
        return f"{self._settings.root}\0{name}"

    def _check_of(self, backend: str) -> Check:
        return lambda entry: self.check(backend, entry.directory, entry.facts)

    def _check_before_use(self, backend: str) -> Check:
        """The same; but what cannot be built again in safety is an error."""

        def check(entry: Entry) -> str | None:
            _soundness.refuse(entry.directory)
            return self.check(backend, entry.directory, entry.facts)

        return check

    # directory -> Environment

    def _environment(self, name: EnvName, pinned: PinnedEnv, entry: Entry) -> Environment:
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
            environ=self._environ_of(entry.directory, pinned.spec),
            spec=pinned.spec,
            forks_from=_runner.forks_from(pinned, entry.facts),
            resolved=pinned.resolved,
            note=pinned.note,
        )

    def _environ_of(self, directory: Path, spec: EnvSpec) -> dict[str, str]:
        """The variables of what runs in an environment."""
        host = self._settings.passed(spec.pass_env)
        return activated(host, directory, spec, self._settings.root)
