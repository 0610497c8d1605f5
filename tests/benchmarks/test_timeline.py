"""What is shown of a run's time is what its processes have noted, in order."""

from __future__ import annotations

import os
import sys

from tests.benchmarks.rounds import Contender
from tests.benchmarks.timeline import Moment, table, timed


def test_moments_stand_in_their_order_with_whose_they_are():
    moments = [Moment(5, "host", 4, "one"), Moment(9, "worker 1", 0, "two")]
    rows = table(moments).splitlines()[2:]
    assert rows == ["| 5 | 4 | host | one |", "| 9 |  | worker 1 | two |"]


def test_plain_pytest_is_timed_from_hook_to_hook(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_one(): pass\ndef test_two(): pass\n")
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    plain = Contender("plain", "plain", command, tmp_path, environ, None, kind="plain")
    moments = timed(plain, tmp_path)
    assert [moment.what for moment in moments] == [
        "pytest is imported",
        "plugins are loaded",
        "collection begins",
        "collection has ended",
        "the first test has a report",
        "the last test has ended",
        "Python ends",
        "all processes have ended",
    ]
    assert {moment.who for moment in moments} == {"host"}
