"""Where fixtures look for a JUnit report, which the host writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> JUnit:
    """This part as a plugin of the session."""
    return JUnit(host, request["junit_family"], others["reporter"].called)


class JUnit:
    """Passes on what ``record_testsuite_property`` and ``record_xml_attribute`` add to it."""

    def __init__(self, host: Any, family: str, called: Callable[[str], str]) -> None:
        self.family = family
        self._host = host
        self._called = called

    def pytest_configure(self, config: Any) -> None:
        """Be there; pytest takes it for a plugin of its own, which it removes at the end."""
        try:
            from _pytest.junitxml import xml_key
        except ImportError:  # it has moved: these two fixtures then do nothing, as without a report
            return
        config.stash[xml_key] = self

    def add_global_property(self, name: str, value: Any) -> None:
        """A property of the whole suite."""
        self._host.send({"kind": "suite property", "name": name, "value": str(value)})

    def node_reporter(self, nodeid: str) -> Any:
        """What is said of one test."""
        return _Case(self._host, self._called(nodeid))


class _Case:
    def __init__(self, host: Any, nodeid: str) -> None:
        self._host = host
        self._nodeid = nodeid

    def add_attribute(self, name: str, value: Any) -> None:
        self._host.send(
            {"kind": "xml attribute", "id": self._nodeid, "name": name, "value": str(value)}
        )
