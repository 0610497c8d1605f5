"""A run that is forked is like one that was started: these tests may rely on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.starter import Run

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere nothing is forked")

FACTS = """
import json, os, pathlib, signal, sys, threading

def test_it(request):
    facts = {
        "arguments": sys.argv[1:],
        "path": sys.path,
        "directory": os.getcwd(),
        "variables": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "flags": repr(sys.flags),
        "main": sys.modules["__main__"].__spec__.name,
        "signals": {n: str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)},
        "threads": threading.active_count(),
        "rewritten": type(sys.modules[__name__].__loader__).__name__,
        "plugins": sorted(
            name
            for name, _ in request.config.pluginmanager.list_name_plugin()
            if not name.isdigit() and "/" not in name
        ),
        "ours": sorted(name for name in sys.modules if name.startswith("pytest_isoenv")),
        "descriptors": [n for n in range(3, 64) if pathlib.Path(f"/proc/self/fd/{n}").exists()],
        "stdin": open(0).read(),
    }
    pathlib.Path("facts.json").write_text(json.dumps(facts))
"""


@pytest.fixture
def forked(pytester, starter):
    """Start a run, with the variables that are there besides the test's own."""

    def forked(*args, **variables):
        with (pytester.path / "out").open("wb") as out:
            environ = {**os.environ, "PYTHONPATH": str(pytester.path), **variables}
            return starter.pytest(
                args, directory=pytester.path, environ=environ, stdout=out, stderr=out
            )

    return forked


def test_it_has_what_a_process_of_its_own_has(pytester, forked):
    def facts():
        return json.loads((pytester.path / "facts.json").read_text())

    pytester.makepyfile(test_it=FACTS)
    args = ["-p", "no:xdist", "-s", "test_it.py"]
    run = forked(*args, FLAVOUR="sweet")
    assert isinstance(run, Run)
    assert run.wait(60) == 0, (pytester.path / "out").read_text()
    its = facts()
    command = [sys.executable, "-m", "pytest", *args]
    environ = {**os.environ, "PYTHONPATH": str(pytester.path), "FLAVOUR": "sweet"}
    subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
    )
    assert its == facts()
    assert its["ours"]


def test_its_end_is_told(pytester, forked):
    pytester.makepyfile(test_it="def test_it(): assert 0")
    assert forked("-p", "no:xdist").wait(60) == 1
    pytester.makepyfile(test_it="import os, signal\ndef test_it(): os.kill(os.getpid(), 15)")
    assert forked("-p", "no:xdist", "-p", "no:isoenv").wait(60) == -15


def test_one_that_hangs_can_be_ended(pytester, forked):
    pytester.makepyfile(test_it="import signal\ndef test_it(): signal.pause()")
    run = forked("-p", "no:xdist")
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(0.01)
    run.kill()
    assert run.wait() == -9
    pytester.makepyfile(test_it="def test_it(): pass")
    assert forked("-p", "no:xdist").wait(60) == 0
