"""Strike everywhere, print what came of it, and fail if anything is wrong."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import kills, table
from tests.faults.child import STRIKES
from tests.faults.walk import Ending, Outcome, walk
from tests.faults.world import JOBS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = [job.name for job in JOBS]
    parser.add_argument("--job", action="append", choices=names, help="only this one")
    parser.add_argument("--fault", action="append", choices=[*STRIKES], help="only this one")
    parser.add_argument("--kills", type=int, default=500, help="how many kills at random moments")
    parser.add_argument("--seed", type=int, default=0, help="another row of random moments")
    parser.add_argument("--write", action="store_true", help="write the table into the docs")
    parser.add_argument("--log", type=Path, help="keep in this file what ended right, and go on")
    args = parser.parse_args()
    jobs = [job for job in JOBS if job.name in (args.job or names)]
    with tempfile.TemporaryDirectory(prefix="isoenv-faults-") as directory:
        started = time.monotonic()
        known = dict(_logged(args.log)) if args.log else {}
        tell = _Teller(args.log)
        outcomes = walk(Path(directory), jobs, args.fault or STRIKES, tell=tell, known=known)
        told = table.text(outcomes)
        print(told, f"walked in {time.monotonic() - started:.0f} s", sep="\n")
        killed = kills.strike(Path(directory, "kills"), args.kills, args.seed)
        print(killed)
    is_right = killed.is_right and not any(outcome.wrong for outcome in outcomes)
    if is_right and args.write:
        table.write(outcomes, killed)
    return 0 if is_right else 1


class _Teller:
    """Says what is wrong at once, and writes down what is right."""

    def __init__(self, log: Path | None) -> None:
        self._log = log

    def __call__(self, outcome: Outcome) -> None:
        for wrong in outcome.wrong:
            print(f"WRONG {outcome.point}: {wrong}", file=sys.stderr, flush=True)
        if self._log and not outcome.wrong:
            with self._log.open("a") as file:
                file.write(json.dumps([str(outcome.point), outcome.ending]) + "\n")


def _logged(log: Path) -> list[tuple[str, Ending]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [tuple(json.loads(line)) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
