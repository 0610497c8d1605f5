"""The cache: ``ensure(key, build) -> directory``. It never learns what a virtual environment is.

Layout below the root, which is the user's alone (mode 0700)::

    README.md  CACHEDIR.TAG
    v1/interpreters.json            what the Pythons of this machine answered
    v1/resolutions/INTENT/          a kept resolution: requirements.in, pylock.toml, pin.json
    v1/wheels/DIGEST/               wheels that were built of one source tree
    v1/environments/KEY/manifest.json   published last, by one os.replace
    v1/environments/KEY/1/          the directory it names: built in place, never touched again
    v1/latest/NAME.json             the key that a project's environment had last
    v1/ephemeral/RUN/               throw-away environments of one run, locked while it lives
    v1/locks/                       file locks

A directory without a manifest that names it does not exist for anybody: a killed build is a miss.
The only module that takes file locks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pytest_isoenv._files import read_json, write_atomically, write_json
from pytest_isoenv.errors import StoreError
from pytest_isoenv.pinned import SCHEMA, EnvKey, digest, explain

_README = """\
This directory belongs to pytest-isoenv, a pytest plugin. It keeps the environments that tests ran
in, so that the next run need not build them again. Nothing in it is precious: when no test run is
under way it may be deleted as a whole.
"""
_CACHEDIR_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# This file marks a cache directory; see https://bford.info/cachedir/
"""

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
    """One cache directory; any number of processes and threads may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / f"v{SCHEMA}"
        _own(root)
        self._stopped = threading.Event()
        self._run: tuple[Path, FileLock] | None = None
        self._run_lock = threading.Lock()

    def ensure(
        self, key: EnvKey, inputs: Mapping[str, str], label: str, build: Build, check: Check
    ) -> Entry:
        """The environment ``key``: what is there if ``check`` passes it, else what ``build`` makes.

        Of many processes and threads that want one key, one builds and the others wait.
        """
        hit, _ = self.look(key, check)
        if hit is not None:
            self._remember(label, key)
            used(self._place(key) / "manifest.json")
            return hit
        with self._locked(f"environment-{key}"):
            hit, broken = self.look(key, check)
            if hit is not None:
                return hit
            why = f"it was broken: {broken}" if broken else self.changes(label, inputs)
            return self._build(key, inputs, label, build, why)

    def look(self, key: EnvKey, check: Check) -> tuple[Entry | None, str | None]:
        """What is there, or why it cannot be used; two times None if nothing is there."""
        place = self._place(key)
        manifest = manifest_in(place)
        if manifest is None:
            return None, None
        entry = Entry(place / manifest["directory"], manifest["facts"], "cached")
        reason = check(entry)
        return (entry, None) if reason is None else (None, reason)

    def _build(
        self, key: EnvKey, inputs: Mapping[str, str], label: str, build: Build, why: str
    ) -> Entry:
        place = self._place(key)
        with _told(self.root):
            directory = _next_generation(place)
        started = time.monotonic()
        facts = build(directory)
        seconds = time.monotonic() - started
        manifest = {
            "schema": SCHEMA,
            "key": key,
            "inputs": dict(inputs),
            "directory": directory.name,
            "facts": dict(facts),
            "built": time.time(),
            "seconds": round(seconds, 3),
        }
        with _told(self.root):
            write_json(place / "manifest.json", manifest)
        self._remember(label, key)
        return Entry(directory, facts, "built", seconds, why)

    def _remember(self, label: str, key: EnvKey) -> None:
        """Know what the project had last; a hit that changes nothing writes nothing."""
        latest = self._latest(label)
        if read_json(latest) != {"key": key, "label": label}:
            with contextlib.suppress(OSError):  # a cache that is only read serves all the same
                write_json(latest, {"key": key, "label": label})

    def changes(self, label: str, inputs: Mapping[str, str]) -> str:
        """Why the environment a project knows as ``label`` is not the one it had last."""
        latest = read_json(self._latest(label))
        manifest = manifest_in(self._place(latest["key"])) if latest else None
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
        """The directory of one kept resolution, locked against others who want to make it."""
        with self._locked(f"resolution-{intent}"):
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
        """The same without the lock, to look what is there."""
        return self.home / "wheels" / digest

    def throw_away(self, build: Build) -> Entry:
        """An environment of this run's own, built from scratch."""
        directory = self.ephemeral()
        started = time.monotonic()
        facts = build(directory)
        return Entry(directory, facts, "ephemeral", time.monotonic() - started)

    def ephemeral(self) -> Path:
        """A new directory that is removed by :meth:`close`, or by the next run after a SIGKILL."""
        with self._run_lock:
            if self._run is None:
                with _told(self.root):
                    self._run = self._start_run()
        return Path(tempfile.mkdtemp(dir=self._run[0], prefix="env-"))

    def _start_run(self) -> tuple[Path, FileLock]:
        self.sweep()
        parent = self.home / "ephemeral"
        with self._locked("ephemeral"):
            directory = Path(tempfile.mkdtemp(dir=_made(parent), prefix="run-"))
            lock = FileLock(parent / f"{directory.name}.lock", thread_local=False)
            lock.acquire()
        return directory, lock

    def sweep(self) -> None:
        """Remove what runs left that could not clean up after themselves."""
        with self._locked("ephemeral"):
            for directory in _made(self.home / "ephemeral").glob("run-*/"):
                lock = FileLock(directory.with_name(f"{directory.name}.lock"), thread_local=False)
                try:
                    lock.acquire(blocking=False)
                except Timeout:
                    continue
                _remove_run(directory, lock)

    @contextlib.contextmanager
    def alone_with(self, name: str) -> Iterator[bool]:
        """Whether nobody else is at work on ``environment-KEY`` or ``resolution-INTENT``.

        If so, nobody begins to while this lasts. It waits for nobody.
        """
        lock = self._lock(name)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def stop(self) -> None:
        """Let nobody of this process wait for a lock any longer: the run was interrupted."""
        self._stopped.set()

    def close(self) -> None:
        """Remove this run's ephemeral directories."""
        with self._run_lock:
            run, self._run = self._run, None
        if run is not None:
            _remove_run(*run)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = self._lock(name)
        try:
            with _told(self.root):
                lock.acquire(cancel_check=self._stopped.is_set)
        except Timeout:
            raise StoreError(str(self.root), "the run was interrupted") from None
        try:
            yield
        finally:
            lock.release()

    def _lock(self, name: str) -> FileLock:
        with _told(self.root):
            return FileLock(_made(self.home / "locks") / f"{name}.lock")


def used(kept: Path) -> None:
    """Note when something was last used: the time of modification says it, and counts for no key.

    A cache that is only read serves all the same.
    """
    with contextlib.suppress(OSError):
        os.utime(kept)


def manifest_in(place: Path) -> dict[str, Any] | None:
    """The manifest that publishes an environment; None for one that is not there, or no such."""
    manifest = read_json(place / "manifest.json")
    needed = {"schema", "directory", "facts", "inputs"}
    if not isinstance(manifest, dict) or not needed <= manifest.keys():
        return None
    return manifest if manifest["schema"] == SCHEMA else None


def _remove_run(directory: Path, lock: FileLock) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    lock.release()
    Path(lock.lock_file).unlink(missing_ok=True)


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _next_generation(place: Path) -> Path:
    """A directory that no build has used before; what failed builds left goes.

    The published one stays: others may be running in it.
    """
    manifest = manifest_in(_made(place)) or {}
    numbers = [int(child.name) for child in place.iterdir() if child.name.isdigit()]
    for number in numbers:
        if str(number) != manifest.get("directory"):
            shutil.rmtree(place / str(number), ignore_errors=True)
    directory = place / str(max(numbers, default=0) + 1)
    directory.mkdir()
    return directory


def _own(root: Path) -> None:
    """Make the root, for this user alone, or say why it cannot be used."""
    with _told(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = root.stat()
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise StoreError(str(root), f"it belongs to the user with id {status.st_uid}")
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o022:
        raise StoreError(str(root), "others may write to it (mode 0700 is what it should have)")
    if not (root / "README.md").exists():
        with _told(root):
            write_atomically(root / "README.md", _README)
            write_atomically(root / "CACHEDIR.TAG", _CACHEDIR_TAG)


@contextlib.contextmanager
def _told(root: Path) -> Iterator[None]:
    """What the file system refuses is said of the cache as a whole."""
    try:
        yield
    except OSError as error:
        raise StoreError(str(root), str(error)) from error
