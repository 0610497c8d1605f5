"""Credentials of an index: they reach the installer, and are neither shown nor kept."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from pytest_isoenv import _config, _settings
from pytest_isoenv.errors import ConfigError
from tests.packages import Index, make_project, make_wheel

# Nobody else on this machine has the first two: others may be running the same tests.
SECRET, OTHER = f"s3cr3t/w0rd@'{os.getpid()}", f"0ther-s3cret-{os.getpid()}"
NAME, DECLARED = "me", "d3clared-s3cret"
ENCODED = base64.b64encode(f"{NAME}:{SECRET}".encode()).decode()
FORMS = {
    SECRET,
    quote(SECRET),
    quote(SECRET, safe=""),
    repr(SECRET)[1:-1],
    ENCODED,
    OTHER,
    DECLARED,
}
TEST = """
import pytest

@pytest.mark.env("private")
def test_it():
    import internal

@pytest.mark.env("private", "internal>=2")
def test_there_is_no_such_version(): pass
"""


class Guarded(Index):
    """An index that answers only those who say who they are.

    When it is asked it looks at who is running: ``overheard`` are the command lines of all
    processes that have one of the secrets in them.
    """

    def __init__(self, wheels):
        self.overheard = set()
        super().__init__(wheels)

    def answer(self, handler):
        self.overheard.update(filter(forms_in, command_lines()))
        if handler.headers.get("Authorization") == f"Basic {ENCODED}":
            super().answer(handler)
            return
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="internal"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    @property
    def with_credentials(self):
        return self.url.replace("//", f"//{NAME}:{quote(SECRET, safe='')}@")


def command_lines():
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has gone
            yield file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


def forms_in(text):
    """The forms of the secrets that a text has."""
    return [form for form in FORMS if form in text]


@pytest.fixture
def guarded(tmp_path):
    make_wheel(tmp_path / "internal", "internal", "1.0")
    index = Guarded(tmp_path / "internal")
    yield index
    index.close()


@pytest.fixture
def suite(pytester, guarded, own_cache, monkeypatch):
    """A suite whose environment needs the index, which it calls ``corp``."""
    monkeypatch.setenv("UV_CACHE_DIR", str(own_cache.parent / "uv"))
    declared = f"{{dependencies: [internal], extra-indexes: ['corp={guarded.url}']}}"
    pytester.path.joinpath("isoenv.yaml").write_text(f"environments: {{private: {declared}}}")
    pytester.makepyfile(test_it=TEST)


def keyring(directory, monkeypatch):
    """The command that uv asks for passwords."""
    directory.mkdir()
    command = directory / "keyring"
    answer = shlex.quote(SECRET)
    command.write_text(f'#!/bin/sh\ncase "$*" in *{NAME}) echo {answer};; *) exit 1;; esac\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")


def netrc(directory, monkeypatch):
    directory.mkdir()
    file = directory / "netrc"
    file.write_text(f"machine 127.0.0.1\nlogin {NAME}\npassword {SECRET}\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


def kept(directory):
    """The files below a directory that have a secret in them."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in files if forms_in(path.read_bytes().decode("utf-8", "replace"))]


OTHERS = ("a netrc file", "a URL in a variable", "a keyring", "links in a variable")
WAYS = ["variables", *(pytest.param(way, marks=pytest.mark.slow) for way in OTHERS)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("suite")
def test_credentials_are_used_and_neither_shown_nor_kept(
    way, pytester, run, guarded, own_cache, monkeypatch, tmp_path
):
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", NAME)
    if way == "variables":
        monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", SECRET)
    elif way == "a keyring":
        keyring(tmp_path / "bin", monkeypatch)
    elif way == "a netrc file":
        netrc(tmp_path / "home", monkeypatch)
    else:
        pytester.path.joinpath("isoenv.yaml").write_text(
            "environments: {private: {dependencies: [internal]}}"
        )
        if way == "a URL in a variable":
            monkeypatch.setenv("UV_INDEX", guarded.with_credentials)
        else:
            monkeypatch.setenv("UV_FIND_LINKS", f"{guarded.with_credentials}/internal/")
    outcome = run("-vv", "-rA")
    outcome.assert_outcomes(passed=1, errors=1)
    assert guarded.requests
    assert forms_in(outcome.stdout.str() + outcome.stderr.str()) == []
    assert kept(own_cache.parent) == []
    assert forms_in((pytester.path / "report.json").read_text()) == []
    assert guarded.overheard == set()


@pytest.mark.usefixtures("suite")
def test_without_credentials_the_next_step_says_how_to_give_them(run):
    outcome = run()
    outcome.assert_outcomes(errors=2)
    outcome.stdout.fnmatch_lines(
        ["*401 Unauthorized*", "next step: give the index its credentials: UV_INDEX_NAME_USERNAME*"]
    )


# A build backend that tells everybody what it knows.
LOUD = """
import json, os
for name, value in os.environ.items():
    print(name, value)
print(dict(os.environ), json.dumps(dict(os.environ)))
"""
# Hears of every process that ours starts.
LISTENING = """
import pathlib, sys

def hear(event, args):
    if event == "subprocess.Popen":
        with pathlib.Path("started.txt").open("a") as file:
            print(args[1], file=file)

sys.addaudithook(hear)
"""
LOUD_TEST = """
import pytest

@pytest.mark.env("good")
def test_good(): pass

@pytest.mark.env("bad")
def test_bad(): pass

def test_on_the_host(isoenv):
    isoenv("bad")

def test_by_hand():
    from pytest_isoenv import EnvManager
    with EnvManager() as manager:
        manager.environment("bad")
"""


@pytest.mark.parametrize("backend", ["uv", pytest.param("venv", marks=pytest.mark.slow)])
def test_what_a_build_prints_has_no_secrets_and_no_argument_of_a_process_has(
    backend, request, pytester, run, wheels, own_cache, monkeypatch
):
    index = Guarded(wheels)
    request.addfinalizer(index.close)
    for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, index.with_credentials)
    monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", OTHER)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{OTHER}@127.0.0.1:9")
    for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR"):
        monkeypatch.setenv(name, str(own_cache.parent / name))
    for tree, end in (("good", ""), ("bad", "raise SystemExit(1)\n")):
        directory = make_project(pytester.path / tree, tree, build_requires=["lib"])
        code = directory.joinpath("backend.py").read_text()
        directory.joinpath("backend.py").write_text(LOUD + end + code)
    declared = f"backend: {backend}, env: {{THE_TOKEN: {DECLARED}}}"
    pytester.path.joinpath("isoenv.yaml").write_text(
        f"environments: {{good: {{local: [good], {declared}}}, bad: {{local: [bad], {declared}}}}}"
    )
    pytester.makeconftest(LISTENING)
    pytester.makepyfile(test_it=LOUD_TEST)
    outcome = run("-vv", "-rA", "--showlocals", "--tb=long")
    outcome.assert_outcomes(passed=1, errors=1, failed=2)
    outcome.stdout.fnmatch_lines(["*UV_INDEX_CORP_PASSWORD [*][*][*]", "to repeat it: *"])
    assert any("lib-" in request for request in index.requests)  # what the builds need
    shown = [outcome.stdout.str(), outcome.stderr.str()]
    shown.append((pytester.path / "report.json").read_text())
    shown += [asked(pytester.path, *words) for words in QUESTIONS]
    shown.append((pytester.path / "pylock.good.toml").read_text())
    shown.append((pytester.path / "started.txt").read_text())
    assert "'venv'" in shown[-1]
    assert forms_in("\n".join(shown)) == []
    assert index.overheard == set()
    assert kept(own_cache.parent) == []


QUESTIONS = [["lock", "good"]]
QUESTIONS += [
    ["show", "good", "--json"],
    ["list", "--json"],
    ["doctor", "--json"],
    ["cache", "--json"],
]


def asked(directory, *words):
    """What ``isoenv`` says, on both streams."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest_isoenv", *words],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout
    assert "--json" not in words or json.loads(ended.stdout)
    return ended.stdout + ended.stderr


DYING = """\
import os, sys; "PYTEST_ISOENV_RUN" in os.environ and (print(dict(os.environ), file=sys.stderr, \
flush=True), os._exit(3))
"""


def test_the_last_words_of_a_worker_have_no_secrets(pytester, run, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICE_PASSWORD", SECRET)
    wheel = make_wheel(tmp_path, "dying", "1.0", modules={"dying.pth": DYING})
    pytester.makepyfile(
        f"""
        import pytest
        @pytest.mark.env({str(wheel)!r}, env={{"THE_TOKEN": {DECLARED!r}}})
        def test_it(): pass
        """
    )
    outcome = run("--tb=short")
    outcome.assert_outcomes(errors=1)
    outcome.stdout.fnmatch_lines(["*'SERVICE_PASSWORD': *[*][*][*]*"])
    assert forms_in(outcome.stdout.str()) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"environments: {{x: {{env: {DECLARED}}}}}", "environments.x.env: a str is not a mapping"),
        (f"environments: {{x: {{env: [{DECLARED}]}}}}", "a list is not a mapping"),
        (f"environments:\n  x:\n    env:\n      A: b: {DECLARED}\n", "line 4, column 11"),
        (
            f"environments: {{x: {{env: {{A: [{DECLARED}]}}}}}}",
            "the value of A is not a text: list",
        ),
    ],
)
def test_an_error_in_a_declaration_does_not_show_what_variables_are_set_to(tmp_path, text, place):
    (tmp_path / "isoenv.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        _config.load(tmp_path)
    assert place in str(caught.value)
    assert forms_in(str(caught.value)) == []


def test_what_is_declared_is_not_shown_where_objects_are_printed(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICE_PASSWORD", SECRET)
    (tmp_path / "isoenv.yaml").write_text(f"environments: {{x: {{env: {{A: {DECLARED}}}}}}}")
    declared = _config.load(tmp_path)
    printed = repr([declared, declared.spec("x"), _settings.gather(tmp_path)])
    assert forms_in(printed) == []
