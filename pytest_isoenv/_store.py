"""The cache: ``ensure(key, build) -> directory``. It never learns what a virtual environment is.

Layout below the root, which is the user's alone (mode 0700)::

    README.md  CACHEDIR.TAG
    v1/interpreters.json            what the Pythons of this machine answered
    v1/resolutions/INTENT/          a kept resolution: requirements.in, pylock.toml, pin.json
    v1/wheels/DIGEST/               wheels that were built of one source tree
    v1/environments/KEY/manifest.json   published last, by one os.replace
    v1/environments/KEY/1/          the directory it names: built in place, never touched again
    v1/latest/NAME.json             the key that a project's environment had last
    v1/ahead/NAME.json              what a project's workers were forked from last
    v1/runs/  v1/leases/            who is at work, and what they use
    v1/locks/                       one for each thing that is made
    v1/trash/                       what is being deleted

A directory without a manifest that names it does not exist for anybody: a killed build is a miss.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_isoenv import _root
from pytest_isoenv._file_locks import Interrupted, free, waited_for
from pytest_isoenv._files import read_json, write_json
from pytest_isoenv._layout import SCHEMA, digest, home_in
from pytest_isoenv._runs import Runs, ThisRun
from pytest_isoenv._steps import reached
from pytest_isoenv._trash import Trash
from pytest_isoenv.errors import BrokenEnvironment, StoreError
from pytest_isoenv.pinned import EnvKey, explain

#: Builds an environment in a directory and returns what to remember of it.
Build = Callable[[Path], Mapping[str, Any]]
#: Looks at a published entry and says why it cannot be used; None if it can.
Check = Callable[["Entry"], "str | None"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A directory that is ready, and how it came to be.

    ``facts`` are what its build remembered; ``seconds`` is how long building took now (0 on a
    hit); ``why`` says what made a build necessary, or is empty.
    """

    directory: Path
    facts: Mapping[str, Any]
    provisioned: str
    seconds: float = 0.0
    why: str = ""


class Store:
    """One cache directory; any number of processes and threads may share it.

    One that cannot be written to serves what it has, and makes nothing: see :attr:`writable`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = home_in(root)
        self.writable = _root.own(root)
        self.runs = Runs(self.home)
        self.trash = Trash(self.home / "trash")
        self._run = ThisRun(self.runs)
        self._stopped = threading.Event()
        self._swept = False
        # The generations that this process was given: they are no rubbish to it.
        self._given: set[Path] = set()

    @property
    def run(self) -> str:
        """The name of this process's run, which its lease and its processes bear."""
        return self._run.name

    def ensure(
        self, key: EnvKey, inputs: Mapping[str, str], label: str, build: Build, check: Check
    ) -> Entry:
        """The environment ``key``: what is there if ``check`` passes it, else what ``build`` makes.

        Of many processes and threads that want one key, one builds and the others wait. Nobody
        removes it before :meth:`close`.
        """
        self._lease(f"environment-{key}")
        entry, _ = self.look(key, check)
        if entry is not None:
            used(self._place(key) / "manifest.json")
        else:
            with self._locked(f"environment-{key}"):
                entry, broken = self.look(key, check)
                if entry is None:
                    why = f"it was broken: {broken}" if broken else self.changes(label, inputs)
                    entry = self._build(key, inputs, build, check, why)
        self._remember(label, key)
        self._given.add(entry.directory)
        return entry

    def look(self, key: EnvKey, check: Check) -> tuple[Entry | None, str | None]:
        """What is there, or why it cannot be used; two times None if nothing is there."""
        reached("look", key)
        place = self._place(key)
        manifest = manifest_in(place)
        if manifest is None:
            return None, None
        entry = Entry(place / manifest["directory"], manifest["facts"], "cached")
        reason = check(entry)
        return (entry, None) if reason is None else (None, reason)

    def condemn(self, directory: Path) -> bool:
        """Let the environment in ``directory`` be built anew when it is wanted next.

        Those who use it go on. Whether it was still the one to be used.
        """
        place = directory.parent
        with self._locked(f"environment-{place.name}"):
            is_used = (manifest_in(place) or {}).get("directory") == directory.name
            if is_used:
                (place / "manifest.json").unlink(missing_ok=True)
            return is_used

    def _build(
        self, key: EnvKey, inputs: Mapping[str, str], build: Build, check: Check, why: str
    ) -> Entry:
        self._sweep_once()
        with self._told():
            directory = self._next_generation(key)
        try:
            entry = self._made(directory, build, check, why)
            self._publish(key, inputs, entry)
        except BaseException:
            self._forget(directory)
            raise
        return entry

    def _made(self, directory: Path, build: Build, check: Check, why: str) -> Entry:
        started = time.monotonic()
        with self.room():
            facts = build(directory)
        entry = Entry(directory, facts, "built", time.monotonic() - started, why)
        reached("check", directory)
        reason = check(entry)
        if reason is not None:
            raise BrokenEnvironment(str(directory), f"it was only just built, and {reason}")
        return entry

    def _publish(self, key: EnvKey, inputs: Mapping[str, str], entry: Entry) -> None:
        manifest = {
            "schema": SCHEMA,
            "key": key,
            "inputs": dict(inputs),
            "directory": entry.directory.name,
            "facts": dict(entry.facts),
            "built": time.time(),
            "seconds": round(entry.seconds, 3),
        }
        reached("publish", entry.directory)
        self.write(self._place(key) / "manifest.json", manifest)

    def _forget(self, directory: Path) -> None:
        """Of a build that failed nothing stays: the room may be what it was wanting."""
        manifest = manifest_in(directory.parent)
        if manifest is None or manifest["directory"] != directory.name:
            with contextlib.suppress(OSError):
                self.trash.remove(directory)

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Where something is made: if there is no room for it, that is said of the cache."""
        try:
            yield
        except OSError as error:
            if error.errno not in _root.NO_ROOM:
                raise
            raise _root.refused(self.root, error) from error

    def _next_generation(self, key: EnvKey) -> Path:
        """A directory that no build has used before; what nobody can use any more goes.

        The published one stays, and all of them while somebody else may be running in one.
        """
        place = self._place(key)
        place.mkdir(parents=True, exist_ok=True)
        children = list(place.iterdir())
        published = (manifest_in(place) or {}).get("directory")
        if not self.runs.leased(f"environment-{key}", but=self.run):
            for path in children:
                if path.name not in (published, "manifest.json") and path not in self._given:
                    self.trash.remove(path)
        numbers = [int(path.name) for path in children if path.name.isdigit()]
        directory = place / str(max(numbers, default=0) + 1)
        reached("make the directory", directory)
        directory.mkdir()
        return directory

    def write(self, path: Path, value: Any) -> None:
        """Write JSON in one step; a write that is killed leaves nothing but in the run's own place.

        Raises StoreError.
        """
        with self._told():
            write_json(path, value, self._run.place())

    def _remember(self, label: str, key: EnvKey) -> None:
        """Know what the project had last; a hit that changes nothing writes nothing."""
        latest = self._latest(label)
        if read_json(latest) != {"key": key, "label": label}:
            self.note(latest, {"key": key, "label": label})

    def note(self, path: Path, value: Any) -> None:
        """Write down something that is good to know, if that is possible."""
        if self.writable:
            reached("remember", path)
            with contextlib.suppress(OSError):
                write_json(path, value, self._run.place())

    def changes(self, label: str, inputs: Mapping[str, str]) -> str:
        """Why the environment a project knows as ``label`` is not the one it had last."""
        latest = read_json(self._latest(label))
        known = isinstance(latest, dict) and latest.get("key")
        manifest = manifest_in(self._place(known)) if known else None
        if manifest is None:
            return ""
        changes = explain(manifest["inputs"], inputs)
        more = f" and {len(changes) - 4} more changes" if len(changes) > 4 else ""
        return "; ".join(changes[:4]) + more

    def _place(self, key: str) -> Path:
        return self.home / "environments" / key

    def _latest(self, label: str) -> Path:
        return self.home / "latest" / f"{digest(label)}.json"

    @property
    def interpreters(self) -> Path:
        """Where the probes of interpreters are kept."""
        return self.home / "interpreters.json"

    @contextlib.contextmanager
    def resolution(self, intent: str) -> Iterator[Path]:
        """The directory of one kept resolution, locked against others who want to make it.

        What a dead run has left that resolved the same writes there no more.
        """
        with self._told():
            self._run.begin()  # so that others know the processes that resolve
        with self._locked(f"resolution-{intent}"):
            self._sweep_once()
            yield self.kept_resolution(intent)

    def kept_resolution(self, intent: str) -> Path:
        """The same without the lock, to look whether it is there."""
        return self.home / "resolutions" / intent

    @contextlib.contextmanager
    def wheels(self, digest: str) -> Iterator[Path]:
        """The directory of what was built of one source tree, locked against other builders."""
        with self._locked(f"wheels-{digest}"):
            yield self.kept_wheels(digest)

    def kept_wheels(self, digest: str) -> Path:
        """The same without the lock, to look what is there; nobody removes it from now on."""
        self._lease(f"wheels-{digest}")
        return self.home / "wheels" / digest

    def throw_away(self, build: Build) -> Entry:
        """An environment of this run's own, built from scratch."""
        directory = self.ephemeral()
        started = time.monotonic()
        with self.room():
            facts = build(directory)
        return Entry(directory, facts, "ephemeral", time.monotonic() - started)

    def ephemeral(self) -> Path:
        """A new directory that is removed by :meth:`close`, or by the next run after a SIGKILL."""
        self._sweep_once()
        with self._told():
            return self._run.directory()

    def _sweep_once(self) -> None:
        """Before something is made there is room to be had: what dead runs have left."""
        if not self._swept:
            self._swept = True
            self.sweep()

    def sweep(self, until: float | None = None) -> None:
        """Remove what runs left that could not clean up after themselves.

        What takes longer than ``until`` (a moment of the monotonic clock) is left for the next.
        """
        with self._told():
            self.runs.sweep()
            self.trash.empty(until)

    @contextlib.contextmanager
    def alone_with(self, name: str) -> Iterator[bool]:
        """Whether nobody else is at work on ``environment-KEY`` or ``resolution-INTENT``.

        If so, nobody begins to while this lasts. It waits for nobody.
        """
        with contextlib.ExitStack() as held:
            with self._told():
                is_free = held.enter_context(free(self.lock_of(name)))
            yield is_free

    def lock_of(self, name: str) -> Path:
        """The file that is locked while somebody makes something."""
        return self.home / "locks" / f"{name}.lock"

    def stop(self) -> None:
        """Let nobody of this process wait for a lock any longer: the run was interrupted."""
        self._stopped.set()

    def close(self) -> None:
        """Give back what was leased, and remove this run's throw-away environments."""
        self._given.clear()
        with contextlib.suppress(OSError):  # the next run sweeps what cannot be removed now
            self._run.end()

    def _lease(self, thing: str) -> None:
        if self.writable:
            with self._told():
                self._run.lease(thing)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        reached("take the lock", name)
        with contextlib.ExitStack() as held:
            try:
                with self._told():
                    held.enter_context(waited_for(self.lock_of(name), self._stopped.is_set))
            except Interrupted:
                raise StoreError(str(self.root), "the run was interrupted") from None
            yield

    def _told(self) -> contextlib.AbstractContextManager[None]:
        return _root.told(self.root)


def used(kept: Path) -> None:
    """Note when something was last used: the time of modification says it, and counts for no key.

    A cache that is only read serves all the same.
    """
    with contextlib.suppress(OSError):
        os.utime(kept)


def manifest_in(place: Path) -> dict[str, Any] | None:
    """The manifest that publishes an environment; None for one that is not there, or no such."""
    manifest = read_json(place / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        return None
    kinds = {"directory": str, "facts": dict, "inputs": dict}
    return manifest if all(isinstance(manifest.get(k), kinds[k]) for k in kinds) else None
