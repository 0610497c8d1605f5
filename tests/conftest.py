"""Fixtures of all tests: a local index, and a cache that is never the user's own."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.packages import Index, make_wheel, repack_runner

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


def _is_asked_for(item: pytest.Item, asked: str) -> bool:
    if item.get_closest_marker("plugins"):
        return "plugins" in asked
    return not any(item.get_closest_marker(m) and m not in asked for m in ("network", "slow"))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the local index: ``lib`` and ``other`` in several versions, and pytest."""
    directory = tmp_path_factory.mktemp("wheels")
    repack_runner(directory)
    make_wheel(directory, "colorama", "0.4.6")  # pytest's on Windows, which a lock is for, too
    for version in ("1.0", "1.1", "2.0"):
        make_wheel(directory, "lib", version)
    make_wheel(directory, "other", "1.0")
    make_wheel(directory, "needs-lib", "1.0", requires=["lib>=1,<2"])
    make_wheel(directory, "broken-needs", "1.0", requires=["lib>=99"])
    return directory


@pytest.fixture(scope="session")
def index(wheels: Path) -> Iterator[Index]:
    index = Index(wheels)
    yield index
    index.close()


@pytest.fixture(scope="session")
def shared_caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's environments are kept, so that tests can share them.

    The processes of pytest-xdist share them, too: their base directories have one parent.
    """
    base = tmp_path_factory.getbasetemp()
    caches = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "caches"
    caches.mkdir(exist_ok=True)
    return caches


# Variables that would add another index to the tests' own.
UV_INDEXES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_FIND_LINKS")
PIP_INDEXES = ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX")


@pytest.fixture(autouse=True)
def hermetic(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    shared_caches: Path,
    index: Index,
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


@pytest.fixture
def run(pytester: pytest.Pytester) -> Any:
    """Run pytest in a process of its own, as a user does, and read the JSON report."""

    def run(*args: str, timeout: float = 120) -> Outcome:
        path = pytester.path / "report.json"
        path.unlink(missing_ok=True)
        result = pytester.runpytest_subprocess(
            "-p", "no:xdist", f"--env-report={path}", *args, timeout=timeout
        )
        report = json.loads(path.read_text()) if path.exists() else {"environments": []}
        return Outcome(result, report)

    return run
