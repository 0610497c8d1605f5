"""Plugins that users have, in environments and on the host, against plain pytest with them.

Each test is a row of the table in docs/reference/plugins.md. A suite runs four times: by plain
pytest in a hand-made environment, and by us in each of the ways in which people use us: with a
mark on the file, with ``--in-env`` in one environment, and in two. What tests reported, what the
terminal said of them and the exit code must be the same each time.

They need PyPI and take minutes, so they run only when asked for: ``pytest -m plugins``.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from tests import kitchen_sink, recorder
from tests.parity.compare import Told, difference, make_environment

pytestmark = [pytest.mark.network, pytest.mark.plugins]

ROOT = Path(__file__).parent.parent
PYTEST = f"pytest=={pytest.__version__}"
# The environments' requirements; few of them, for each is built twice: by hand and by the plugin.
MANY = (
    "anyio==4.16.0",
    "hypothesis==6.170.15",
    "pytest-asyncio==1.5.0",
    "pytest-benchmark==5.3.1",
    "pytest-mock==3.17.0",
    "pytest-timeout==2.4.0",
    "syrupy==7.0.2",
    "trio==0.35.0",
)
RERUN = ("pytest-rerunfailures==16.7",)
RANDOM = ("pytest-randomly==5.1.0",)
SUBTESTS = ("pytest==7.4.4", "pytest-subtests==0.13.1")
# What the second host has beside pytest-isoenv; the first has nothing.
ON_HOST = (
    "pytest-cov==7.1.0",
    "pytest-html==4.2.0",
    "pytest-randomly==5.1.0",
    "pytest-rerunfailures==16.7",
    "pytest-sugar==1.1.1",
    "pytest-timeout==2.4.0",
    "pytest-xdist==3.8.0",
    "syrupy==7.0.2",
)
ONE = "one"
TWO = "two"
# Plugins of the second host that change what is printed, or in which order.
QUIET = ("-p", "no:randomly", "-p", "no:sugar")


@pytest.fixture(scope="session")
def made(shared_caches: Path) -> Callable[..., Path]:
    """Environments as people make them by hand, shared by all processes of the session."""
    python = getattr(sys, "_base_executable", sys.executable)

    def made(name: str, *requirements: str | Path) -> Path:
        directory = shared_caches / "handmade" / name
        directory.parent.mkdir(exist_ok=True)
        with FileLock(f"{directory}.lock"):
            if not directory.with_suffix(".made").exists():
                make_environment(directory, python, *requirements)
                directory.with_suffix(".made").touch()
        return directory

    return made


@pytest.fixture(scope="session")
def bare(made: Callable[..., Path]) -> Path:
    """A host that has nothing but pytest-isoenv."""
    return made("bare", PYTEST, "-e", ROOT)


@pytest.fixture(scope="session")
def rich(made: Callable[..., Path]) -> Path:
    """A host that has many plugins."""
    return made("rich", PYTEST, *ON_HOST, "-e", ROOT)


@dataclasses.dataclass
class Ran(Told):
    """What a run told, and where."""

    directory: Path
    marked: bool = False

    def of(self, environment: str) -> Ran:
        """The part that is about one of several environments, under plain ids."""
        events = {
            kind: [
                plain
                for event in self.events[kind]
                if (plain := _unnamed(event, environment))["id"] != event["id"]
            ]
            for kind in ("items", "reports")
        }
        for item in events["items"]:
            item["names"].sort()
        return dataclasses.replace(self, events={**self.events, **events})

    @property
    def printed(self) -> list[str]:
        """What pytest says of the tests; pytest-html has its line among that."""
        return [line for line in super().printed if "Generated html report" not in line]

    @property
    def comparable(self) -> list[str]:
        """What must be the same in an environment as by plain pytest."""
        # pytest and the plugin spell the names of their classes differently.
        return [line.replace("SubTest", "Subtest") for line in self.lines]


def _unnamed(value, environment: str):
    """The same without the environment's name in ids."""
    if isinstance(value, dict):
        return {key: _unnamed(part, environment) for key, part in value.items()}
    if isinstance(value, list):
        return [_unnamed(part, environment) for part in value]
    if not isinstance(value, str):
        return value
    return value.replace(f"[{environment}]", "").replace(f"[{environment}-", "[")


class Suite:
    """A suite, an environment's requirements, and the four ways to run the one in the other."""

    def __init__(self, place: Path, plain: Path, requirements: Sequence[str]) -> None:
        self.files: dict[str, str] = {}
        self._place = place
        self._plain = plain
        self._environment = f"{{dependencies: {list(requirements)}}}"
        (place / "plugins").mkdir()
        shutil.copy(recorder.__file__, place / "plugins" / "isoenv_recorder.py")

    def __setitem__(self, name: str, text: str) -> None:
        self.files[name] = textwrap.dedent(text).lstrip()

    def plain(self, *args: str, python: Path | None = None) -> Ran:
        """By plain pytest; with the plugins of the environment, or of another."""
        return self._run("plain", self.files, python or self._plain, args)

    def marked(self, host: Path, *args: str) -> Ran:
        """With a mark at the end of each file of tests."""
        mark = '\nimport pytest\n\npytestmark = pytest.mark.env("one")\n'
        files = {
            name: text + mark if name.startswith("test_") else text
            for name, text in self.files.items()
        }
        return self._run("marked", {**files, **self._declared}, host, args)

    def in_env(self, host: Path, names: Iterable[str], *args: str) -> Ran:
        """As it is, with ``--in-env``."""
        chosen = [f"--in-env={name}" for name in names]
        return self._run("in-env", {**self.files, **self._declared}, host, [*chosen, *args])

    @property
    def _declared(self) -> dict[str, str]:
        names = "".join(f"\n  {name}: {self._environment}" for name in (ONE, TWO))
        return {"isoenv.yaml": f"environments:\n  base: {{project: none}}{names}\n"}

    def _run(self, way: str, files: dict[str, str], python: Path, args: Iterable[str]) -> Ran:
        # All ways have the same path: it stands in what they print.
        directory = self._place / "suite"
        shutil.rmtree(directory, ignore_errors=True)
        kitchen_sink.write(directory, files)
        record = self._place / "record.json"
        record.unlink(missing_ok=True)
        # Some plugins behave otherwise where these say that pytest-xdist distributes the tests.
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
        environ |= {"PYTHONPATH": str(self._place / "plugins"), "RECORD": str(record)}
        ended = subprocess.run(
            [python / "bin" / "python", "-m", "pytest", "-p", "isoenv_recorder", *args],
            cwd=directory,
            env={**environ, "PYTEST_DEBUG_TEMPROOT": str(self._place), "COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert record.exists(), ended.stdout
        events = recorder.json.loads(recorder.comparable(record.read_text()))
        events["exit"] = ended.returncode  # plugins may have had another word after the recorder
        kept = self._place / f"{way}-{len(list(self._place.iterdir()))}"
        shutil.copytree(directory, kept)
        return Ran(events, recorder.comparable(ended.stdout), kept, marked=way == "marked")


@pytest.fixture
def suite(tmp_path: Path, made: Callable[..., Path], request: pytest.FixtureRequest) -> Suite:
    """An empty suite for the environment that the test names."""
    requirements = getattr(request, "param", MANY)
    pins = requirements if requirements is SUBTESTS else (PYTEST, *requirements)
    return Suite(tmp_path, made(re.sub(r"\W", "", requirements[0]), *pins), requirements)


def in_(requirements: Sequence[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("suite", [requirements], ids=[""], indirect=True)


# Of a marked test the host says these: it has collected it, with the mark and without the plugins.
OF_THE_HOST = re.compile(r": (keywords|marks|names) ")


def same(plain: Ran, isolated: Ran, *, printed: bool = True) -> None:
    told = [plain.comparable, isolated.comparable]
    if isolated.marked:
        told = [[line for line in lines if not OF_THE_HOST.search(line)] for lines in told]
    if printed:
        told = [told[0] + plain.printed, told[1] + isolated.printed]
    assert not difference(*told), f"{difference(*told)}\n{isolated.output}"


def every_way(suite: Suite, host: Path, *args: str) -> dict[str, Ran]:
    """Run a suite in all four ways; what differs between them is an error."""
    ran = {
        "plain": suite.plain(*args),
        "marked": suite.marked(host, *args),
        "in-env": suite.in_env(host, [ONE], *args),
        "both": suite.in_env(host, [ONE, TWO], *args),
    }
    assert ran["plain"].by_test, ran["plain"].output
    same(ran["plain"], ran["marked"])
    same(ran["plain"], ran["in-env"])
    for name in (ONE, TWO):
        same(ran["plain"], ran["both"].of(name), printed=False)
    return ran


def said_by_plugins(ran: Ran, environment: str = ONE) -> list[str]:
    return ran.section(f"plugins in {environment}")


def last_line(ran: Ran) -> str:
    return ran.output.strip().splitlines()[-1].strip("= ")


# In environments


ASYNC = """
    import asyncio
    import pytest
    import pytest_asyncio

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def loop():
        yield asyncio.get_running_loop()

    @pytest.mark.asyncio(loop_scope="module")
    async def test_fixture(loop):
        assert asyncio.get_running_loop() is loop

    @pytest.mark.asyncio
    async def test_fails():
        await asyncio.sleep(0)
        assert 1 == 2

    async def test_without_a_mark(): ...
    """


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio(suite, bare, mode):
    suite["pytest.ini"] = f"[pytest]\nasyncio_mode = {mode}\n"
    suite["test_it.py"] = ASYNC
    ran = every_way(suite, bare, "--strict-markers", "--strict-config")
    assert f"{1 if mode == 'auto' else 2} failed" in last_line(ran["plain"])


BACKENDS = """
    import pytest

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        return request.param

    @pytest.mark.anyio
    async def test_it(anyio_backend):
        import sniffio

        assert sniffio.current_async_library() == "trio"
    """


def test_anyio(suite, bare):
    suite["test_it.py"] = BACKENDS
    ran = every_way(suite, bare, "-v", "-p", "no:asyncio")
    assert "1 failed, 1 passed" in last_line(ran["in-env"])


MOCKS = """
    import os

    def test_passes(mocker):
        mocker.patch("os.getcwd", return_value="elsewhere")
        assert os.getcwd() == "elsewhere"

    def test_fails(mocker):
        stub = mocker.stub(name="stub")
        stub(1, 2)
        stub.assert_called_once_with(1, 3)
    """


def test_pytest_mock(suite, bare):
    suite["test_it.py"] = MOCKS
    ran = every_way(suite, bare)
    assert "pytest introspection follows" in ran["marked"].output


SLEEPY = """
    import time
    import pytest

    def test_before(): ...

    @pytest.mark.timeout(0.3)
    def test_hangs():
        print("asleep")
        time.sleep(60)

    def test_after(): ...
    """


def test_pytest_timeout_with_signals(suite, bare):
    suite["test_it.py"] = SLEEPY
    suite["pytest.ini"] = "[pytest]\ntimeout_method = signal\n"
    ran = every_way(suite, bare)
    assert "Failed: Timeout (>0.3s) from pytest-timeout." in ran["both"].output


def test_pytest_timeout_with_a_thread_ends_one_test_where_plain_pytest_ends_the_run(suite, bare):
    suite["pytest.ini"] = "[pytest]\ntimeout_method = thread\n"
    suite["test_it.py"] = SLEEPY
    for ran in (suite.marked(bare), suite.in_env(bare, [ONE]), suite.in_env(bare, [ONE, TWO])):
        outcomes = {
            test.partition("[")[0]: [report["outcome"] for report in reports]
            for test, reports in ran.by_test.items()
        }
        assert outcomes == {
            "test_it.py::test_before": ["passed"] * 3,
            "test_it.py::test_hangs": ["failed"],
            "test_it.py::test_after": ["passed"] * 3,
        }
        assert "ran into pytest-timeout and exited with code 1 while it ran" in ran.output
        assert 'test_it.py", line 9, in test_hangs' in ran.output
        assert "asleep" in ran.output


FLAKY = """
    import pytest

    tries = []

    def test_passes(): ...

    @pytest.mark.flaky(reruns=2)
    def test_passes_at_last():
        tries.append(1)
        print("try", len(tries))
        assert len(tries) == 3

    @pytest.mark.flaky(reruns=1)
    def test_fails():
        assert 0
    """


@in_(RERUN)
@pytest.mark.parametrize("host", ["bare", "rich"])
def test_pytest_rerunfailures_tries_again_in_the_environment_only(suite, host, request):
    suite["test_it.py"] = FLAKY
    there = request.getfixturevalue(host)
    ran = every_way(suite, there, *(["-p", "no:randomly", "-p", "no:sugar"] * (host == "rich")))
    assert "test_it.py .RR.RF" in ran["marked"].output
    assert "1 failed, 2 passed, 3 rerun" in last_line(ran["in-env"])


@in_(RERUN)
def test_pytest_rerunfailures_has_its_options_from_the_command_line(suite, bare, rich):
    suite["test_it.py"] = "def test_it():\n    assert 0\n"
    plain = suite.plain("--reruns=2")
    same(plain, suite.in_env(bare, [ONE], "--reruns=2"))
    quiet = ("-p", "no:randomly", "-p", "no:sugar", "--reruns=2")
    same(plain, suite.marked(rich, *quiet))
    assert "1 failed, 2 rerun" in last_line(plain)


SHUFFLED = {
    "test_a.py": """
    import random
    import pytest

    @pytest.mark.parametrize("n", range(5))
    def test_a(n):
        print(random.random())

    def test_fails():
        assert random.random() == 2
    """,
    "test_b.py": """
    class TestB:
        def test_1(self): ...
        def test_2(self): ...
    """,
}


@in_(RANDOM)
def test_pytest_randomly_shuffles_in_the_environment_and_its_seed_is_shown(suite, bare):
    for name, text in SHUFFLED.items():
        suite[name] = text
    plain = suite.plain("--randomly-seed=5", "-rP")
    same(plain, suite.in_env(bare, [ONE], "--randomly-seed=5", "-rP"))
    both = suite.in_env(bare, [ONE, TWO], "--randomly-seed=5", "-rP")
    same(plain, both.of(TWO), printed=False)
    assert plain.by_test != sorted(plain.by_test)
    free = suite.in_env(bare, [ONE, TWO])
    seed, other = re.findall(r"^  Using --randomly-seed=(\d+)$", free.output, re.MULTILINE)
    assert seed == other
    same(free.of(ONE), suite.in_env(bare, [ONE], f"--randomly-seed={seed}"), printed=False)


@in_(RANDOM)
def test_pytest_randomly_on_both_sides_shuffles_once_with_one_seed(suite, rich):
    for name, text in SHUFFLED.items():
        suite[name] = text
    ran = every_way(suite, rich, "-p", "no:sugar", "--randomly-seed=5", "-rP")
    assert len(list(ran["plain"].by_test)) == 8


MEASURED = """
    def test_it(benchmark):
        assert benchmark.pedantic(lambda: 1, rounds=3) == 1
    """


def test_pytest_benchmark(suite, bare):
    suite["test_it.py"] = MEASURED
    ran = every_way(suite, bare)
    for told, name in (("marked", ONE), ("in-env", ONE), ("both", TWO)):
        said = "\n".join(said_by_plugins(ran[told], name))
        assert re.search(r"^-+ benchmark: 1 tests -+$", said, re.MULTILINE), ran[told].output
        assert re.search(r"^test_it( +[\d,.]+){5}", said, re.MULTILINE)
    saved = suite.in_env(bare, [ONE], "--benchmark-autosave")
    assert list((saved.directory / ".benchmarks").rglob("0001_*.json"))


PROPERTIES = """
    from hypothesis import given, settings, strategies

    @settings(print_blob=True, max_examples=50, derandomize=True)
    @given(strategies.integers())
    def test_fails(number):
        assert number < 100

    @settings(max_examples=5)
    @given(strategies.lists(strategies.integers()))
    def test_passes(numbers): ...
    """


def test_hypothesis(suite, bare, rich):
    suite["test_it.py"] = PROPERTIES
    ran = every_way(suite, bare)
    assert "n=100" in ran["marked"].output.replace("number", "n")
    assert "@reproduce_failure('6.170.15', b'" in ran["both"].output
    statistics = suite.in_env(bare, [ONE], "--hypothesis-show-statistics")
    assert "  - Stopped because settings.max_examples=5" in statistics.section(
        "Hypothesis Statistics"
    )


SNAPSHOTS = {
    "test_it.py": """
    def test_one(snapshot):
        assert [1] == snapshot

    def test_two(snapshot):
        assert [2] == snapshot
    """,
    "__snapshots__/test_it.ambr": """
    # serializer version: 1
    # name: test_gone
      3
    # ---
    # name: test_one
      list([
        1,
      ])
    # ---
    # name: test_two
      list([
        2,
      ])
    # ---
    """,
}


def snapshots(ran: Ran) -> list[str]:
    text = (ran.directory / "__snapshots__" / "test_it.ambr").read_text()
    return re.findall(r"^# name: (.*)$", text, re.MULTILINE)


def test_syrupy(suite, bare):
    for name, text in SNAPSHOTS.items():
        suite[name] = text
    ran = every_way(suite, bare)
    assert ran["plain"].events["exit"] == ran["marked"].events["exit"] == 1
    assert "2 snapshots passed. 1 snapshot unused." in said_by_plugins(ran["both"], TWO)
    for args in (["--snapshot-update"], ["--snapshot-update", "-k", "test_one"]):
        plain, isolated = suite.plain(*args), suite.in_env(bare, [ONE], *args)
        same(plain, isolated)
        assert snapshots(isolated) == snapshots(plain)
    listed = suite.in_env(bare, [ONE], "--snapshot-update", "--collect-only")
    assert snapshots(listed) == ["test_gone", "test_one", "test_two"]


def test_syrupy_on_the_host_leaves_snapshots_of_environments_alone(suite, rich):
    for name, text in SNAPSHOTS.items():
        suite[name] = text
    quiet = ("-p", "no:randomly", "-p", "no:sugar")
    ran = every_way(suite, rich, *quiet)
    assert ran["marked"].events["exit"] == 1
    updated = suite.marked(rich, *quiet, "--snapshot-update")
    assert snapshots(updated) == ["test_one", "test_two"]
    assert snapshots(suite.in_env(rich, [ONE], *quiet, "--snapshot-update")) == snapshots(updated)


PARTS = """
    import unittest

    def test_parts(subtests):
        for number in range(3):
            with subtests.test("part", number=number):
                print("part", number)
                assert number != 1

    class TestUnitSubtests(unittest.TestCase):
        def test_unit(self):
            for number in range(3):
                with self.subTest(number=number):
                    self.assertNotEqual(number, 2)
    """


def test_syrupy_under_pytest_xdist_deletes_no_snapshot(suite, rich):
    for name, text in SNAPSHOTS.items():
        suite[name] = text
    suite["test_it.py"] = SNAPSHOTS["test_it.py"].replace("[2]", "[3]")
    args = (*QUIET, "-n2", "--snapshot-update")
    for ran in (suite.marked(rich, *args), suite.in_env(rich, [ONE], *args)):
        assert snapshots(ran) == ["test_gone", "test_one", "test_two"], ran.output
        assert "    3,\n" in (ran.directory / "__snapshots__" / "test_it.ambr").read_text()


def test_syrupy_on_the_host_speaks_of_the_hosts_tests_alone(suite, rich):
    for name, text in SNAPSHOTS.items():
        suite[name] = text
    suite["host.py"] = "def test_here(snapshot):\n    assert [4] == snapshot\n"
    suite["__snapshots__/host.ambr"] = """
    # serializer version: 1
    # name: test_here
      list([
        4,
      ])
    # ---
    """
    ran = suite.marked(rich, *QUIET, "--snapshot-update", "host.py", "test_it.py")
    assert "1 snapshot passed" in ran.output
    assert snapshots(ran) == ["test_one", "test_two"]
    assert "test_here" in (ran.directory / "__snapshots__" / "host.ambr").read_text()


@in_(SUBTESTS)
def test_pytest_subtests_with_an_old_pytest(suite, bare):
    suite["test_it.py"] = PARTS
    ran = every_way(suite, bare)
    assert "test_it.py ,u," in ran["marked"].output
    assert last_line(ran["in-env"]) == last_line(ran["plain"])
    assert "2 subtests passed" in last_line(ran["plain"])


# On the host


@in_(RERUN)
def test_pytest_html(suite, rich):
    suite["test_it.py"] = FLAKY
    suite["conftest.py"] = """
    import pytest

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        report.description = "described there"
        return report

    def pytest_html_results_table_header(cells):
        cells.insert(2, "<th>Description</th>")

    def pytest_html_results_table_row(report, cells):
        cells.insert(2, f"<td>{report.description}</td>")
    """
    args = (*QUIET, "--html=report.html", "--self-contained-html")
    plain, marked = suite.plain(*args, python=rich), suite.marked(rich, *args)
    same(plain, marked)
    both = suite.in_env(rich, [ONE, TWO], *args)

    def rows(ran: Ran) -> list[str]:
        text = (ran.directory / "report.html").read_text()
        return re.findall(r"col-result&#34;&gt;(\w+)&lt;", text)

    assert rows(marked) == rows(plain)
    assert sorted(rows(both)) == sorted(rows(plain) * 2)
    assert "described there" in (marked.directory / "report.html").read_text()


@in_(RERUN)
def test_junit_xml(suite, rich):
    suite["test_it.py"] = FLAKY
    args = (*QUIET, "--junitxml=report.xml")

    def cases(ran: Ran) -> list[tuple[str | None, list[str]]]:
        tree = ElementTree.parse(ran.directory / "report.xml")
        for properties in list(tree.iter("properties")):
            properties.clear()
        return [
            (case.get("name"), [part.tag for part in case if part.tag != "properties"])
            for case in tree.iter("testcase")
        ]

    plain = cases(suite.plain(*args, python=rich))
    assert cases(suite.marked(rich, *args)) == plain
    assert cases(suite.in_env(rich, [ONE], *args)) == plain
    both = cases(suite.in_env(rich, [ONE, TWO], *args))
    assert sorted((str(name).partition("[")[0], parts) for name, parts in both) == sorted(plain * 2)


@in_(RERUN)
def test_pytest_sugar(suite, rich):
    suite["test_it.py"] = FLAKY
    args = ("-p", "no:randomly", "--force-sugar")
    plain, marked = suite.plain(*args, python=rich), suite.marked(rich, *args)
    same(plain, marked)
    for ran in (plain, marked, suite.in_env(rich, [ONE], *args)):
        lines = [re.sub("\x1b\\[[0-9;]*m", "", line).strip() for line in ran.output.splitlines()]
        counts = lines[lines.index("2 passed") :]
        assert (counts[1], counts[-1]) == ("1 failed", "3 rerun")


@in_(RERUN)
def test_options_of_plugins_that_only_the_host_has_are_named_once(suite, rich):
    suite["test_it.py"] = FLAKY
    args = ("-p", "no:sugar", "--timeout=60", "--randomly-seed=5")
    for ran in (suite.marked(rich, *args), suite.in_env(rich, [ONE], *args)):
        assert ran.output.count("--timeout was not passed on: no plugin there knows it") == 1
        assert ran.output.count("--randomly-seed was not passed on") == 1
        assert "1 failed, 2 passed, 3 rerun" in last_line(ran)


# Both

#: What shows each plugin in an environment: requirements, files, options.
THERE: dict[str, tuple[Sequence[str], dict[str, str], Sequence[str]]] = {
    "pytest-asyncio": (MANY, {"test_it.py": ASYNC}, ()),
    "anyio": (MANY, {"test_it.py": BACKENDS}, ("-p", "no:asyncio")),
    "pytest-mock": (MANY, {"test_it.py": MOCKS}, ()),
    "pytest-timeout": (MANY, {"test_it.py": SLEEPY}, ()),
    "pytest-rerunfailures": (RERUN, {"test_it.py": FLAKY}, ()),
    "pytest-randomly": (RANDOM, SHUFFLED, ("--randomly-seed=5",)),
    "pytest-benchmark": (MANY, {"test_it.py": MEASURED}, ()),
    "hypothesis": (MANY, {"test_it.py": PROPERTIES}, ()),
    "syrupy": (MANY, SNAPSHOTS, ()),
    "pytest-subtests": (SUBTESTS, {"test_it.py": PARTS}, ()),
}
#: What puts each plugin of the host to work.
HERE = {
    "pytest-html": ("--html=report.html", "--self-contained-html"),
    "junitxml": ("--junitxml=report.xml",),
    "pytest-sugar": ("--force-sugar",),
    "pytest-cov": ("--cov=.",),
    "pytest-xdist": ("-n2",),
    "pytest-timeout": ("--timeout=60",),
}


#: Exit codes that differ from plain pytest's, as the table's notes say.
NOTED = {("syrupy", "pytest-xdist"): 0}


def outcomes(ran: Ran) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    tests = {
        test: [(report["when"], report["outcome"]) for report in reports]
        for test, reports in sorted(ran.by_test.items())
    }
    return ran.events["exit"], tests


@pytest.mark.parametrize("here", HERE)
@pytest.mark.parametrize(
    ("there", "suite"),
    [(name, requirements) for name, (requirements, _, _) in THERE.items()],
    ids=THERE,
    indirect=["suite"],
)
def test_a_plugin_there_with_one_here(suite, rich, there, here):
    _, files, args = THERE[there]
    for name, text in files.items():
        suite[name] = text
    code, tests = outcomes(suite.plain(*args))
    code = NOTED.get((there, here), code)
    quiet = [f"-pno:{name}" for name in ("randomly", "sugar") if name not in there + here]
    for ran in (
        suite.marked(rich, *quiet, *HERE[here], *args),
        suite.in_env(rich, [ONE], *quiet, *HERE[here], *args),
    ):
        assert outcomes(ran) == (code, tests), ran.output
