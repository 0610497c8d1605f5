"""Fixtures of all tests: a local index, and a cache that is never the user's own."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest
from uv import find_uv_bin

from tests.packages import Index, Served, make_wheel, repack_runner
from tests.starter import Starter

# The index that all processes share, in the one that serves it; and what the others know of it.
_SHARED = pytest.StashKey[Index]()
_SERVED = "isoenv-tests-index"

# A shell that starts this in the background has SIGINT ignored, and every process below it would
# ignore it as well: tests of Ctrl-C could only wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long or needs PyPI runs only when it is asked for, by its mark or by its id."""
    if any("::" in argument for argument in config.args):
        return
    asked = config.option.markexpr + "network" * (config.getoption("--parity") != "few")
    left_out = {item for item in items if not _is_asked_for(item, asked)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Let no collection of garbage look at the tests: each run in this process makes ten."""
    gc.freeze()


def _is_asked_for(item: pytest.Item, asked: str) -> bool:
    if item.get_closest_marker("plugins"):
        return "plugins" in asked
    return not any(item.get_closest_marker(m) and m not in asked for m in ("network", "slow"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """The processes of pytest-xdist share one index: what one has built, the others find."""
    config: pytest.Config = node.config
    if _SHARED not in config.stash:
        directory = tempfile.TemporaryDirectory(prefix="isoenv-wheels-")
        index = config.stash[_SHARED] = Index(Path(directory.name))
        config.add_cleanup(directory.cleanup)
        config.add_cleanup(index.close)
    index = config.stash[_SHARED]
    node.workerinput[_SERVED] = {"wheels": str(index.wheels), "url": index.url}


@pytest.fixture(scope="session")
def wheels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the local index: ``lib`` and ``other`` in several versions, and pytest."""
    shared = getattr(request.config, "workerinput", {}).get(_SERVED)
    directory = Path(shared["wheels"]) if shared else tmp_path_factory.mktemp("wheels")
    with _once(directory / ".complete") as is_first:
        if is_first:
            _make_wheels(directory)
    return directory


def _make_wheels(directory: Path) -> None:
    repack_runner(directory)
    make_wheel(directory, "colorama", "0.4.6")  # pytest's on Windows, which a lock is for, too
    for version in ("1.0", "1.1", "2.0"):
        make_wheel(directory, "lib", version)
    make_wheel(directory, "other", "1.0")
    make_wheel(directory, "needs-lib", "1.0", requires=["lib>=1,<2"])
    make_wheel(directory, "broken-needs", "1.0", requires=["lib>=99"])


@pytest.fixture(scope="session")
def index(request: pytest.FixtureRequest, wheels: Path) -> Iterator[Served]:
    shared = getattr(request.config, "workerinput", {}).get(_SERVED)
    if shared:
        yield Served(shared["url"])
        return
    index = Index(wheels)
    yield Served(index.url)
    index.close()


@contextlib.contextmanager
def _once(mark: Path) -> Iterator[bool]:
    """Whether nobody has done it yet; while one does it, others wait for that."""
    with filelock.FileLock(f"{mark}.lock"):
        yield not mark.exists()
        mark.touch()


@pytest.fixture(scope="session")
def shared_caches(tmp_path_factory: pytest.TempPathFactory, index: Served) -> Path:
    """Where the session's environments are kept, so that tests can share them.

    The processes of pytest-xdist share them, too: their base directories have one parent.
    """
    base = tmp_path_factory.getbasetemp()
    caches = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "caches"
    caches.mkdir(exist_ok=True)
    with _once(caches / ".compiled") as is_first:
        if is_first:
            _compile_pytest(caches / "uv", index.url)
            _begin_nothing_ahead(caches / "pytest-isoenv")
    return caches


def _begin_nothing_ahead(cache: Path) -> None:
    """Let the first run of a test's own project be as the first on a machine is.

    Otherwise it would depend on which tests have run before how its workers start.
    """
    from pytest_isoenv import _ahead, _layout

    note = _layout.ahead(cache, _ahead.HOST)
    note.parent.mkdir(parents=True)
    for directory in (cache, note.parent.parent, note.parent):
        directory.chmod(0o700)
    note.write_text(json.dumps({"layer": str(cache)}))  # no Python is there


def _compile_pytest(cache: Path, index: str) -> None:
    """Put pytest and its bytecode into uv's cache.

    Every empty cache of a test needs pytest, compiled, which takes a second. What uv installs are
    hard links to all that lies in its cache, so that there is nothing left to compile; where they
    are not, it is compiled as ever.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-config", "--cache-dir", cache]
    command += ["--default-index", index, "--python", sys.executable, "--target", cache / "any"]
    subprocess.run([*command, "pytest"], env=environ, check=True)
    shutil.rmtree(cache / "any")
    for archive in cache.glob("archive-*"):
        # In a process of its own: what compiles side by side there would stay a child of this one.
        subprocess.run([sys.executable, "-m", "compileall", "-qq", "-j2", archive], check=False)


# Variables that would add another index to the tests' own.
UV_INDEXES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_FIND_LINKS")
PIP_INDEXES = ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX")


@pytest.fixture(autouse=True)
def hermetic(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    shared_caches: Path,
    index: Served,
) -> None:
    """No test touches the user's caches; only those marked ``network`` ask another index."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_caches))
    monkeypatch.setenv("UV_CACHE_DIR", str(shared_caches / "uv"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "FORCE_COLOR", "PY_COLORS", "CI"):
        monkeypatch.delenv(name, raising=False)
    if request.node.get_closest_marker("network") is None:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        for name in (*UV_INDEXES, *PIP_INDEXES):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def growing(tmp_path_factory, monkeypatch, wheels) -> Iterator[Path]:
    """An index of this test's own, to which it can add."""
    directory = tmp_path_factory.mktemp("growing")
    for wheel in wheels.glob("*.whl"):
        if not wheel.name.startswith("lib-"):
            shutil.copy(wheel, directory)
    make_wheel(directory, "lib", "1.0")
    index = Index(directory)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    yield directory
    index.close()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory that is empty, for tests about the cache itself."""
    cache = tmp_path / "own-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache / "pytest-isoenv"


@dataclasses.dataclass
class Outcome:
    """What a run of pytest gave: its result for pytester's matchers, and the JSON report."""

    result: pytest.RunResult
    report: dict[str, Any]

    @property
    def tests(self) -> dict[str, str]:
        """Every test that ran in an environment, and its outcome."""
        return {k: v for env in self.environments.values() for k, v in env["tests"].items()}

    @property
    def environments(self) -> dict[str, dict[str, Any]]:
        return {env["name"]: env for env in self.report["environments"]}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.result, name)


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    starter = Starter()
    yield starter
    starter.close()


@pytest.fixture
def run(pytester: pytest.Pytester, starter: Starter, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run pytest in a process of its own, as a user does, and read the JSON report."""

    def popen(command: list[str], stdin: Any, stdout: Any, stderr: Any) -> Any:
        assert command[1] == "-mpytest"
        here = Path.cwd()
        paths = (str(here), os.environ.get("PYTHONPATH", ""))
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        return starter.pytest(
            command[2:], directory=here, environ=environ, stdout=stdout, stderr=stderr
        )

    def run(*args: str, timeout: float = 120) -> Outcome:
        path = pytester.path / "report.json"
        path.unlink(missing_ok=True)
        with monkeypatch.context() as patched:
            patched.setattr(pytester, "popen", popen)
            result = pytester.runpytest_subprocess(
                "-p", "no:xdist", f"--env-report={path}", *args, timeout=timeout
            )
        report = json.loads(path.read_text()) if path.exists() else {"environments": []}
        return Outcome(result, report)

    return run
