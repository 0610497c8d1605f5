"""Run every example in a pytest session of its own; fail if one of them fails.

    python examples/run.py [options of pytest ...]

Each directory here is a project of its own: it has its own pytest.ini, so pytest takes it for the
rootdir and finds the isoenv.yaml in it. That is why this is a loop and not ``pytest examples``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(options: list[str]) -> int:
    """Run them all, also after a failure; the exit status is 1 if any failed."""
    failed = []
    for example in sorted(ini.parent for ini in HERE.glob("*/pytest.ini")):
        place = example.relative_to(HERE.parent)
        print("", " ".join([f"$ cd {place} && pytest", *options]), sep="\n", flush=True)
        if subprocess.run([sys.executable, "-m", "pytest", *options], cwd=example).returncode:
            failed.append(example.name)
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall examples passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
