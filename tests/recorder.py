"""A pytest plugin for comparing two runs: writes what each test reported to the file $RECORD.

It runs on every Python and pytest that tests run on, so it uses nothing but them.
"""

import json
import os
import re
import sys

from _pytest.mark import KeywordMatcher

EVENTS = {"items": [], "collection": [], "reports": [], "warnings": [], "exit": None}


def pytest_collection_finish(session):
    EVENTS["items"] = [_described(item) for item in session.items]


def _described(item):
    return {
        "id": item.nodeid,
        "shown": repr(item),
        "location": list(item.location),
        "marks": [mark.name for mark in item.iter_markers()],
        "names": sorted(
            set(KeywordMatcher.from_item(item)._names) - {"pytestmark"}
        ),  # what -k looks at
    }


def pytest_collectreport(report):
    if report.outcome != "passed":
        EVENTS["collection"].append(
            {"id": report.nodeid, "outcome": report.outcome, "longrepr": _text(report)}
        )


def pytest_runtest_logreport(report):
    EVENTS["reports"].append(
        {
            "id": report.nodeid,
            "when": report.when,
            "outcome": report.outcome,
            "longrepr": _text(report),
            "sections": [list(section) for section in report.sections],
            "properties": [
                [name, value] for name, value in report.user_properties if name != "environment"
            ],
            "wasxfail": getattr(report, "wasxfail", None),
            "timed": isinstance(report.duration, float) and report.duration >= 0,
            "location": list(report.location),
            "keywords": sorted(report.keywords),
            "kind": type(report).__name__,
            "context": repr(getattr(report, "context", None)),
        }
    )


def _text(report):
    if isinstance(report.longrepr, tuple):  # a skip: where and why
        return [str(part) for part in report.longrepr]
    return report.longreprtext


def pytest_warning_recorded(warning_message, when, nodeid, location):
    EVENTS["warnings"].append(
        {
            "category": warning_message.category.__name__,
            "text": str(warning_message.message),
            "file": warning_message.filename,
            "line": warning_message.lineno,
            "when": when,
            "id": nodeid,
            "location": list(location) if location else None,
        }
    )


def pytest_sessionfinish(exitstatus):
    EVENTS["exit"] = int(exitstatus)


def pytest_unconfigure():
    # A worker that has this plugin, too, is told to write nowhere: the host tells of both. So
    # does the process that has the workers of pytest-xdist.
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    with open(os.environ["RECORD"], "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(EVENTS, file)


def comparable(text):
    """A text without what differs between two runs of the same thing anywhere."""
    text = re.sub(r"0x[0-9a-f]{6,}|\b7f[0-9a-f]{10}\b", "0x...", text)
    text = re.sub(r"repeated \d+ more times", "repeated N more times", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d\b(\.\d+)?", "<time>", text)
    text = re.sub(r"\boldfd=\d+", "oldfd=N", text)
    text = re.sub(r"\b\d+\.\d\ds\b", "N.NNs", text)
    # From a word's beginning only: else it would try each of its letters.
    return re.sub(r"(?<![^\s'\"])[^\s'\"]*/site-packages/", "<site-packages>/", text)


if __name__ == "__main__":
    sys.exit(__doc__)
