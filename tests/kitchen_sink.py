"""A test suite with every kind of report in it, for comparing the plugin with plain pytest.

Its files are texts, since they are run in other directories, by other Pythons (3.8 and later) and
other pytests (7.0 and later) than this one.
"""

from __future__ import annotations

from pathlib import Path

CONFTEST = """
import logging
import pytest

ORDER = []


def pytest_addoption(parser):
    parser.addoption("--flavour", default="plain", help="what the flavour fixture gives")
    parser.addoption("--many", action="append", default=[])
    parser.addini("colour", "a setting of the ini-file", default="none")


def pytest_configure(config):
    config.addinivalue_line("markers", "level(number): how deep")


def pytest_assertrepr_compare(config, op, left, right):
    if isinstance(left, Fruit) and isinstance(right, Fruit):
        return ["comparing fruit:", "   %s != %s" % (left.name, right.name)]


def pytest_runtest_setup(item):
    for mark in item.iter_markers("level"):
        if mark.args[0] > 10:
            pytest.skip("level %d is too deep" % mark.args[0])


class Fruit:
    def __init__(self, name):
        self.name = name


@pytest.fixture
def fruit():
    return Fruit


@pytest.fixture
def flavour(request):
    return request.config.getoption("--flavour"), request.config.getoption("--many")


@pytest.fixture(scope="session")
def order():
    ORDER.append("session up")
    yield ORDER
    print("session down after", ORDER)


def scoped(scope):
    @pytest.fixture(scope=scope, name="a_" + scope)
    def fixture(order):
        order.append(scope + " up")
        yield scope
        order.append(scope + " down")
        print(scope, "teardown")
        logging.getLogger("teardown").warning("%s goes", scope)

    return fixture


a_package, a_module, a_class, a_function = map(scoped, ["package", "module", "class", "function"])
"""

SCOPES = """
import pytest


@pytest.fixture(scope="module", params=["first", "second"])
def variant(request, order):
    order.append("variant " + request.param)
    yield request.param
    order.append("variant %s down" % request.param)


def test_variant_a(variant, a_function, order):
    print(order)


def test_variant_b(variant, a_module, order):
    print(order)


class TestGroup:
    value = 0

    @pytest.fixture(autouse=True)
    def prepared(self, a_class):
        self.value = 1

    def test_one(self, a_package):
        assert self.value == 1

    def test_two(self, order):
        print(order)
        assert "class up" in order

    class TestNested:
        def test_inner(self, order):
            print(order)


NO_THREE = pytest.param(3, marks=pytest.mark.skip("no three"))


@pytest.mark.parametrize("x", [1, pytest.param(2, id="two"), NO_THREE])
@pytest.mark.parametrize("y", ["a b", "\\u00e4", "[x]", "a::b"])
def test_parameters(x, y, request):
    print(request.node.name)


def test_order_at_last(order):
    print(order)
"""

OUTCOMES = """
import sys
import pytest
import unittest


def test_passes():
    print("out")
    print("err", file=sys.stderr)


def test_fails():
    print("out of a failure")
    print("err of a failure", file=sys.stderr)
    assert 1 + 1 == 3, "a message"


def test_long_difference():
    left = {"key %d" % number: list(range(number)) for number in range(30)}
    right = dict(left, **{"key 7": [], "key 29": "other", "more": None})
    assert left == right


def test_text_difference():
    assert "\\n".join(map(str, range(60))) == "\\n".join(map(str, range(1, 61)))


def test_fruit(fruit):
    assert fruit("apple") == fruit("pear")


@pytest.mark.skip(reason="never today")
def test_skip():
    raise AssertionError


@pytest.mark.skipif(sys.version_info > (3,), reason="Python 3")
def test_skipif():
    raise AssertionError


def test_skips_inside():
    print("before the skip")
    pytest.skip("found out late")


@pytest.mark.xfail(reason="a known bug")
def test_xfail():
    assert [1, 2] == [1, 3]


@pytest.mark.xfail(raises=KeyError, strict=True, reason="another error")
def test_xfail_raises_something_else():
    raise ValueError("not a KeyError")


@pytest.mark.xfail
def test_xpass():
    pass


@pytest.mark.xfail(strict=True, reason="should fail")
def test_xpass_strict():
    pass


def test_xfails_inside():
    pytest.xfail("gave up")


@pytest.mark.xfail(run=False, reason="would crash")
def test_xfail_not_run():
    raise AssertionError


def deep(number):
    if number == 0:
        local = "a local variable"
        raise LookupError("at the bottom with " + local)
    deep(number - 1)


def test_exception_chain():
    try:
        deep(3)
    except LookupError as error:
        raise RuntimeError("on top\\nof two lines") from error


def test_exception_while_handling():
    try:
        deep(1)
    except LookupError:
        {}["missing"]


def test_recursion():
    def forever(number):
        return forever(number)

    forever(0)


def test_pytest_fail():
    pytest.fail("said so", pytrace=False)


def test_raises_nothing():
    with pytest.raises(ValueError):
        pass


def test_missing_fixture(no_such_fixture):
    pass


@pytest.mark.level(11)
def test_skipped_by_the_conftest():
    raise AssertionError


@pytest.mark.level(3)
def test_marked():
    pass


class TestUnit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print("class is set up")
        cls.things = [1]

    @classmethod
    def tearDownClass(cls):
        print("class is torn down")

    def setUp(self):
        self.addCleanup(print, "cleaned up")

    def test_passes(self):
        self.assertEqual(self.things, [1])

    def test_fails(self):
        self.assertEqual({"a": 1}, {"a": 2})

    @unittest.skip("by unittest")
    def test_skipped(self):
        raise AssertionError

    @unittest.expectedFailure
    def test_expected(self):
        self.fail("as expected")

    @unittest.expectedFailure
    def test_unexpected(self):
        pass


class TestUnitSubtests(unittest.TestCase):
    def test_sub(self):
        for number in range(3):
            with self.subTest("part", number=number):
                self.assertNotEqual(number, 1)


class TestUnitBroken(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise OSError("no class today")

    def test_never(self):
        raise AssertionError


@pytest.mark.skipif(int(pytest.__version__.split(".")[0]) < 9, reason="pytest 9 brought subtests")
def test_subtests(request):
    subtests = request.getfixturevalue("subtests")
    for number in range(4):
        with subtests.test(msg="number", number=number):
            print("subtest", number)
            if number == 3:
                pytest.skip("not three")
            assert number != 2
"""

FIXTURES = """
import json
import logging
import os
import sys
import warnings
import pytest


@pytest.fixture
def breaks_in_setup():
    print("setting up")
    logging.warning("about to break")
    raise ValueError("setup is broken")


@pytest.fixture
def breaks_in_teardown():
    yield
    print("tearing down")
    raise ValueError("teardown is broken")


@pytest.fixture(scope="module")
def broken_for_the_module():
    raise ConnectionError("nobody is there")


def test_error_in_setup(breaks_in_setup):
    pass


def test_error_in_teardown(breaks_in_teardown):
    print("the test itself passes")


def test_failure_and_error(breaks_in_teardown):
    assert False


def test_broken_module_a(broken_for_the_module):
    pass


def test_broken_module_b(broken_for_the_module):
    pass


def test_logging():
    logging.getLogger("a.b").warning("a warning: %d", 7)
    logging.getLogger("a.b").info("an info")
    logging.getLogger("a.b").debug("a detail")
    assert 0


def test_warnings():
    warnings.warn("old", DeprecationWarning)
    warnings.warn("of its own", type("OwnWarning", (UserWarning,), {}))


@pytest.mark.filterwarnings("error:as an error")
def test_warning_as_error():
    warnings.warn("as an error")


def test_properties(record_property, record_testsuite_property, record_xml_attribute):
    record_property("answer", 42)
    record_property("text", "forty-two")
    record_testsuite_property("suite", "kitchen")


def test_tmp_path(tmp_path, tmp_path_factory, tmpdir):
    (tmp_path / "file").write_text("x")
    assert tmp_path.name == "test_tmp_path0"
    assert tmp_path_factory.mktemp("other").name == "other0"
    assert str(tmpdir) == str(tmp_path)


def test_monkeypatch(monkeypatch):
    monkeypatch.setenv("KITCHEN", "sink")
    monkeypatch.setattr(os, "sep", "|")
    assert os.sep == "|"


def test_monkeypatch_is_undone():
    assert "KITCHEN" not in os.environ
    assert os.sep == "/"


def test_capsys(capsys):
    print("caught")
    assert capsys.readouterr().out == "caught\\n"
    print("left")


def test_capfd(capfd):
    os.system("echo from a process")
    assert capfd.readouterr().out == "from a process\\n"


def test_output_of_a_process():
    sys.stdout.write("text ")
    sys.stdout.flush()
    os.system("echo process; echo process error >&2")
    sys.stdout.buffer.write(b"bytes \\xe2\\x82\\xac\\n")
    assert 0


def test_caplog(caplog):
    with caplog.at_level(logging.DEBUG, "kitchen"):
        logging.getLogger("kitchen").debug("seen")
    assert caplog.messages == ["seen"]
    assert caplog.record_tuples == [("kitchen", logging.INFO, "seen")]


def test_cache(cache):
    cache.set("kitchen/value", {"a": [1]})
    assert cache.get("kitchen/value", None) == {"a": [1]}
    assert cache.get("kitchen/other", "default") == "default"


def test_options(flavour, request):
    print(flavour, request.config.getini("colour"))


def test_surroundings(request):
    config = request.config
    started_in = config.invocation_params.dir
    print(os.getcwd() == str(started_in), config.rootpath == started_in)
    print(config.inipath, config.getoption("verbose"), config.getoption("tbstyle"))
    print(os.environ["PYTEST_CURRENT_TEST"])
    print(sys.stdin.__class__.__name__, sys.argv[1:3])
    print([path for path in sys.path if os.path.basename(path) == "suite"] != [])
    print(config.getoption("capture"), config.pluginmanager.hasplugin("doctest"))


def test_stdin():
    input("anybody there?")


def test_unprintable():
    class Nasty:
        def __repr__(self):
            raise RuntimeError("no repr")

    assert Nasty() == "\\ud800 \\x00 \\x1b[31m"


def test_locals():
    number, text, things = 1, "x" * 300, list(range(100))
    raise Exception


def test_wrong_arguments(tmp_path):
    open(tmp_path / "absent")


@pytest.mark.usefixtures("breaks_in_setup", "a_module")
def test_uses():
    pass
"""

DOCTESTS = '''
"""
>>> 1 + 1
2
>>> print("two")
three
"""

def documented():
    """
    >>> documented()
    4
    >>> [] [0]
    Traceback (most recent call last):
    IndexError: list index out of range
    """
    return 4
'''

UNCOLLECTABLE = "import absent_module\n\ndef test_never(): pass\n"

SKIPPED_MODULE = "import pytest\npytest.skip('the whole module', allow_module_level=True)\n"

FILES = {
    "conftest.py": CONFTEST,
    "suite/test_scopes.py": SCOPES,
    "suite/test_outcomes.py": OUTCOMES,
    "suite/test_fixtures.py": FIXTURES,
    "suite/documented.py": DOCTESTS,
}


def write(directory: Path, files: dict[str, str] | None = None) -> None:
    """Put the suite, or another one, into a directory."""
    for name, text in (FILES if files is None else files).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
