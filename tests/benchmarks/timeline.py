"""Where the time of one run goes: ``python -m tests.benchmarks.timeline``.

A plugin notes the clock in pytest's hooks, in the host and in each worker; what it notes stands in
one table, in the order in which it happened. Plain pytest runs the same tests beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.jobs import JOBS, Kitchen
from tests.benchmarks.measuring import adopt_orphans
from tests.benchmarks.rounds import Contender, run
from tests.benchmarks.workshop import Workshop

_FILE, _START = "BENCHMARK_CLOCK", "BENCHMARK_START"
# None of these hooks can select tests, or the host would not leave a worker to itself.
_PLUGIN = f"""
import atexit, os, sys, time

import pytest

_noted = []

def _note(what):
    now = time.time() - float(os.environ["{_START}"])
    _noted.append((round(now * 1000), round(time.process_time() * 1000), what))

_note("conftest.py is loaded" if "conftest" in sys.modules else "pytest is imported")

@pytest.hookimpl(tryfirst=True)
def pytest_configure():
    _note("plugins are loaded")

@pytest.hookimpl(tryfirst=True)
def pytest_collection():
    _note("collection begins")

@pytest.hookimpl(tryfirst=True)
def pytest_report_collectionfinish():
    _note("collection has ended")

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport():
    if _noted[-1][2] != "the first test has a report":
        _note("the first test has a report")

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish():
    _note("the last test has ended")

def _write():
    import json

    _note("Python ends")
    with open(os.environ["{_FILE}"], "a") as file:
        print(json.dumps([os.getpid(), _noted]), file=file)

atexit.register(_write)
"""


@dataclasses.dataclass(frozen=True, order=True)
class Moment:
    """Something that happened: milliseconds since the start, and of the process's own CPU time."""

    wall: int
    who: str
    cpu: int
    what: str


def timed(contender: Contender, directory: Path) -> list[Moment]:
    """Run it with the plugin, in the host and in its environments; all moments in their order."""
    plugins, clock = directory / "plugins", directory / "clock.jsonl"
    plugins.mkdir(exist_ok=True)
    (plugins / "clock.py").write_text(_PLUGIN)
    run(contender, directory)  # warm
    if contender.kind == "ours":
        (contender.cwd / "clock.py").write_text(_PLUGIN)
        with (contender.cwd / "conftest.py").open("a") as file:
            file.write('pytest_plugins = ["clock"]\n')
    clock.unlink(missing_ok=True)
    start = time.time()
    told = {"PYTHONPATH": str(plugins), _FILE: str(clock), _START: str(start)}
    timed = dataclasses.replace(
        contender,
        command=[*contender.command, "-p", "clock"],
        environ={**contender.environ, **told},
    )
    run(timed, directory)
    end = Moment(round((time.time() - start) * 1000), "host", 0, "all processes have ended")
    return sorted([*_moments(clock), end])


def _moments(clock: Path) -> Iterator[Moment]:
    processes = [json.loads(line) for line in clock.read_text().splitlines()]
    processes.sort(key=lambda process: process[1][0][0])
    for number, (_, noted) in enumerate(processes):
        who = f"worker {number}" if number else "host"
        for wall, cpu, what in noted:
            yield Moment(wall, who, cpu, what)


def table(moments: Sequence[Moment]) -> str:
    """As Markdown."""
    lines = ["| ms | CPU ms | | |", "|---:|---:|---|---|"]
    lines += [f"| {m.wall} | {m.cpu or ''} | {m.who} | {m.what} |" for m in moments]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.timeline", description=__doc__)
    parser.add_argument("--job", choices=["one", "four-warm"], default="one")
    parser.add_argument("--work", metavar="DIR", help="make everything there, and keep it")
    options = parser.parse_args(arguments)
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        shop = Workshop(Path(options.work or scratch).absolute())
        try:
            kitchen = Kitchen(shop, f"{options.job}-timeline", print, tools=False)
            (job,) = [job for job in JOBS if job.name == options.job]
            for contender in job.made(kitchen):
                if contender.name in ("ours", "plain"):
                    print(f"\n{contender.title}\n\n{table(timed(contender, Path(scratch)))}")
        finally:
            shop.close()
    return 0


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    sys.exit(main())
