"""What a command takes, with all that it starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# In a process of its own: measuring waits for every child there is, and this process may have some.
PROGRAM = """
import json, os, sys
from pathlib import Path
from tests.benchmarks.measuring import adopt_orphans, measure

adopt_orphans()
code = sys.argv[1]
usage = measure(
    [sys.executable, "-I", "-c", code],
    cwd=Path(sys.argv[2]),
    environ=dict(os.environ),
    output=Path(sys.argv[2], "output"),
    memory=True,
)
print(json.dumps(vars(usage)))
"""
BUSY = "import time\nwhile time.process_time() < 0.3: pass\n"


@pytest.fixture
def measured(tmp_path):
    def measured(code):
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, code, str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(ended.stdout)

    return measured


def test_processor_time_is_that_of_the_command(measured):
    usage = measured(BUSY)
    assert usage["cpu"] >= 0.3
    assert usage["status"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere orphans are nobody's")
def test_processor_time_of_what_a_command_leaves_behind_counts(measured):
    usage = measured(f"import os\nif os.fork() == 0:\n    exec({BUSY!r})")
    assert usage["cpu"] >= 0.3


@pytest.mark.skipif(sys.platform != "linux", reason="nobody tells how much memory there was")
def test_memory_is_that_of_the_command_and_with_its_children(measured):
    hold = "held = bytearray(60 << 20)\n" + BUSY
    usage = measured(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    )
    assert usage["host"] < 60 < usage["tree"]


def test_how_a_command_ended_is_told(measured):
    assert measured("raise SystemExit(3)")["status"] == 3
