"""A worker's report data -> a report that the host's plugins take for their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr
from _pytest._io import TerminalWriter

#: The name of the property, on every report and in JUnit XML, that says which environment it is of.
PROPERTY = "environment"


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


def only_pytest_has(config: pytest.Config, hook: str) -> bool:
    """Whether no plugin beside pytest's own, and this one, implements a hook."""
    plugins = [call.plugin for call in getattr(config.hook, hook).get_hookimpls()]
    return all(module_of(plugin).startswith(_PYTEST_OR_OURS) for plugin in plugins)


def module_of(plugin: object) -> str:
    """Where a plugin is defined."""
    return getattr(plugin, "__name__", None) or type(plugin).__module__


# What a test's report says of one that has passed, if nobody had anything to add.
_PASSED: Mapping[str, Any] = {"outcome": "passed", "longrepr": None}
# What a worker says of it, if its pytest has it.
_SAID = ("when", "duration", "start", "stop")
_PYTEST_OR_OURS = ("_pytest.", "pytest_isoenv.")


class Reports:
    """Rebuilds reports of tests, of which a worker sends what does not go without saying."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def passed(self, item: pytest.Item, brief: Sequence[Any], name: str) -> list[pytest.TestReport]:
        """The reports of a test that has passed, all of them brief; ``name`` is its environment's.

        Nothing of them is shared, as in reports that pytest makes.
        """
        like: dict[str, Any] = {}
        reports = []
        for keywords, said in brief:
            if not like:
                first = pytest.TestReport(item.nodeid, item.location, {}, "passed", None, said[0])
                like = vars(first)
            report = pytest.TestReport.__new__(pytest.TestReport)
            vars(report).update(
                like,
                keywords=dict.fromkeys(keywords, 1),
                sections=[],
                user_properties=[(PROPERTY, name)],
                **dict(zip(_SAID, said, strict=False)),
            )
            reports.append(report)
        return reports

    def are_brief(self, told: Sequence[Any]) -> bool:
        """Whether all that was told of a test goes without saying."""
        return self._nobody_else_rebuilds and all(type(data) is tuple for data in told)

    @cached_property
    def _nobody_else_rebuilds(self) -> bool:
        return only_pytest_has(self._config, "pytest_report_from_serializable")

    def rebuild(self, item: pytest.Item, told: Any) -> pytest.TestReport | None:
        """The report on an item that was told of; None for one that the host cannot use."""
        here = {"nodeid": item.nodeid, "location": item.location}
        data = _by_name(told)
        if "outcome" in data:
            return _rebuilt(self._config, {**data, **here})
        data = {**_PASSED, **data, **here, "keywords": dict.fromkeys(data["keywords"], 1)}
        if self._nobody_else_rebuilds and "$status" not in data:
            return pytest.TestReport(**data)
        data.update({"$report_type": "TestReport", "sections": [], "user_properties": []})
        return _rebuilt(self._config, data)


def _by_name(told: Any) -> dict[str, Any]:
    """The data of a report, also where that is brief."""
    if isinstance(told, dict):
        return told
    keywords, said = told
    return {"keywords": keywords, **dict(zip(_SAID, said, strict=False))}


def _rebuilt(config: pytest.Config, data: dict[str, Any]) -> pytest.TestReport | None:
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
