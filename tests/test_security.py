"""What an environment may see, and what may not get out of a lock or an archive."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pytest_isoenv import _config, _variables
from pytest_isoenv.errors import ConfigError

VARIABLES = Path(__file__).parents[1] / "docs" / "reference" / "variables.md"

# The host's variables


def section(heading):
    text = VARIABLES.read_text(encoding="utf-8")
    found = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.sub(r"^```.*?^```", "", found, flags=re.MULTILINE | re.DOTALL)


def named(text):
    return set(re.findall(r"`([A-Z_][A-Z0-9_*]+)`", text))


def test_the_documentation_lists_exactly_what_no_environment_sees():
    first, *_ = section("What tests in an environment see").split("\n\n`PATH` is made of")
    assert named(first) == _variables.HOST_ONLY


def test_the_documentation_lists_exactly_what_is_passed_without_being_named():
    _, listed = section("Only chosen variables").split("\nThese come without being named.")
    assert named(listed) == set(_variables.ALWAYS)


def test_the_documentation_lists_exactly_what_an_installer_sees():
    not_seen = {"UV_RESOLUTION", "PIP_PRE"}
    prefixes = set(_variables.INSTALLER_PREFIXES)
    expected = _variables.FOR_INSTALLERS | not_seen | prefixes
    assert named(section("What an installer sees")) == expected


TEST = """
import json, os, subprocess, sys
import pytest

HOST = {"SERVICE_TOKEN", "AWS_REGION", "PYTHONPATH"}

def seen():
    return sorted(HOST & set(os.environ))

@pytest.mark.env("lib==1.0", pass_env=[], env={"MODE": "test"}, id="nothing")
def test_nothing():
    assert seen() == []
    assert os.environ["MODE"] == "test"
    assert {"PATH", "HOME", "PYTEST_ISOENV_RUN", "PYTEST_CURRENT_TEST"} <= set(os.environ)
    child = "import os; print('SERVICE_TOKEN' in os.environ)"
    assert subprocess.check_output([sys.executable, "-c", child], text=True) == "False\\n"

@pytest.mark.env("lib==1.0", pass_env=["AWS_*", "PYTHON*"], env={"MODE": "test"}, id="some")
def test_some():
    assert seen() == ["AWS_REGION"]

@pytest.mark.env("lib==1.0", env={"MODE": "test"}, id="all")
def test_all():
    assert seen() == ["AWS_REGION", "SERVICE_TOKEN"]

def test_what_the_fixture_gives(isoenv):
    sparing = isoenv("lib==1.0", pass_env=["AWS_*"], env={"MODE": "test"})
    code = "import os; print(*sorted({'SERVICE_TOKEN', 'AWS_REGION', 'MODE'} & set(os.environ)))"
    told = sparing.run(["python", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "AWS_REGION MODE\\n"
"""


def test_an_environment_sees_what_is_passed_to_it_and_its_key_does_not_change(
    pytester, run, monkeypatch
):
    for name in ("SERVICE_TOKEN", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    pytester.makepyfile(test_it=TEST)
    outcome = run("-rA")
    outcome.assert_outcomes(passed=4)
    keys = {env["key"] for env in outcome.environments.values()}
    assert len(outcome.environments) == 4
    assert len(keys) == 1


def test_a_command_in_an_environment_sees_what_is_passed_to_it(pytester, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "x")
    monkeypatch.setenv("AWS_REGION", "y")
    declared = "{dependencies: [lib==1.0], pass-env: [AWS_REGION], env: {MODE: test}}"
    pytester.path.joinpath("isoenv.yaml").write_text(f"environments: {{sparing: {declared}}}")
    code = "import os; print(*sorted({'SERVICE_TOKEN', 'AWS_REGION', 'MODE'} & set(os.environ)))"
    isoenv = (sys.executable, "-m", "pytest_isoenv")
    result = pytester.run(*isoenv, "run", "sparing", "--", "python", "-c", code)
    result.stdout.fnmatch_lines(["AWS_REGION MODE"])
    shown = pytester.run(*isoenv, "show", "sparing")
    shown.stdout.fnmatch_lines(["*pass-env: AWS_REGION*"])


INHERITED = """
environments:
  base: {pass-env: [A]}
  plain: {}
  more: {pass-env: [B, A]}
  most: {extends: more, pass-env: [C]}
  alone: {base: false, pass-env: []}
  free: {base: false}
"""


def test_what_is_passed_is_inherited_as_other_lists_are(tmp_path):
    (tmp_path / "isoenv.yaml").write_text(INHERITED)
    declared = _config.load(tmp_path)
    assert {name: declared.spec(name).pass_env for name in declared.names} == {
        "plain": ("A",),
        "more": ("A", "B"),
        "most": ("A", "B", "C"),
        "alone": (),
        "free": None,
    }


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("AWS_REGION", "'AWS_REGION' is not a list of texts"),
        ("{A: b}", "is not a list of texts"),
        ("[1]", "1 is not a text"),
        ("['']", "'' is not a text"),
        ("[A B]", "'A B' is neither the name of an environment variable nor a glob"),
        ("[A=s3cret]", "'A' is given a value, which is what env: is for"),
        ("[PYTHONPATH]", "'PYTHONPATH' speaks of the host's own environment, and is never passed"),
    ],
)
def test_what_cannot_be_passed_is_an_error_before_anything_is_built(tmp_path, value, what):
    (tmp_path / "isoenv.yaml").write_text(f"environments: {{x: {{pass-env: {value}}}}}")
    with pytest.raises(ConfigError) as caught:
        _config.load(tmp_path)
    message = str(caught.value)
    assert message.startswith("isoenv: isoenv.yaml.environments.x.pass-env: ")
    assert what in message
    assert "s3cret" not in message


def test_another_tools_name_for_it_is_recognised(tmp_path):
    (tmp_path / "isoenv.yaml").write_text("environments: {x: {passenv: [A]}}")
    with pytest.raises(ConfigError, match=r"unknown key 'passenv' \(here that is 'pass-env'\)"):
        _config.load(tmp_path)
