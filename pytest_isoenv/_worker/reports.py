"""What is sent of reports, and how a report becomes of it again."""

from __future__ import annotations

import copy
import io
import operator
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # see ``main``
    from pytest_isoenv._worker import plugins

# What we add to the data of reports.
_OURS = ("$words", "$status", "$writes", "_pdbshown")
# What a brief report says, where this pytest has it; the rest goes without saying.
_SAID = ("when", "duration", "start", "stop")


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> Reports:
    """This part as a plugin of the session."""
    return Reports()


class Reports:
    """Makes data of reports: what plugins here make of them, and what they call their outcomes."""

    def __init__(self) -> None:
        self._config: Any = None
        self._statuses = _Statuses()
        self._brief: _Brief | None = None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config: Any) -> Generator[None, Any, None]:
        """All plugins are there whose names for outcomes are to be heard."""
        yield
        early_config.pluginmanager.register(self._statuses, "isoenv-statuses")

    def pytest_configure(self, config: Any) -> None:
        """Whose plugins are asked, and how the user wants things shown."""
        self._config = config

    def pytest_collection_finish(self, session: Any) -> None:
        """Every plugin is there; where none adds to what is sent of reports, that can be brief."""
        if plugins.only_pytest_has(session.config.hook.pytest_report_to_serializable):
            self._brief = _Brief()

    def data(self, report: Any) -> Any:
        """What is sent of a report that has just been made."""
        if self._brief is not None and self._brief.does_for(report):
            return self._brief.of(report)
        hook = self._config.hook.pytest_report_to_serializable
        data = hook(config=self._config, report=report)
        if data is None:
            data = {**report._to_json(), "$report_type": type(report).__name__}
        longrepr = report.longrepr
        if hasattr(longrepr, "toterminal") and not hasattr(longrepr, "reprtraceback"):
            data["$words"] = self._shown(longrepr)  # sent as text, but it is no text
        return data

    def _shown(self, longrepr: Any) -> str:
        """What the terminal would get, with colours if it has them."""
        from _pytest._io import TerminalWriter

        shown = io.StringIO()
        writer = TerminalWriter(shown)
        writer.hasmarkup = self._config.getoption("color", "no") == "yes"
        longrepr.toterminal(writer)
        return shown.getvalue()

    def last_data(self, report: Any, data: Any) -> Any:
        """The same, with what plugins have said of the report since it was logged."""
        if report is None:
            return data
        if hasattr(report, "_pdbshown"):  # the debugger has: it is not shown again
            data = {**by_name(data), "_pdbshown": True}
        status = self._statuses.of(self._config, report)
        return data if status is None else {**by_name(data), "$status": status}

    def rebuilt(self, item: Any, data: dict[str, Any]) -> Any:
        """The report on an item of which another process has sent this; None if nobody can."""
        hook = self._config.hook.pytest_report_from_serializable
        plain = {key: value for key, value in data.items() if key not in _OURS}
        if "outcome" not in data:
            plain["keywords"] = dict.fromkeys(data["keywords"], 1)
            return pytest.TestReport(
                item.nodeid, item.location, outcome="passed", longrepr=None, **plain
            )
        if isinstance(data.get("longrepr"), dict):
            plain["longrepr"] = copy.deepcopy(data["longrepr"])  # pytest would change it
        return hook(config=self._config, data=plain)


class _Statuses:
    """What plugins call outcomes that pytest has no name for, such as a rerun."""

    def __init__(self) -> None:
        self._named: dict[int, Any] = {}
        self._without_plugins: Any = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: Any) -> None:
        """Every plugin is there. Where none has a name for an outcome, nobody needs to listen."""
        if plugins.only_pytest_has(session.config.hook.pytest_report_teststatus, self):
            session.config.pluginmanager.unregister(self)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_report_teststatus(self, report: Any) -> Generator[None, Any, None]:
        outcome = yield
        self._named[id(report)] = outcome.get_result()

    def of(self, config: Any, report: Any) -> tuple[Any, ...] | None:
        """What a report is called, if pytest would call it otherwise."""
        status = self._named.pop(id(report), None) if self._named else None
        if status is None:
            return None
        if self._without_plugins is None:
            self._without_plugins = self._of_pytest(config)
        if status == self._without_plugins(report=report, config=config):
            return None
        return tuple(status)

    def _of_pytest(self, config: Any) -> Callable[..., Any]:
        name = "pytest_report_teststatus"
        others = filter(plugins.is_foreign, config.pluginmanager.get_plugins())
        caller: Callable[..., Any] = config.pluginmanager.subset_hook_caller(name, others)
        return caller


class _Brief:
    """What is sent of the report of a test that has passed, if nobody has added anything."""

    def __init__(self) -> None:
        usual = pytest.TestReport("", ("", 0, ""), {}, "passed", None, "call")
        self._usual = vars(usual).keys()
        self._said = [name for name in _SAID if name in self._usual]
        self._of = operator.itemgetter(*self._said)
        self._names: tuple[str, ...] = ()

    def does_for(self, report: Any) -> bool:
        """Whether the host knows the rest."""
        if type(report) is not pytest.TestReport:
            return False
        said = vars(report)
        return (
            said["outcome"] == "passed"
            and said["longrepr"] is None
            and not said["sections"]
            and not said["user_properties"]
            and said.keys() == self._usual
        )

    def of(self, report: Any) -> tuple[Any, ...]:
        """The data that is sent: the names of keywords, and what is said."""
        names = tuple(report.keywords)
        if names != self._names:  # else the same object, which is sent once
            self._names = names
        return self._names, self._of(vars(report))


def by_name(data: Any) -> dict[str, Any]:
    """The data of a report, also where that is brief."""
    if isinstance(data, dict):
        return data
    keywords, said = data
    return {"keywords": keywords, **dict(zip(_SAID, said))}  # noqa: B905 - new in 3.10
