"""The plugins of this session: what can be loaded here, whose it is, and what hooks there are."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import entry_points
from typing import Any

import pytest

# What the plugin of the host is called; nobody needs it here.
_HOST_PLUGIN = ("isoenv", "pytest_isoenv.plugin")


def plugin(request: dict[str, Any], host: Any, others: dict[str, Any]) -> Plugins:
    """This part as a plugin of the session."""
    return Plugins(request, host)


class Plugins:
    """Lets pytest load what is here of what the user has named, and know hooks of what is not."""

    def __init__(self, request: dict[str, Any], host: Any) -> None:
        self._wanted = request["wanted_plugins"]
        self._hooks = request["hooks"]
        self._host = host
        # Tests see all that it names.
        self._variable = os.environ.get("PYTEST_PLUGINS")
        if self._variable is not None:
            named = [name for name in self._variable.split(",") if name]
            named = [name for name in named if name not in _HOST_PLUGIN]
            os.environ["PYTEST_PLUGINS"] = ",".join(filter(self.can_be_loaded, named))

    def can_be_loaded(self, name: str) -> bool:
        """Whether a plugin is here; if it must be and is not, pytest says so in its own words."""
        if name in self._wanted or _is_here(name):
            return True
        self._host.send({"kind": "dropped", "option": "-p " + name})
        return False

    def pytest_configure(self, config: Any) -> None:
        """Leave to the host what the host remembers between runs."""
        if self._variable is not None:
            os.environ["PYTEST_PLUGINS"] = self._variable
        for name in ("lfplugin", "nfplugin"):
            if config.pluginmanager.hasplugin(name):
                config.pluginmanager.unregister(name=name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: Any) -> None:
        """All that conftest.py files implement is known from now on."""
        _remember_hooks(session)
        self._know_hooks_of_the_host(session.config)

    def _know_hooks_of_the_host(self, config: Any) -> None:
        """A conftest.py may have them for plugins of the host only; they are no errors here."""
        specs: dict[str, Any] = {}
        for name, arguments in self._hooks:
            known = getattr(config.hook, name, None)
            if known is None or not known.has_spec():
                scope: dict[str, Any] = {}
                exec(f"def {name}({', '.join(arguments)}): pass", scope)
                specs[name] = staticmethod(pytest.hookspec(scope[name]))
        if specs:
            config.pluginmanager.add_hookspecs(type("HooksOfTheHost", (), specs))


def _is_here(plugin: str) -> bool:
    """Whether ``-p`` with this name can be obeyed."""
    for module in (plugin, "_pytest." + plugin):
        try:
            if importlib.util.find_spec(module) is not None:
                return True
        except (ImportError, ValueError, AttributeError):
            continue
    points: Any = entry_points()
    # Python 3.8 and 3.9 give a dict of groups.
    group = (
        points.select(group="pytest11") if hasattr(points, "select") else points.get("pytest11", ())
    )
    return any(point.name == plugin for point in group)


def _remember_hooks(session: Any) -> None:
    """Which conftest.py files have a say on a path: pytest works it out at each step of a test."""
    conftests = getattr(session.config.pluginmanager, "_conftest_plugins", None)
    if conftests is None:
        return
    work_out = session.gethookproxy
    known: dict[Any, tuple[int, Any]] = {}

    def gethookproxy(path: Any) -> Any:
        count, proxy = known.get(path, (-1, None))
        if count != len(conftests):  # there are more of them while tests are collected
            proxy = work_out(path)
            known[path] = len(conftests), proxy
        return proxy

    session.gethookproxy = gethookproxy


def module_of(plugin: Any) -> str:
    """Where a plugin is defined."""
    return getattr(plugin, "__name__", None) or type(plugin).__module__


def is_foreign(plugin: Any) -> bool:
    """Whether it is none of pytest's own."""
    return not module_of(plugin).startswith("_pytest.")


def only_pytest_has(hook: Any, *ours: Any) -> bool:
    """Whether no plugin beside pytest's own, and ours, implements a hook."""
    plugins = [call.plugin for call in hook.get_hookimpls() if call.plugin not in ours]
    return not any(map(is_foreign, plugins))
