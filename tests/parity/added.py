"""A module with every kind of report, to be added to suites that pass.

Written for every Python from 3.8 on and every pytest from 7.0 on, in whatever configuration the
suite around it has: warnings may be errors there, markers strict, xfail_strict set.
"""

NAME = "test_isoenv_added.py"
CRASH = "test_it_crashes"

MODULE = '''
"""Every kind of report."""

import os
import signal
import sys
import unittest
import warnings

import pytest


@pytest.fixture
def noisy(record_property):
    print("out of the set-up")
    print("err of the set-up", file=sys.stderr)
    record_property("colour", "green")
    yield 3
    print("out of the teardown")


@pytest.fixture
def broken():
    raise LookupError("no such fixture value")


@pytest.fixture
def broken_late():
    yield
    raise LookupError("not at the end either")


def test_it_passes(noisy, tmp_path):
    assert noisy == 3


def test_it_fails(noisy):
    expected = {"a": [1, 2, 3], "b": "x" * 30}
    assert expected == {"a": [1, 2, 4], "b": "x" * 29 + "y", "c": noisy}


def test_it_fails_deeper():
    def inner(number):
        return 1 // number

    try:
        inner(0)
    except ZeroDivisionError as error:
        raise ValueError("nested") from error


def test_its_setup_fails(broken):
    pass


def test_its_teardown_fails(broken_late):
    print("before the end")


def test_it_fails_and_its_teardown_fails(broken_late):
    assert not "fine"


def test_it_is_skipped_inside():
    pytest.skip("said inside")


@pytest.mark.skip(reason="said by a mark")
def test_it_is_skipped():
    pass


@pytest.mark.skipif("sys.version_info >= (3,)", reason="said by a condition")
def test_it_is_skipped_by_a_condition():
    pass


@pytest.mark.xfail(reason="known to fail", raises=AssertionError)
def test_it_fails_as_expected():
    assert 0


@pytest.mark.xfail(reason="not that", raises=KeyError)
def test_it_fails_otherwise_than_expected():
    assert 0


@pytest.mark.xfail(reason="thought to fail", strict=False)
def test_it_passes_unexpectedly():
    pass


@pytest.mark.xfail(reason="must fail", strict=True)
def test_it_passes_although_it_must_fail():
    pass


@pytest.mark.xfail(reason="would hang", run=False)
def test_it_is_not_run():
    raise AssertionError


def test_it_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("a warning that is caught", UserWarning)
    warnings.warn(UserWarning("a warning that pytest sees"))


@pytest.mark.parametrize("number", [0, 1.5, "\\u00e4", b"bytes", None, (1, 2)])
def test_it_has_parameters(number):
    assert number


class TestUnit(unittest.TestCase):
    def test_it_fails(self):
        self.assertEqual([1, 2], [1, 3], "lists differ")

    @unittest.skip("unittest says so")
    def test_it_is_skipped(self):
        pass

    @unittest.expectedFailure
    def test_it_fails_as_expected(self):
        self.fail("as expected")


def test_it_crashes():
    sys.stderr.write("going down\\\\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def test_it_goes_on_after_the_crash(noisy):
    assert noisy == 4
'''
