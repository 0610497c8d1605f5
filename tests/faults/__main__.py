"""``python -m tests.faults``: strike everywhere, print what came of it, fail if anything is wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import kills, table
from tests.faults.child import STRIKES
from tests.faults.walk import Outcome, walk
from tests.faults.world import JOBS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = [job.name for job in JOBS]
    parser.add_argument("--job", action="append", choices=names, help="only this one")
    parser.add_argument("--fault", action="append", choices=[*STRIKES], help="only this one")
    parser.add_argument("--kills", type=int, default=500, help="how many kills at random moments")
    parser.add_argument("--seed", type=int, default=0, help="another row of random moments")
    parser.add_argument("--write", action="store_true", help="write the table into the docs")
    args = parser.parse_args()
    jobs = [job for job in JOBS if job.name in (args.job or names)]
    with tempfile.TemporaryDirectory(prefix="isoenv-faults-") as directory:
        started = time.monotonic()
        outcomes = walk(Path(directory), jobs, args.fault or STRIKES, tell=_tell)
        told = table.text(outcomes)
        print(told, f"walked in {time.monotonic() - started:.0f} s", sep="\n")
        killed = kills.strike(Path(directory, "kills"), args.kills, args.seed)
        print(killed)
    is_right = killed.is_right and not any(outcome.wrong for outcome in outcomes)
    if is_right and args.write:
        table.write(outcomes, killed)
    return 0 if is_right else 1


def _tell(outcome: Outcome) -> None:
    for wrong in outcome.wrong:
        print(f"WRONG {outcome.point}: {wrong}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
