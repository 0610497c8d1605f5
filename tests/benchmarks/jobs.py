"""The jobs: who does what, and how it is told to.

The other tools are configured for speed as their documentation says: no package of the project is
built, uv makes the environments where they can use it, environments are used again without a look
at what is installed (``tox --skip-env-install``, ``nox -R``), several at once (``tox -p``,
``nox -j``).
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.benchmarks.rounds import Contender, FailedError
from tests.benchmarks.suites import PART, TALLY, Suite, at_once, in_sequence
from tests.benchmarks.workshop import OLDER, SPARE, CannotInstallError, Workshop

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Job:
    """Something to be done, by all contenders that ``made`` yields.

    ``times`` multiplies the rounds: what takes little time has to be done more often to say
    anything.
    """

    name: str
    title: str
    made: Callable[[Kitchen], Iterator[Contender]]
    times: int = 1


class Kitchen:
    """Makes the contenders of one job."""

    def __init__(self, workshop: Workshop, job: str, tell: Tell, *, tools: bool) -> None:
        self.shop = workshop
        self._job = job
        self._tell = tell
        self._tools = tools

    def project(self, name: str, suite: Suite) -> Path:
        """A project for one contender of this job."""
        return self.shop.project(f"{self._job}-{name}", suite)

    def ours(
        self,
        name: str,
        suite: Suite,
        *,
        title: str = "pytest-isoenv",
        options: Sequence[str] = ("--in-env", "all"),
        config: str = "",
    ) -> Contender:
        """This plugin; ``config`` is added to its file."""
        cwd = self.project(name, suite)
        with (cwd / "pyproject.toml").open("a") as file:
            file.write(config)
        command = [self.shop.host(), *options]
        cache = self.shop.root / "caches" / f"{self._job}-{name}"
        shutil.rmtree(cache, ignore_errors=True)
        environ = {**self.shop.environ, "XDG_CACHE_HOME": str(cache)}
        says = f"{suite.tests * len(suite.versions)} passed"
        return Contender(name, title, command, cwd, environ, suite, kind="ours", says=says)

    def plain(self, name: str, suite: Suite, *arguments: str, title: str) -> Contender:
        """pytest of the suite's only environment, made by hand."""
        command = [self.by_hand(suite)[0], *arguments]
        return self._by_hand(name, title, command, suite)

    def by_hand(self, suite: Suite, *more: str) -> list[Path]:
        """The pytest of each environment, made by hand."""
        made = [self.shop.by_hand(suite, number, *more) for number in suite.versions]
        return [directory / "bin" / "pytest" for directory in made]

    def script(self, name: str, title: str, text: str, suite: Suite) -> Contender:
        """A shell script."""
        return self._by_hand(name, title, ["sh", "-c", text], suite)

    def _by_hand(self, name: str, title: str, command: Sequence[object], suite: Suite) -> Contender:
        cwd = self.project(name, suite)
        return Contender(name, title, command, cwd, self.shop.environ, suite, kind="plain")

    def with_plugin(
        self, name: str, title: str, plugin: str, option: str, suite: Suite
    ) -> Iterator[Contender]:
        """pytest of the suite's only environment, which has a plugin more."""
        if self._tools:
            pytest = self.by_hand(suite, plugin)[0]
            made = self._by_hand(name, title, [pytest, option], suite)
            yield dataclasses.replace(made, kind="tool")

    def tool(
        self, name: str, title: str, suite: Suite, command: str, install: str, *requirements: str
    ) -> Iterator[Contender]:
        """Another tool, if it can be had; ``install`` names its environment."""
        if not self._tools:
            return
        try:
            executable = self.shop.tool(install, *requirements)
        except CannotInstallError as error:
            self._tell(f"{title} does not install: {error}")
            return
        cwd = self.project(name, suite)
        words = [executable, *shlex.split(command)]
        yield Contender(name, title, words, cwd, self.shop.environ, suite)

    def cleared(self, contender: Contender, *names: str) -> Contender:
        """The same from scratch each time: what it keeps in its project is removed before."""

        def clear() -> None:
            for name in names:
                shutil.rmtree(contender.cwd / name, ignore_errors=True)

        return dataclasses.replace(contender, prepare=clear)


def _one(kitchen: Kitchen) -> Iterator[Contender]:
    suite = kitchen.shop.suite(2000, 1)
    yield kitchen.plain("plain", suite, title="plain pytest")
    yield kitchen.ours("ours", suite)
    yield kitchen.ours(
        "ours-default",
        suite,
        title="pytest-isoenv, the host collects, too",
        options=(),
        config='\n[tool.isoenv]\ndefault = "part-1.0"\n',
    )
    title = "pytest-xdist -n1"
    yield from kitchen.with_plugin("xdist", title, "pytest-xdist", "-n1", suite)


def _four_warm(kitchen: Kitchen) -> Iterator[Contender]:
    suite = kitchen.shop.suite(200, 4)
    pytests = [shlex.quote(str(path)) for path in kitchen.by_hand(suite)]
    yield kitchen.ours("ours", suite)
    yield kitchen.script("at-once", "plain pytests at once", at_once(pytests), suite)
    yield kitchen.script("sequence", "plain pytests in sequence", in_sequence(pytests), suite)
    for name, title, command, tool in [
        ("tox", "tox", f"run {_SKIP}", "tox"),
        ("tox-p", "tox -p", f"run-parallel --parallel-no-spinner {_SKIP}", "tox"),
        ("tox-uv-p", "tox -p, tox-uv", f"run-parallel --parallel-no-spinner {_SKIP}", "tox-uv"),
        ("nox", "nox -R, uv", "-R", "nox"),
        ("nox-j", "nox -R -j auto, uv", "-R -j auto", "nox"),
        ("hatch", "hatch, uv", "run bench:pytest", "hatch"),
    ]:
        yield from map(_with_environments, kitchen.tool(name, title, suite, command, *_TOOLS[tool]))


_SKIP = "--skip-env-install"
#: The environment that a tool is installed in, and what is installed there.
_TOOLS = {
    "tox": ("tox", "tox"),
    "tox-uv": ("tox-uv", "tox", "tox-uv"),
    "nox": ("nox", "nox[uv]"),
    "hatch": ("hatch", "hatch"),
}


def _with_environments(contender: Contender) -> Contender:
    """Before the first run, one for which nothing is skipped makes them."""
    missing = [_SKIP] if _SKIP in contender.command else []

    def make() -> None:
        if missing:
            missing.clear()
            _run_once([word for word in contender.command if word != _SKIP], contender)

    return dataclasses.replace(contender, prepare=make)


def _run_once(command: Sequence[object], contender: Contender) -> None:
    """Run a command without a look at how long it takes."""
    ended = subprocess.run(
        list(map(str, command)),
        cwd=contender.cwd,
        env={**contender.environ, TALLY: os.devnull},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ended.returncode != 0:
        raise FailedError(f"it cannot be prepared:\n{ended.stdout[-3000:]}")


def _four_cold(kitchen: Kitchen) -> Iterator[Contender]:
    suite = kitchen.shop.suite(200, 4)
    yield _primed(kitchen, kitchen.ours("ours", suite))
    first = kitchen.ours("ours-first", suite, title="pytest-isoenv, its first run on the machine")
    yield dataclasses.replace(first, prepare=lambda: _forget(first))
    by_hand = kitchen.script("at-once", "uv and pytest at once", "", suite)
    script = at_once([_uv_and_pytest(kitchen.shop, suite, number) for number in suite.versions])
    by_hand = dataclasses.replace(by_hand, command=["sh", "-c", script])
    yield kitchen.cleared(by_hand, ".environments")
    parallel = "run-parallel --parallel-no-spinner"
    for name, title, command, tool in [
        ("tox-uv-p", "tox -p, tox-uv", parallel, "tox-uv"),
        ("nox", "nox, uv", "", "nox"),
        ("nox-j", "nox -j auto, uv", "-j auto", "nox"),
    ]:
        for contender in kitchen.tool(name, title, suite, command, *_TOOLS[tool]):
            yield kitchen.cleared(contender, ".tox", ".nox")


def _uv_and_pytest(shop: Workshop, suite: Suite, number: str) -> str:
    uv, directory = shlex.quote(shop.uv), f".environments/{number}"
    wanted = " ".join(suite.requirements(number))
    return (
        f"{uv} venv -q -p {shlex.quote(str(shop.python))} {directory} && "
        f"{uv} pip install -q -p {directory}/bin/python {wanted} && {directory}/bin/pytest"
    )


def _cache_of(contender: Contender) -> Path:
    return Path(contender.environ["XDG_CACHE_HOME"])


def _forget(contender: Contender) -> None:
    shutil.rmtree(_cache_of(contender), ignore_errors=True)


def _primed(kitchen: Kitchen, contender: Contender) -> Contender:
    """It has made another project's environment on this machine before, and none of this one's."""
    other = dataclasses.replace(kitchen.shop.suite(1, 1), versions=(SPARE,))
    cwd = kitchen.project("another", other)

    def prime() -> None:
        _forget(contender)
        _run_once(contender.command, dataclasses.replace(contender, cwd=cwd))

    return dataclasses.replace(contender, prepare=prime)


def _many(kitchen: Kitchen) -> Iterator[Contender]:
    for count in (4, 12, 24):
        suite = kitchen.shop.suite(50, count)
        title = f"pytest-isoenv, {count} environments"
        yield dataclasses.replace(kitchen.ours(str(count), suite, title=title), memory=True)


def _large(kitchen: Kitchen) -> Iterator[Contender]:
    for count, name in ((50_000, ""), (5_000, "-fewer")):
        suite = kitchen.shop.suite(count, 1)
        plain = kitchen.plain(f"plain{name}", suite, title=f"plain pytest, {count:,} tests")
        yield dataclasses.replace(plain, memory=True)
        title = f"pytest-isoenv, {count:,} tests"
        ours = kitchen.ours(f"ours{name}", suite, title=title)
        yield dataclasses.replace(ours, memory=True)


# Looks up as many of the declared environments as it is told.
_LOOK_UP = """
import sys
from pytest_isoenv import EnvManager
with EnvManager() as manager:
    found = [manager.environment(name) for name in sys.argv[2:][:int(sys.argv[1])]]
print(len(found), "environments")
"""


def _hits(kitchen: Kitchen) -> Iterator[Contender]:
    suite = kitchen.shop.suite(1, 50)
    ours = kitchen.ours("ours", suite)
    python = Path(str(ours.command[0])).with_name("python")
    names = [f"{PART}-{number}" for number in suite.versions]
    for count in (50, 0):
        yield dataclasses.replace(
            ours,
            name=str(count),
            title=f"a script that looks up {count or 'none'} of 50 environments",
            command=[python, "-I", "-c", _LOOK_UP, count, *names],
            suite=None,
            says=f"{count} environments",
        )


def _unused(kitchen: Kitchen) -> Iterator[Contender]:
    hosts = {"with": kitchen.shop.host(), "without": kitchen.shop.bare_host()}
    cwd = kitchen.shop.root / "projects" / "unused"
    cwd.mkdir(parents=True, exist_ok=True)
    (cwd / "test_one.py").write_text("def test_one():\n    pass\n")
    for (how, pytest), one in itertools.product(hosts.items(), (False, True)):
        yield Contender(
            f"{how}-test" if one else how,
            f"pytest {how} the plugin, {'one test' if one else '-VV'}",
            [pytest, *([] if one else ["-VV"])],
            cwd,
            kitchen.shop.environ,
            None,
            kind="ours" if how == "with" else "plain",
            says="1 passed" if one else "pytest",
        )


def _fresh(kitchen: Kitchen) -> Iterator[Contender]:
    suite = kitchen.shop.suite(200, 1, OLDER)
    yield kitchen.plain("plain", suite, title="plain pytest")
    yield kitchen.ours(
        "ours",
        suite,
        title="pytest-isoenv, isolation: test",
        options=("--in-env", "fresh"),
        config='fresh = {extends = "part-1.0", isolation = "test"}\n',
    )
    yield from kitchen.with_plugin("forked", "pytest-forked", "pytest-forked", "--forked", suite)


JOBS = [
    Job("one", "2,000 trivial tests in one warm environment", _one),
    Job("four-warm", "4 warm environments x 200 tests", _four_warm),
    Job("four-cold", "4 cold environments x 200 tests", _four_cold),
    Job("many", "24 warm environments x 50 tests", _many),
    Job("large", "50,000 trivial tests in one warm environment", _large),
    Job("hits", "50 cached environments are looked up", _hits, times=2),
    Job("unused", "the plugin installed and not used", _unused, times=10),
    Job("fresh", f"200 tests, a fresh process for each, pytest {OLDER}", _fresh),
]
