"""Events of a worker -> reports of the host's session."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pytest
from _pytest.junitxml import xml_key

from pytest_isoenv._reports import PROPERTY, Reports, only_pytest_has, rebuild_collection
from pytest_isoenv._select import id_there
from pytest_isoenv._summary import Record


class Relay:
    """Tells the host's plugins what happened to the items of one environment.

    ``items`` are those that wait for their result, by their node id there.
    """

    def __init__(
        self,
        config: pytest.Config,
        record: Record,
        items: Sequence[pytest.Item],
        already_warned: Warned,
    ) -> None:
        self._config = config
        self._reports = Reports(config)
        self._already_warned = already_warned
        self._xml_attributes: list[tuple[str, str, str]] = []
        self._names = {id_there(item): item.nodeid for item in items}
        self._record = record
        self._name = record.name
        self.waiting: dict[str, pytest.Item] = {id_there(item): item for item in items}

    def test(self, event: Mapping[str, Any]) -> None:
        """All reports of a finished test, or of one try at it, logged as one block."""
        item = self.waiting.get(event["id"])
        if item is None:
            return
        if event["over"]:
            del self.waiting[event["id"]]
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        if self._only_pytest_names and self._reports.are_brief(event["reports"]):
            self._log_passed(hook, item, event)
        else:
            self._log_all(hook, item, event)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _log_passed(self, hook: Any, item: pytest.Item, event: Mapping[str, Any]) -> None:
        """A test that has passed, and of which nobody has anything else to say."""
        for report in self._reports.passed(item, event["reports"], self._name):
            self._add_xml_attributes(event["id"], report)
            if report.when == "call":
                self._record.count(item.nodeid, "passed")
            elif hook is self._config.hook and self._note is not None:
                self._note.append(report)
                self._beside_terminal(report=report)
                continue
            hook.pytest_runtest_logreport(report=report)

    def _log_all(self, hook: Any, item: pytest.Item, event: Mapping[str, Any]) -> None:
        for data in event["reports"]:
            if "$writes" in data:
                self._config.get_terminal_writer().write(data["$writes"])
                continue
            report = self._reports.rebuild(item, data)
            if report is not None:
                self._add_xml_attributes(event["id"], report)
                self._log(hook, report)

    @property
    def _note(self) -> list[Any] | None:
        """Where pytest's terminal takes note of phases that have passed, and does no more.

        None until it has done so once, or where the terminal is another's.
        """
        terminal = self._terminal
        return None if terminal is None else terminal.stats.get("")

    @cached_property
    def _terminal(self) -> pytest.TerminalReporter | None:
        found = self._config.pluginmanager.getplugin("terminalreporter")
        return found if type(found) is pytest.TerminalReporter else None

    @cached_property
    def _beside_terminal(self) -> Any:
        """The hook for reports, for everybody else."""
        manager = self._config.pluginmanager
        return manager.subset_hook_caller("pytest_runtest_logreport", [self._terminal])

    def _log(self, hook: Any, report: pytest.TestReport) -> None:
        report.user_properties = [
            *((name, value) for name, value in report.user_properties),
            (PROPERTY, self._name),
        ]
        self._record.count(report.nodeid, self._category(report))
        hook.pytest_runtest_logreport(report=report)

    def _category(self, report: pytest.TestReport) -> str:
        """What pytest counts a report among; its terminal asks all plugins, too."""
        if self._only_pytest_names and _is_usual(report):
            return "passed" if report.when == "call" else ""
        hook = self._config.hook.pytest_report_teststatus
        return str(hook(report=report, config=self._config)[0])

    @cached_property
    def _only_pytest_names(self) -> bool:
        return only_pytest_has(self._config, "pytest_report_teststatus")

    def _add_xml_attributes(self, nodeid: str, report: pytest.TestReport) -> None:
        junit = self._config.stash.get(xml_key, None)
        if junit is not None and self._xml_attributes:
            for of, name, value in self._xml_attributes:
                if of == nodeid:
                    junit.node_reporter(report).add_attribute(name, value)
            self._xml_attributes.clear()

    def collection(self, data: Mapping[str, Any]) -> None:
        """A module or class that could not be collected there: its tests end as it did."""
        report = rebuild_collection(data)
        for nodeid in [nodeid for nodeid in self.waiting if _is_below(nodeid, report.nodeid)]:
            self.settle(nodeid, report.outcome, report.longrepr)

    def collection_report(self, data: Mapping[str, Any], *, alone: bool) -> None:
        """What the environment could not collect, while it collects for the host."""
        report = rebuild_collection(data)
        if not alone:
            report.nodeid = f"{report.nodeid}[{self._name}]"
        self._config.hook.pytest_collectreport(report=report)

    def missing(self, nodeids: list[str]) -> None:
        """Tests that the environment's own collection does not have."""
        for nodeid in nodeids:
            if nodeid in self.waiting:
                self.settle(
                    nodeid,
                    "failed",
                    f"environment {self._name!r} does not collect {nodeid}: there the test does "
                    f"not exist, or is deselected, or has another id",
                )

    def all_waiting(self, outcome: str, longrepr: Any) -> None:
        """Give every test that has no result yet the same one."""
        for nodeid in list(self.waiting):
            self.settle(nodeid, outcome, longrepr)

    def settle(
        self,
        nodeid: str,
        outcome: str,
        longrepr: Any,
        when: str = "setup",
        sections: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Report a test that the environment could not run, or did not survive."""
        item = self.waiting.pop(nodeid)
        if outcome == "skipped" and isinstance(longrepr, str):
            longrepr = (str(item.path), (item.location[1] or 0) + 1, f"Skipped: {longrepr}")
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        self._log(item.ihook, _report(item, outcome, longrepr, when, sections))
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def warning(self, event: Mapping[str, Any]) -> None:
        """A warning that was recorded there, unless the host has given the same while loading."""
        if event["when"] in _LOADING and self._already_warned.of(event):
            return
        message = warnings.WarningMessage(
            message=event["message"],
            category=_category(event["module"], event["category"]),
            filename=event["filename"],
            lineno=event["lineno"],
            line=event["line"],
        )
        self._config.hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": message,
                "when": event["when"],
                "nodeid": self._names.get(event["id"], event["id"]),
                "location": event["location"],
            }
        )

    def own_warning(self, text: str) -> None:
        """A warning about the environment itself, in pytest's summary of warnings."""
        message = warnings.WarningMessage(text, pytest.PytestWarning, "pytest-isoenv", 0)
        self._config.hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": message,
                "when": "runtest",
                "nodeid": "",
                "location": None,
            }
        )

    def name_of(self, nodeid: str) -> str:
        """What the host calls a test of the environment."""
        return self._names.get(nodeid, nodeid)

    def late_teardown(self, item: pytest.Item, text: str) -> None:
        """Fixtures of earlier tests were torn down after their last test was reported."""
        text = f"fixtures of earlier tests in environment {self._name!r}, torn down late:\n{text}"
        self._log(item.ihook, _report(item, "failed", text, "teardown"))

    def suite_property(self, name: str, value: str) -> None:
        """``record_testsuite_property`` was used there."""
        report = self._config.stash.get(xml_key, None)
        if report is not None:
            report.add_global_property(name, value)

    def xml_attribute(self, nodeid: str, name: str, value: str) -> None:
        """``record_xml_attribute`` was used there, by a test whose reports follow."""
        self._xml_attributes.append((nodeid, name, value))


def _is_usual(report: pytest.TestReport) -> bool:
    """Whether a test has passed as most do: what is special is an attribute of its own."""
    special = hasattr(report, "wasxfail") or hasattr(report, "environment_status")
    return type(report) is pytest.TestReport and report.passed and not special


def _report(
    item: pytest.Item,
    outcome: Any,
    longrepr: Any,
    when: Any,
    sections: Sequence[tuple[str, str]] = (),
) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome=outcome,
        longrepr=longrepr,
        when=when,
        sections=sections,
    )


# Where the host and a worker load the same files, and so meet the same warnings.
_LOADING = ("config", "collect")


class Warned:
    """The warnings that the host recorded while it loaded plugins, conftest.py and test files."""

    def __init__(self, config: pytest.Config) -> None:
        self._seen: set[tuple[str, str, int]] = set()
        # The hook is historic: a plugin that registers now is told of all warnings so far.
        config.pluginmanager.register(self)
        config.pluginmanager.unregister(self)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, when: str) -> None:
        """Called for each warning that has been recorded."""
        if when in _LOADING:
            name = warning_message.category.__name__
            self._seen.add((name, str(warning_message.message), warning_message.lineno))

    def of(self, event: Mapping[str, Any]) -> bool:
        """Whether a worker's warning is one of these."""
        return (event["category"], event["message"], event["lineno"]) in self._seen


def _is_below(nodeid: str, collector: str) -> bool:
    return not collector or nodeid.startswith((f"{collector}::", f"{collector}/"))


def _category(module: str, name: str) -> type[Warning]:
    """The warning's class where it is one of Python's or pytest's; else one that is called so.

    The host may not have the module that defines it, and must not import it if it has.
    """
    if module in ("builtins", "pytest"):
        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type) and issubclass(found, Warning):
            return found
    return type(name, (Warning,), {"__module__": module})
