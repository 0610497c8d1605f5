"""Run the benchmarks: ``python -m tests.benchmarks --help``."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks import page, picture, results, table
from tests.benchmarks.jobs import JOBS, Job, Kitchen
from tests.benchmarks.measuring import adopt_orphans
from tests.benchmarks.results import JobResult, Results
from tests.benchmarks.rounds import run, samples
from tests.benchmarks.workshop import Workshop

# How many rounds a measurement has that is shown to others.
_ENOUGH = 7
# The load from which on the clock says little.
_BUSY = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; 1 if a contender has not done its job."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.docs and (options.only_ours or options.rounds < _ENOUGH):
        parser.error(f"--docs is for all tools, in at least {_ENOUGH} rounds")
    adopt_orphans()
    if os.getloadavg()[0] > _BUSY:
        _tell("this machine is busy: who has more processes gets more of it; trust CPU time only")
    with _directory(options.work) as directory:
        found = _measured(Path(directory), options)
    if options.svg:
        options.svg.write_text(picture.svg(found))
    if options.docs:
        page.write(results.renewed(page.known(), found, [job.name for job in JOBS]))
    print(table.versions(found), table.samples(found), table.goals(found), sep="\n")
    for error in found.errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if found.errors else 0


def _parser() -> argparse.ArgumentParser:
    names = [job.name for job in JOBS]
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=_ENOUGH, metavar="N", help="after the warm-up (default: 7)")
    add("--jobs", nargs="+", choices=names, default=names, help="only these")
    add("--only-ours", action="store_true", help="no other tools: only us, and pytest by hand")
    add("--json", type=Path, metavar="FILE", help="write what was measured")
    add("--svg", type=Path, metavar="FILE", help="write a picture of it")
    docs = "write both, and the page of the documentation; jobs that are not run stay there"
    add("--docs", action="store_true", help=docs)
    add("--work", metavar="DIR", help="make everything there, and keep it for the next time")
    return parser


@contextlib.contextmanager
def _directory(kept: str | None) -> Iterator[str]:
    if kept is not None:
        yield str(Path(kept).absolute())
        return
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        yield directory


def _measured(directory: Path, options: argparse.Namespace) -> Results:
    shop = Workshop(directory)
    found = Results(_machine(), shop.versions, options.rounds)
    try:
        for job in JOBS:
            if job.name in options.jobs:
                found.jobs.append(_result(job, shop, options))
                if options.json:  # after each job: it may be long until the last
                    results.write(found, options.json)
    finally:
        shop.close()
    return found


def _result(job: Job, shop: Workshop, options: argparse.Namespace) -> JobResult:
    _tell(job.title)
    kitchen = Kitchen(shop, job.name, lambda text: _tell(f"  {text}"), tools=not options.only_ours)
    contenders = list(job.made(kitchen))
    scratch = shop.root / "scratch"
    scratch.mkdir(exist_ok=True)
    taken = samples(
        contenders,
        options.rounds * job.times,
        lambda contender: run(contender, scratch),
        lambda text: _tell(f"  {text}"),
    )
    return JobResult(job.name, job.title, taken)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _machine() -> dict[str, str]:
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    """What the kernel calls it, where it says so."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
