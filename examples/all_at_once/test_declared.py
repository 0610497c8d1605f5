"""Each test names an environment of isoenv.yaml; those without a mark share the default."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version

import pytest


def has(package):
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


class TestInTheDefault:
    def test_the_base_is_there(self):
        assert version("attrs").startswith("25.")

    def test_its_variables_are_set(self):
        assert os.environ["TZ"] == "UTC"

    def test_nothing_of_the_others_is(self):
        assert not any(map(has, ["pydantic", "python-dateutil", "house-style"]))


@pytest.mark.env("old-attrs")
def test_a_pin_overrides_that_of_the_base():
    assert version("attrs") == "22.2.0"


@pytest.mark.env("frozen")
def test_versions_are_those_of_the_lock():
    assert (version("python-dateutil"), version("six")) == ("2.8.2", "1.16.0")
    assert not has("attrs")


@pytest.mark.env("house")
def test_a_local_wheel_comes_without_its_dependencies():
    import house_style

    assert house_style.GREETING == "hello from the wheel"
    assert requires("house-style") == ["pydantic"]
    assert not has("pydantic")


@pytest.mark.env("house")
def test_the_tools_of_the_house_are_on_the_path():
    shown = subprocess.run(["house-linter"], stdout=subprocess.PIPE, check=True).stdout
    assert shown == b"no complaints in UTC\n"


@pytest.mark.env("thin")
def test_what_lies_beneath_is_seen_and_not_installed_again():
    import attr
    import pydantic

    assert attr.__file__.startswith(sys.prefix)
    assert pydantic.VERSION.startswith("2.")
    assert not pydantic.__file__.startswith(sys.prefix)


@pytest.mark.env("dates")
def test_once_for_each_of_the_matrix():
    from dateutil.tz import gettz

    assert gettz() == gettz(os.environ["TZ"])


@pytest.mark.env("dates-new")
def test_once_for_each_that_begins_so():
    assert version("python-dateutil") >= "2.9"
