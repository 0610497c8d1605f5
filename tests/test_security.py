"""What an environment may see, and what may not get out of a lock or an archive."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pytest_isoenv import _config, _settings, _variables
from pytest_isoenv.errors import ConfigError

VARIABLES = Path(__file__).parents[1] / "docs" / "reference" / "variables.md"

DOCS = VARIABLES.parents[1]


@pytest.mark.parametrize("page", ["security", "promises"])
def test_every_claim_of_the_documentation_has_a_test(page):
    text = (DOCS / "explanation" / f"{page}.md").read_text(encoding="utf-8")
    claims = [line for line in text.splitlines() if re.match(r"\| (?!Claim|Promise)\S", line)]
    assert claims
    for claim in claims:
        (file, name), *_ = re.findall(r"`(tests/[\w.]+)::(test_\w+)`", claim)
        code = (DOCS.parent / file).read_text(encoding="utf-8")
        assert f"def {name}(" in code


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


def test_the_documentation_lists_exactly_what_an_installer_is_told(monkeypatch):
    for name in ("UV_HTTP_RETRIES", "PIP_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    told = _settings.gather(VARIABLES.parent, offline=True).network_environ
    at_first = _settings.gather(VARIABLES.parent).first_try
    assert named(section("What an installer is told")) == told.keys() | at_first.keys()


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


@pytest.mark.parametrize("fork", ["false", "true"])
def test_an_environment_sees_what_is_passed_to_it_and_its_key_does_not_change(
    fork, pytester, run, monkeypatch
):
    for name in ("SERVICE_TOKEN", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    pytester.path.joinpath("isoenv.yaml").write_text(
        f"environments: {{base: {{fork-worker: {fork}}}}}"
    )
    pytester.makepyfile(test_it=TEST)
    outcome = run("-rA")
    outcome.assert_outcomes(passed=4)
    keys = {env["key"] for env in outcome.environments.values()}
    assert len(outcome.environments) == 4
    assert len(keys) == 1


def test_a_command_in_an_environment_sees_what_is_passed_to_it(pytester, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "x")
    monkeypatch.setenv("AWS_REGION", "y")
    pytester.path.joinpath("isoenv.yaml").write_text(
        "environments:\n"
        "  sparing: {dependencies: [lib==1.0], pass-env: [AWS_REGION], env: {MODE: test}}\n"
        "  closed: {pass-env: []}\n"
    )
    code = "import os; print(*sorted({'SERVICE_TOKEN', 'AWS_REGION', 'MODE'} & set(os.environ)))"
    isoenv = (sys.executable, "-m", "pytest_isoenv")
    result = pytester.run(*isoenv, "run", "sparing", "--", "python", "-c", code)
    result.stdout.fnmatch_lines(["AWS_REGION MODE"])
    shown = pytester.run(*isoenv, "show", "sparing")
    shown.stdout.fnmatch_lines(["*pass-env: AWS_REGION*"])
    shown = pytester.run(*isoenv, "show", "closed")
    shown.stdout.fnmatch_lines(["*pass-env: nothing*"])


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


SECRETS = ["https://me:s3cret@example.org", "https://example.org/x?token=s3cret"]


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize(
    "declared",
    [
        "index: 'URL'",
        "extra-indexes: ['corp=URL']",
        "find-links: ['URL']",
        "dependencies: ['lib @ URL']",
        "constraints: ['lib @ URL']",
        "channels: ['URL']",
        "requirements: file.txt",
        "lock: pylock.toml",
    ],
)
def test_credentials_in_what_is_declared_are_an_error(tmp_path, declared, url):
    (tmp_path / "isoenv.yaml").write_text(
        f"environments: {{x: {{{declared.replace('URL', url)}}}}}"
    )
    (tmp_path / "file.txt").write_text(f"--index-url {url}\nlib\n")
    wheel = f'wheels = [{{ url = "{url}#/{WHEEL}", {HASHES} }}]\n'
    (tmp_path / "pylock.toml").write_text(HEAD + wheel)
    with pytest.raises(ConfigError, match="has credentials in its URL") as caught:
        _config.load(tmp_path, ("uv", "conda"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("key", ["channels: ['URL']", "conda-dependencies: ['URL::gdal']"])
def test_a_token_in_the_path_of_a_channel_is_an_error(tmp_path, key):
    declared = key.replace("URL", "https://example.org/t/s3cret/channel")
    (tmp_path / "isoenv.yaml").write_text(f"environments: {{x: {{backend: conda, {declared}}}}}")
    with pytest.raises(ConfigError, match=r"/t/\*\*\*/channel.* has a token in its URL") as caught:
        _config.load(tmp_path, ("uv", "conda"))
    assert "s3cret" not in str(caught.value)


def test_the_user_of_a_repository_over_ssh_is_no_secret(tmp_path):
    url = "git+ssh://git@example.org/lib.git"
    text = f"environments: {{x: {{dependencies: ['lib @ {url}']}}}}"
    (tmp_path / "isoenv.yaml").write_text(text)
    assert _config.load(tmp_path).spec("x").requirements == (f"lib @ {url}",)


# Locks

HEAD = (
    'lock-version = "1.0"\ncreated-by = "somebody"\n[[packages]]\nname = "lib"\nversion = "1.0"\n'
)
HASHES = f'hashes = {{ sha256 = "{"0" * 64}" }}'
WHEEL = "lib-1.0-py3-none-any.whl"


def declare(root, more="", lock="locks/pylock.toml", entry=""):
    """A project whose environment has a lock with one package."""
    (root / lock).parent.mkdir(parents=True, exist_ok=True)
    (root / lock).write_text(f"{HEAD}{entry}\n")
    (root / "isoenv.yaml").write_text(f"environments: {{x: {{lock: {lock}{more}}}}}")


@pytest.fixture
def project(tmp_path):
    """A project with neighbours, and a link that leads to them."""
    root = tmp_path / "project"
    (root / "here").mkdir(parents=True)
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour" / WHEEL).write_text("")
    (root / "link").symlink_to(tmp_path / "neighbour")
    return root


PLACES = ["../../neighbour", "../link", "/nowhere", "../here/../../neighbour"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "entry",
    [
        'wheels = [{ path = "PLACE/FILE", HASHES }]',
        'wheels = [{ url = "file:///nowhere/FILE", HASHES }]',
        'archive = { path = "PLACE/lib.tar.gz", HASHES }',
        'sdist = { path = "PLACE/lib-1.0.tar.gz", HASHES }',
        'directory = { path = "PLACE" }',
        'vcs = { type = "git", path = "PLACE", commit-id = "0000" }',
    ],
    ids=lambda entry: entry.partition(" ")[0],
)
def test_a_lock_that_names_what_lies_outside_the_project_is_refused(project, place, entry):
    text = entry.replace("PLACE", place).replace("FILE", WHEEL).replace("HASHES", HASHES)
    declare(project, entry=text)
    with pytest.raises(ConfigError) as caught:
        _config.load(project)
    (problem,) = caught.value.problems
    assert problem.where == "isoenv.yaml.environments.x"
    assert "'locks/pylock.toml': lib: " in problem.what
    assert f"lies outside the project {project}; if that is meant, name the place" in problem.what


@pytest.mark.parametrize("subdirectory", ["../..", "/etc", "a/../../b"])
def test_a_subdirectory_that_leads_out_of_what_it_is_in_is_refused(project, subdirectory):
    declare(project, entry=f'directory = {{ path = "..", subdirectory = "{subdirectory}" }}')
    with pytest.raises(ConfigError, match="leads out of what it is in"):
        _config.load(project)


@pytest.mark.parametrize(
    ("more", "entry"),
    [
        ("", 'directory = { path = "../here" }'),
        ("", 'directory = { path = "../here", subdirectory = "a/b" }'),
        (", find-links: [../neighbour]", f'wheels = [{{ path = "../link/{WHEEL}", {HASHES} }}]'),
        (", local: [../neighbour]", 'directory = { path = "../../neighbour", editable = true }'),
        (
            f", dependencies: [../neighbour/{WHEEL}]",
            f'archive = {{ path = "../link/{WHEEL}", HASHES }}',
        ),
    ],
)
def test_what_the_declaration_names_itself_may_lie_anywhere(project, more, entry):
    declare(project, more, entry=entry.replace("HASHES", HASHES))
    assert _config.load(project).spec("x").lock == "locks/pylock.toml"


@pytest.mark.parametrize(
    ("file", "table"),
    [
        ("pyproject.toml", '[tool.uv.sources]\nlib = { path = "../neighbour" }'),
        ("../pyproject.toml", '[tool.uv.workspace]\nmembers = ["*"]'),
    ],
)
def test_neighbours_of_the_project_are_no_strangers(project, file, table):
    (project / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\n')
    with (project / file).open("a") as pyproject:
        pyproject.write(f"{table}\n")
    declare(project, ", project: editable", entry='directory = { path = "../../neighbour" }')
    assert _config.load(project).spec("x").lock == "locks/pylock.toml"


def test_a_lock_beside_the_declaration_is_refused_as_well(project):
    (project / "isoenv.yaml").write_text("environments: {x: {dependencies: [lib]}}")
    (project / "pylock.x.toml").write_text(f'{HEAD}directory = {{ path = "../neighbour" }}\n')
    with pytest.raises(ConfigError, match=r"pylock\.x\.toml: lib: '\.\./neighbour' lies outside"):
        _config.load(project)


def test_the_lock_of_a_mark_is_refused_before_anything_is_built(pytester, run, own_cache):
    pytester.path.joinpath("pylock.toml").write_text(f'{HEAD}directory = {{ path = ".." }}\n')
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.env(lock="pylock.toml")
        def test_it(): pass
        """
    )
    outcome = run()
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(["*'pylock.toml': lib: '..' lies outside the project*"])
    assert not (own_cache / "v1" / "environments").exists()


@pytest.mark.parametrize(
    "files",
    [
        'wheels = [{ url = "https://example.org/FILE" }]',
        'wheels = [{ url = "https://example.org/FILE", hashes = {} }]',
        'sdist = { url = "https://example.org/lib-1.0.tar.gz" }\n'
        'wheels = [{ url = "https://example.org/FILE", HASHES }]',
        'archive = { url = "https://example.org/lib.zip" }',
    ],
)
def test_a_lock_with_hashes_for_only_some_of_its_files_is_refused(project, files):
    declare(project, entry=files.replace("FILE", WHEEL).replace("HASHES", HASHES))
    with pytest.raises(ConfigError, match=r"is no lock file \(PEP 751\): .*hash"):
        _config.load(project)
