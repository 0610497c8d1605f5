"""pytest's entry point: hooks only.

Every run of every user who has the plugin installed loads this module, so it imports none of its
siblings before a test, a config file or an option asks for an environment.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_isoenv._run import Run
    from pytest_isoenv.environment import Environment

_MARKER = (
    "env(*requirements_or_name, id=None, **fields): run the test in an environment of its own. "
    "A requirement such as 'requests==2.28.2' goes on top of the declared base; a bare word is "
    "the name of a declared environment. Several marks run the test once in each, id= telling "
    "them apart. Fields are those of the config: deps, python, groups, extras, project, local, "
    "lock, env, prepend_paths, refresh, backend, isolation, missing_interpreter. "
    "(pytest-isoenv)"
)
_IN_ENV = (
    "Run all unmarked tests in this environment: a declared name, a requirement on top of the "
    "base, or 'all' for every declared environment (repeatable)"
)
_FLAGS = {
    "--env-refresh": "Build every environment from scratch in a throw-away directory",
    "--env-upgrade": "Resolve requirements anew instead of using what earlier runs resolved",
    "--env-offline": "Leave the network alone: use what is in the cache, and what installers have "
    "downloaded before",
    "--env-locked": "Fail where a declared environment has no lock (pylock.NAME.toml), or one that "
    "no longer fits its declaration",
}
# Options that have a value -> what it is called, and help.
_SETTINGS = {
    "--env-jobs": (
        "N",
        "How many environments are built and run at once (default: the number of CPUs)",
    ),
    "--env-timeout": (
        "SECONDS",
        "End a test in an environment, or a collection there, that takes longer (default: never); "
        "it fails with the place where it stood, and the rest run",
    ),
    "--env-cache-dir": (
        "DIR",
        "Where environments are kept (default: pytest-isoenv in the user's cache directory)",
    ),
    "--env-report": ("FILE", "Write what each environment was and did to FILE, as JSON"),
}
_RUN = pytest.StashKey["Run"]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The plugin's options; with ``--in-env``, all others are for the environments to judge."""
    _import_as_usual(pluginmanager)
    config: Any = pluginmanager.getplugin("pytestconfig")
    if config is not None and _says_in_env(config):
        from pytest_isoenv import _host

        _host.prepare(config)
    group = parser.getgroup("isoenv", "environments for tests (pytest-isoenv)")
    group.addoption("--in-env", action="append", default=[], metavar="NAME", help=_IN_ENV)
    for name, text in _FLAGS.items():
        group.addoption(name, action="store_true", help=text)
    for name, (value, text) in _SETTINGS.items():
        group.addoption(name, metavar=value, help=text)


def _import_as_usual(pluginmanager: pytest.PytestPluginManager) -> None:
    """Keep pytest from rewriting the assertions of our modules, as it does for every plugin.

    They have none that users see; and rewriting takes time, at each start anew where bytecode
    cannot be written. If pytest no longer keeps its list there, all stays as it is.
    """
    marked = getattr(pluginmanager.rewrite_hook, "_must_rewrite", None)
    if isinstance(marked, set):
        marked.discard("pytest_isoenv")


def _says_in_env(config: pytest.Config) -> bool:
    """Whether the option is given, at a time when nobody has parsed it."""
    try:
        addopts = config.getini("addopts")
    except ValueError:  # the ini-file has not been read yet
        addopts = []
    shell = os.environ.get("PYTEST_ADDOPTS", "").split()
    args = [*config.invocation_params.args, *shell, *addopts]
    return any(str(arg).startswith("--in-env") for arg in args)


def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    """Make our hooks known once somebody implements one; pytest refuses hooks nobody specified."""
    if hasattr(plugin, "pytest_isoenv_environments") or hasattr(plugin, "pytest_isoenv_backends"):
        _know_our_hooks(manager)


def _know_our_hooks(manager: pytest.PytestPluginManager) -> None:
    from pytest_isoenv import hookspecs

    if not manager.has_plugin("isoenv-hookspecs"):
        manager.register(hookspecs, "isoenv-hookspecs")
        manager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """With ``--in-env``, what conftest.py files say is for the environments to hear.

    And settings that no plugin here knows may be known to plugins of an environment.
    """
    if early_config.known_args_namespace.in_env:
        from pytest_isoenv import _ahead, _host

        _ahead.begin(early_config)
        _host.hand_over(early_config, parser, args)
    elif _declares(early_config):
        from pytest_isoenv import _host

        _host.leave_settings(early_config)
    return (yield)


def pytest_collection_finish(session: pytest.Session) -> None:
    """If no test runs in an environment, it is the host that must warn of unknown settings."""
    run = _run(session.config)
    if run is not None and not session.config.option.in_env and not run.has_work(session.items):
        from pytest_isoenv import _host

        _host.judge_settings(session.config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; check the declarations, if the project has any."""
    config.addinivalue_line("markers", _MARKER)
    if _declares(config) or _asks(config):
        run_of(config)


def _declares(config: pytest.Config) -> bool:
    """Whether the project may declare environments: a look that costs nobody an import."""
    if (config.rootpath / "isoenv.yaml").is_file():
        return True
    try:
        return b"[tool.isoenv" in (config.rootpath / "pyproject.toml").read_bytes()
    except OSError:
        return False


def _only_distributes(config: pytest.Config) -> bool:
    """Whether pytest-xdist's workers do everything, collecting too."""
    return bool(config.getoption("dist", "no") != "no")


def _asks(config: pytest.Config) -> bool:
    says = config.option
    return any([says.env_report, says.env_jobs, says.env_timeout, says.env_locked, says.in_env])


def _names_environments(module: pytest.Module) -> bool:
    """Whether tests of the file run in environments: a look at it, before it is imported."""
    run = _run(module.config)
    if run is not None and run.selector.default:
        return True
    try:
        return b"mark.env" in module.path.read_bytes()
    except OSError:
        return False


def run_of(config: pytest.Config) -> Run:
    """This session's run, made when it is first needed."""
    if _RUN not in config.stash:
        from pytest_isoenv._run import Run

        _know_our_hooks(config.pluginmanager)
        with _in_our_words():
            config.stash[_RUN] = Run(config)
    return config.stash[_RUN]


def _run(config: pytest.Config) -> Run | None:
    """The same if something has needed it."""
    return config.stash.get(_RUN, None)


@contextlib.contextmanager
def _in_our_words(*, whatever: bool = False) -> Iterator[None]:
    """What is wrong with declarations or the cache (or ``whatever`` is) is the user's to mend."""
    from pytest_isoenv.errors import ConfigError, IsoenvError, StoreError

    try:
        yield
    except IsoenvError as error:
        if whatever or isinstance(error, (ConfigError, StoreError)):
            raise pytest.UsageError(str(error)) from error
        raise


def _has_mark(node: pytest.Item) -> bool:
    return next(node.iter_markers("env"), None) is not None


def _may_have_variants(node: pytest.Item) -> bool:
    """Whether it may run in several environments: those of its marks, or those of a default."""
    run = node.config.stash.get(_RUN, None)
    return _has_mark(node) or (run is not None and len(run.selector.default) > 1)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """With ``--in-env``, ``--fixtures`` and ``--markers`` list what the environments have."""
    option = config.option
    if not option.in_env or option.help or option.version:
        return None
    from pytest_isoenv import _listing

    if not _listing.asked(config):
        return None
    config._do_configure()
    run = run_of(config)
    with _in_our_words(whatever=True):
        return _listing.show(config, run.environments(), run.addopts)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """First of all parameters, the environment: ``test[old-case1]``."""
    if _may_have_variants(metafunc.definition):
        run = run_of(metafunc.config)
        run.get_ready()
        run.selector.parametrize(metafunc)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Variants of items that take no parameters, such as the methods of a unittest.TestCase.

    And a file that cannot be imported here is collected in the environments that it declares.
    """
    module = collector if isinstance(collector, pytest.Module) else None
    names_environments = module is not None and _names_environments(module)
    if names_environments:
        with warnings.catch_warnings():
            # It may be a mark of a plugin that the environment has: its worker knows.
            warnings.simplefilter("ignore", pytest.PytestUnknownMarkWarning)
            report = yield
    else:
        report = yield
    if report.failed and module and (names_environments or _RUN in module.config.stash):
        run_of(module.config).recover(module, report)
    items = [node for node in report.result or () if isinstance(node, pytest.Item)]
    if any(_may_have_variants(item) for item in items):
        report.result = run_of(collector.config).selector.expand(report.result)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """With ``--in-env``, environments collect; the host selects among what they found.

    What else this hook does, in pytest and in plugins, is as useful as ever: only the collecting
    itself is replaced.
    """
    if session.config.option.in_env and not _only_distributes(session.config):
        vars(session)["perform_collect"] = lambda: _collect_there(session)


def _collect_there(session: pytest.Session) -> list[pytest.Item]:
    with _in_our_words():
        return run_of(session.config).perform_collect(session)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Settle where each item runs; everything that is wrong with the marks is said at once."""
    if _RUN in config.stash or any(_has_mark(item) for item in items):
        with _in_our_words():
            run_of(config).assign(items)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run the items of environments while pytest runs the others.

    The innermost wrapper: to the others (progress, coverage) the loop is over when all is.
    """
    run = _run(session.config)
    if run is None:
        return (yield)
    if session.config.option.collectonly:
        run.let_collecting_end()
        return (yield)
    if _only_distributes(session.config):
        run.obey_signals()  # pytest-xdist's workers end what they have begun if they are told to
    with _in_our_words(), run.conduct(session):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> Any:
    """An outcome that only a plugin of the test's environment has a name for, such as a rerun."""
    return getattr(report, "environment_status", None)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is declared, and where the cache is."""
    run = _run(config)
    return run.header() if run is not None else []


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """The same, where it was only the tests that said they want environments."""
    run = _run(config)
    if run is None or run.announced or config.get_verbosity() < 0:
        return []
    return run.header()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each environment."""
    run = _run(terminalreporter.config)
    if run is not None:
        run.summarize(terminalreporter)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report for machines; a worker of pytest-xdist hands in its share of it.

    And puts everything away, while it can: if there is nobody left to tell that the session is
    over, as after Ctrl-C, it comes no further.
    """
    run = _run(session.config)
    if run is None:
        return
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["isoenv"] = run.accounts
        run.close()
    else:
        run.write_report()
        # Plugins there may have failed the session for reasons of their own, not only for tests.
        session.exitstatus = session.exitstatus or run.exit_code


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Workers of pytest-xdist on this machine build a throw-away environment once for all."""
    config = node.config
    if node.gateway.spec.popen and (_RUN in config.stash or config.option.env_refresh):
        with _in_our_words(whatever=True):
            run_of(config).share(node.workerinput)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take in what a worker of pytest-xdist did in environments."""
    accounts = getattr(node, "workeroutput", {}).get("isoenv")
    if accounts:
        run_of(node.config).add_accounts(accounts)


@pytest.hookimpl(wrapper=True)
def pytest_unconfigure(config: pytest.Config) -> Generator[None, object, object]:
    """Leave no process and no throw-away directory.

    Also if other plugins fail, as pytest's own does that writes to a terminal which is closed.
    """
    try:
        return (yield)
    finally:
        run = _run(config)
        if run is not None:
            run.close()


@pytest.fixture(scope="session")
def isoenv(request: pytest.FixtureRequest) -> Callable[..., Environment]:
    """A factory of environments, for tests that stay on the host.

    ``isoenv("requests==2.28.2")`` takes what ``@pytest.mark.env`` takes and gives an
    ``Environment`` with ``.python``, ``.path``, ``.packages`` and ``.run([...])``.
    """

    from pytest_isoenv import _fixture

    return _fixture.factory(lambda: run_of(request.config))
