"""The first half of the chain: EnvSpec -> PinnedEnv -> EnvKey -> Environment."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from pytest_isoenv import _compiled, _layers, _locks, _runner, _soundness
from pytest_isoenv._backends import uv
from pytest_isoenv._backends.records import told
from pytest_isoenv._files import (
    content_digest,
    metadata_digest,
    write_atomically,
)
from pytest_isoenv._finish import FINISH
from pytest_isoenv._hints import LOOSEN, trouble
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._once import Once
from pytest_isoenv._process import Processes
from pytest_isoenv._resolutions import (
    NOT_ASKED,
    could_not_ask,
    dated,
    is_too_old,
    kept_in,
    served,
    was_tried,
    written,
)
from pytest_isoenv._settings import Settings
from pytest_isoenv._steps import reached
from pytest_isoenv._store import Check, Entry, Store, manifest_in, used
from pytest_isoenv._tidy import tidy
from pytest_isoenv._wanted import intent_of, wanted_of
from pytest_isoenv._wheels import NotBuilt, built, wheel_of
from pytest_isoenv.backend import Backend, Damage, Finding, Run, Wanted
from pytest_isoenv.environment import Environment, activated, python_of
from pytest_isoenv.errors import BrokenEnvironment, CommandError, ResolutionError
from pytest_isoenv.pinned import (
    EnvKey,
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
    ) -> None:
        self._settings = settings
        self._backends = {backend.name: backend for backend in backends}
        self._notify = notify
        self._store = Store(settings.cache)
        self._fresh = Store(settings.shared) if settings.shared else None
        # Where what goes with the run is made; a cache that is only read is no place for it.
        self._scratch = self._store if self._store.writable else Store(settings.scratch)
        self._processes = Processes(self._scratch.run)
        self._interpreters = Interpreters(
            settings, self._processes, self._store.interpreters, self._store.note
        )
        self._ready: Once[EnvSpec, Environment] = Once()
        self._runners: Once[tuple[EnvKey, bool], Entry] = Once()

    def stop(self) -> None:
        """End what is being built: the run was interrupted."""
        for store in filter(None, (self._store, self._fresh)):
            store.stop()
        self._processes.stop()

    def close(self) -> None:
        """Give back what was used, and remove what was ephemeral."""
        for store in filter(None, {self._store, self._scratch, self._fresh}):
            store.close()
        if self._ready and not self._processes.stopped:
            tidy(Store(self._settings.cache))

    @cached_property
    def shared(self) -> Path:
        """Where other processes of this run may keep ephemeral environments until it is over."""
        return self._scratch.ephemeral()

    @property
    def run(self) -> str:
        """What tells this run from all others; its processes bear it."""
        return self._scratch.run

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
        kept = kept_in(directory)
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
        return _soundness.glance(known, directory, facts) if known else None

    def examine(self, backend: str, directory: Path, facts: Mapping[str, Any]) -> list[Damage]:
        """Everything in a finished environment that is not as it was installed."""
        known = self._backends.get(backend)
        return _soundness.examine(known, directory, facts) if known else []

    def forget(self, backend: str, directory: Path, damages: Iterable[Damage]) -> None:
        """Let the next build take nothing from where this damage may have come from."""
        _soundness.forget(self._backends[backend], directory, damages, self._run)

    def doubt(self, environment: Environment) -> str:
        """What is damaged in an environment where nothing works, or beneath it; empty if nothing.

        It is built again when it is wanted next, by this run as well.
        """
        if environment.provisioned == "ephemeral" or not self._store.writable:
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
        manifest = manifest_in(directory.parent)
        if manifest is None or manifest["directory"] != directory.name:
            return "others have found that"
        backend, facts = manifest["inputs"].get("backend", ""), manifest["facts"]
        reason = self.check(backend, directory, facts)
        damages = [] if reason else self.examine(backend, directory, facts)
        if reason or damages:
            self.forget(backend, directory, damages)
            self._store.condemn(directory)
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
        if entry.why and reasons:
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
        interpreter = self._interpreters.find(spec.python)
        layers = [
            self.environment(name, _layers.fitted(below, spec)) for name, below in spec.beneath
        ]
        _layers.check(spec, interpreter, layers)
        wanted = wanted_of(spec, interpreter, self._settings, _layers.packages(layers))
        python = _locks.lowest_python(spec, wanted.root, interpreter)
        directory = self._scratch.ephemeral()
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
            read=resolution.artefacts,
            resolved=resolution.resolved,
            note=resolution.note,
        )

    def _resolution(self, name: EnvName, backend: Backend, wanted: Wanted) -> Resolution:
        store = self._store_for(wanted.spec)
        intent = intent_of(backend, wanted)
        anew = self._settings.upgrade and store is self._store
        kept = None if anew or store is None else kept_in(store.kept_resolution(intent))
        if store is not None and kept is not None:
            used(store.kept_resolution(intent))
            still = self._young_enough(kept, wanted.spec, store)
            if still is not None:
                return still
        self._notify(name)
        if self._settings.offline:
            return self._offline(backend, wanted)
        if store is None or not store.writable:
            return dated(self._resolve(backend, wanted, self._scratch.ephemeral()))
        with store.resolution(intent) as directory:
            # Meanwhile another process may have done it.
            kept = None if anew else kept_in(directory)
            still = self._young_enough(kept, wanted.spec, store) if kept else None
            return still or self._resolve_into(store, directory, backend, wanted, kept)

    def _young_enough(self, kept: Resolution, spec: EnvSpec, store: Store) -> Resolution | None:
        """What was resolved, if it may be used, or cannot be resolved anew; else None."""
        # What this run alone has made is of today.
        max_age = spec.max_age if store is self._store else None
        if max_age is None or not is_too_old(kept.resolved, max_age):
            return kept
        why = "the cache cannot be written to" if not store.writable else ""
        why = why or (NOT_ASKED if was_tried(kept) or self._settings.offline else "")
        return replace(kept, note=served(kept, max_age, why)) if why else None

    def _resolve_into(
        self,
        store: Store,
        directory: Path,
        backend: Backend,
        wanted: Wanted,
        old: Resolution | None,
    ) -> Resolution:
        """Resolve, and keep it; where no index can be asked, what is old will do."""
        directory.mkdir(parents=True, exist_ok=True)
        try:
            made = dated(self._resolve(backend, wanted, directory))
        except ResolutionError as error:
            max_age = wanted.spec.max_age
            if old is None or max_age is None or not could_not_ask(error):
                raise
            store.write(directory / "pin.json", written(replace(old, tried=time.time())))
            return replace(old, note=served(old, max_age, NOT_ASKED))
        reached("keep the resolution", directory)
        store.write(directory / "pin.json", written(made))
        return made

    def _resolve(self, backend: Backend, wanted: Wanted, directory: Path) -> Resolution:
        reached("resolve", directory)
        spec = wanted.spec
        if spec.lock is not None and wanted.interpreter is not None:
            text = (wanted.root / Path(spec.lock).expanduser()).read_text(encoding="utf-8")
            _locks.check_python(spec.lock, text, wanted.interpreter)
        with self._scratch.room():
            return backend.resolve(wanted, directory, self._run)

    def _offline(self, backend: Backend, wanted: Wanted) -> Resolution:
        """What an installer makes of what it has downloaded; not kept: an index may know better."""
        try:
            return dated(self._resolve(backend, wanted, self._scratch.ephemeral()))
        except ResolutionError as error:
            rest = (error.happened or "offline").removeprefix("offline, and ")
            error.happened = f"offline, and nothing was resolved for them before; {rest}"
            raise

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
        if store is not None and (store.writable or not build):
            wheel = wheel_of(store, digest, wanted.interpreter, into if build else None)
        else:
            wheel = built(into, self._scratch.ephemeral())
        return Source(str(path), wheel.digest, wheel=str(wheel.path))

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
        def build(directory: Path) -> Mapping[str, Any]:
            _soundness.refuse(directory)
            self._notify(name)
            facts = self._create(pinned, directory)
            _layers.refuse_overlaps(facts["own"], layers)
            return facts

        store = self._store_for(pinned.spec)
        if store is not None and not store.writable:
            hit, _ = store.look(pinned.key(), self._check_of(pinned.spec.backend))
            if hit is not None:
                return hit
        if store is None or not store.writable:
            return self._scratch.throw_away(build)
        entry = store.ensure(
            pinned.key(),
            pinned.key_inputs(),
            label=self._label(called or name),
            build=build,
            check=self._check_before_use(pinned.spec.backend),
        )
        return entry if store is self._store else replace(entry, provisioned="ephemeral")

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

    def _is_ephemeral(self, spec: EnvSpec) -> bool:
        return self._settings.refresh or spec.refresh

    def _store_for(self, spec: EnvSpec) -> Store | None:
        """Where it is kept; None if it is ephemeral, and no other process is to have it."""
        return self._fresh if self._is_ephemeral(spec) else self._store

    def _create(self, pinned: PinnedEnv, directory: Path) -> Mapping[str, Any]:
        facts = self._undamaged(pinned, directory)
        if pinned.runner is not None and _runner.is_in_both(facts["own"], pinned.base):
            _empty(directory)
            facts = self._undamaged(replace(pinned, runner=None), directory)
        if pinned.interpreter is not None and facts["python"] != pinned.interpreter.version:
            built_with = f"Python {facts['python']}, not {pinned.interpreter.version}"
            raise BrokenEnvironment(str(directory), f"it was built with {built_with}")
        if "pytest" not in facts["packages"]:
            raise BrokenEnvironment(str(directory), "pytest is not installed in it")
        trees = [source.path for source in pinned.sources if source.editable]
        return {**facts, "compiled": _compiled.modules(trees, facts["suffixes"])}

    def _undamaged(self, pinned: PinnedEnv, directory: Path) -> dict[str, Any]:
        """Build it; if the installer had kept damaged files, once more without them."""
        backend = self._backends[pinned.spec.backend]
        facts = self._filled(pinned, directory)
        damages = _soundness.examine(backend, directory, facts, thoroughly=False)
        if damages and _soundness.forget(backend, directory, damages, self._run):
            _empty(directory)
            facts = self._filled(pinned, directory)
            damages = _soundness.examine(backend, directory, facts, thoroughly=False)
        if damages:
            reason = f"it was only just built, and {told(damages)}"
            raise BrokenEnvironment(str(directory), reason)
        return facts

    def _filled(self, pinned: PinnedEnv, directory: Path) -> dict[str, Any]:
        run = self._building(self._scratch.ephemeral()) if pinned.sources else self._run
        runner = pinned.runner.path if pinned.runner else ""
        installed = _runner.without_runner(pinned) if runner else pinned
        reached("create", directory)
        self._backends[pinned.spec.backend].create(installed, directory, run)
        reached("finish", directory)
        facts = self._finish(directory, runner, pinned)
        return facts | _soundness.noted(directory, facts)

    def _finish(self, directory: Path, runner: str, pinned: PinnedEnv) -> dict[str, Any]:
        beneath = [layer.path for layer in pinned.beneath]
        answer = self._processes.run(
            [python_of(directory), "-I", "-c", FINISH, runner, *beneath],
            environ=self._settings.passed(pinned.spec.pass_env),
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
        host = self._settings.passed(pinned.spec.pass_env)
        environ = activated(host, entry.directory, pinned.spec, self._settings.root)
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
            resolved=pinned.resolved,
            note=pinned.note,
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
        settings = self._settings
        environ = {**settings.installer_environ, **settings.network_environ, **(environ or {})}
        reached("run a command", purpose)
        ended = self._processes.run(args, environ={**environ, **settings.first_try}, cwd=cwd)
        if ended.status != 0 and settings.first_try and trouble(ended.output).passes:
            ended = self._processes.run(args, environ=environ, cwd=cwd)
        if ended.status != 0:
            told = trouble(ended.output, self._asked(args, environ), offline=settings.offline)
            error: CommandError = failure(
                purpose,
                ended.command,
                ended.status,
                ended.output,
                told.next_step,
                told.happened,
                told.offline,
            )
            raise error
        return ended.stdout

    def _asked(self, args: Sequence[str | Path], environ: Mapping[str, str]) -> list[str]:
        """The indexes that a command asks; the backend whose it is knows."""
        known = [getattr(backend, "indexes_of", None) for backend in self._backends.values()]
        return [index for of in known if of is not None for index in of(args, environ)]


def _empty(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()
