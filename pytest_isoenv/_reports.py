"""A worker's report data -> a report that the host's plugins take for their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr
from _pytest._io import TerminalWriter


class _Words(TerminalRepr):
    """What a failure of a kind that pytest cannot serialise has to say, such as a doctest's.

    pytest would turn it into a str, which its summary treats in another way, and lose its colours.
    """

    def __init__(self, text: str, shown: str) -> None:
        self._text = text
        self._shown = shown

    def toterminal(self, tw: TerminalWriter) -> None:
        tw.write(self._shown if tw.hasmarkup else f"{self._text}\n")


def rebuild_collection(data: Mapping[str, Any]) -> pytest.CollectReport:
    """The report of what could not be collected, or has left itself out."""
    report = pytest.CollectReport._from_json(dict(data))
    if data.get("$words"):
        report.longrepr = _Words(str(report.longrepr), data["$words"])
    return report


def rebuild(config: pytest.Config, data: Mapping[str, Any]) -> pytest.TestReport | None:
    """The report that ``data`` describes; None for one that the host has no use for."""
    hook = config.hook.pytest_report_from_serializable
    report: Any = hook(config=config, data=dict(data))
    if report is None:
        # A kind of report that the host does not know, such as a subtest's where the plugin is
        # only there: a failure must not be lost.
        return None if data.get("outcome") == "passed" else pytest.TestReport._from_json(dict(data))
    if data.get("$words"):
        report.longrepr = _Words(report.longrepr, data["$words"])
    if "_subtest.context" in data and hasattr(report, "context"):
        # Deserialising takes the repr of what is one already (pytest 9).
        kwargs = dict(data["_subtest.context"]["kwargs"])
        object.__setattr__(report.context, "kwargs", kwargs)
    if "$status" in data:
        report.environment_status = data["$status"]
    rebuilt: pytest.TestReport = report
    return rebuilt
