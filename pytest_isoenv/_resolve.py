"""What is asked for -> what will be built: resolving, and keeping what was resolved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pytest_isoenv import _locks
from pytest_isoenv._commands import Commands
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
from pytest_isoenv._store import Store, used
from pytest_isoenv._stores import Stores
from pytest_isoenv._wanted import intent_of
from pytest_isoenv.backend import Backend, Wanted
from pytest_isoenv.errors import ResolutionError
from pytest_isoenv.pinned import Resolution
from pytest_isoenv.spec import EnvSpec


class Resolver:
    """Resolves what is wanted, or finds what was resolved before."""

    def __init__(self, settings: Settings, stores: Stores, commands: Commands) -> None:
        self._settings = settings
        self._stores = stores
        self._commands = commands

    def resolution(
        self, backend: Backend, wanted: Wanted, notify: Callable[[], None]
    ) -> Resolution:
        """The pins of what is wanted; ``notify`` is called if they are looked for now."""
        try:
            return self._resolution(backend, wanted, notify)
        except ResolutionError as error:
            from pytest_isoenv._hints import LOOSEN  # only a failure pays for it

            lock = wanted.spec.lock
            if lock is not None and error.hint == LOOSEN:
                error.hint = f"it must fit what {lock} has locked: lock that anew, or {LOOSEN}"
            raise

    def _resolution(
        self, backend: Backend, wanted: Wanted, notify: Callable[[], None]
    ) -> Resolution:
        store = self._stores.of(wanted.spec)
        intent = intent_of(backend, wanted)
        anew = self._settings.upgrade and store is self._stores.kept
        kept = None if anew or store is None else kept_in(store.kept_resolution(intent))
        if store is not None and kept is not None:
            used(store.kept_resolution(intent))
            still = self._young_enough(kept, wanted.spec, store)
            if still is not None:
                return still
        notify()
        if self._settings.offline:
            return self._offline(backend, wanted)
        if store is None or not store.writable:
            return dated(self._resolve(backend, wanted, self._stores.scratch.ephemeral()))
        with store.resolution(intent) as directory:
            # Meanwhile another process may have done it.
            kept = None if anew else kept_in(directory)
            still = self._young_enough(kept, wanted.spec, store) if kept else None
            return still or self._resolve_into(store, directory, backend, wanted, kept)

    def _young_enough(self, kept: Resolution, spec: EnvSpec, store: Store) -> Resolution | None:
        """What was resolved, if it may be used, or cannot be resolved anew; else None."""
        # What this run alone has made is of today.
        max_age = spec.max_age if store is self._stores.kept else None
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
        with self._stores.scratch.room():
            return backend.resolve(wanted, directory, self._commands.run)

    def _offline(self, backend: Backend, wanted: Wanted) -> Resolution:
        """What an installer makes of what it has downloaded; not kept: an index may know better."""
        try:
            return dated(self._resolve(backend, wanted, self._stores.scratch.ephemeral()))
        except ResolutionError as error:
            rest = (error.happened or "offline").removeprefix("offline, and ")
            error.happened = f"offline, and nothing was resolved for them before; {rest}"
            raise
