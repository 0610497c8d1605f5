"""What a child of the worker does: it runs one test, and ends."""

from __future__ import annotations

import atexit
import weakref
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # see ``main``
    from pytest_isoenv._worker import forked, line, plugins, reporter

# What tells plugins of reports: the worker's are told, for what a child's plugins learn is lost.
_LOGGING = ("pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish")


class Child:
    """What the children of a session have in common, made before they are forked."""

    def __init__(self, host: Any, others: dict[str, Any]) -> None:
        self._host = host
        self._reporter: reporter.Reporter = others["reporter"]
        self._others = others

    def run(self, session: Any, line: line.Line, number: int) -> None:
        """Run a test, and end: nothing of the session is done here but what the test needs."""
        self._host.speak_through(line)
        _forget_what_ends_the_worker()
        _log_only_for_pytest(session.config.pluginmanager)
        _have_own_directory(session.config, number)
        measuring = [other for other in self._others.values() if hasattr(other, "begin_apart")]
        for other in measuring:
            other.begin_apart(number)
        try:
            index, session.testsfailed = line.next_command()
        except EOFError:
            return  # no test is left
        ended = self._run_test(session, session.items[index])
        for other in measuring:
            other.finish()
        atexit._run_exitfuncs()
        forked.flush()
        ended.update(shouldstop=session.shouldstop, shouldfail=session.shouldfail)
        self._host.send({"kind": "end", **ended})
        line.flush()

    def _run_test(self, session: Any, item: Any) -> dict[str, Any]:
        """Run the protocol, and tell what has ended more than the test."""
        ended = {"raised": None, "why": "", "returncode": None}
        try:
            try:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            except (KeyboardInterrupt, pytest.exit.Exception) as error:
                self._reporter.send_what_is_known()
                ended["raised"] = "interrupt" if isinstance(error, KeyboardInterrupt) else "exit"
                ended["why"] = getattr(error, "msg", None) or str(error)
                ended["returncode"] = getattr(error, "returncode", None)
                session._setupstate.teardown_exact(None)
        except BaseException as error:  # noqa: BLE001 - an internal error, told as such
            item.config.notify_exception(pytest.ExceptionInfo.from_current(), item.config.option)
            ended.update(raised="error", why=repr(error))
        return ended


def _forget_what_ends_the_worker() -> None:
    """What is to be done when the worker exits is the worker's; a child has what it adds."""
    atexit._clear()
    finalizers: Any = weakref.finalize
    for finalizer in list(getattr(finalizers, "_registry", ())):
        finalizer.atexit = False
    finalizers._registered_with_atexit = False


def _log_only_for_pytest(manager: Any) -> None:
    """Plugins learn of reports in the worker, once; pytest itself needs them in the child, too."""
    execute = manager._inner_hookexec

    def inner(hook: Any, methods: Any, *rest: Any) -> Any:
        if (hook if isinstance(hook, str) else hook.name) in _LOGGING:
            methods = [method for method in methods if _is_pytests_or_ours(method.plugin)]
        return execute(hook, methods, *rest)

    manager._inner_hookexec = inner


def _is_pytests_or_ours(plugin: Any) -> bool:
    return plugins.module_of(plugin).startswith(("_pytest.", "isoenv_"))


def _have_own_directory(config: Any, number: int) -> None:
    """Temporary directories of a child are apart from those of others; made when one is wanted."""
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        given = factory._given_basetemp
        below = given.with_name(f"{given.name}-{number}") if given else None
        factory._given_basetemp = below or factory.getbasetemp() / str(number)
        factory._basetemp = None
