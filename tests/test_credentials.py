"""Credentials of an index: they reach the installer, and are neither shown nor kept."""

from __future__ import annotations

import base64
import os

import pytest

from tests.packages import Index, make_wheel

NAME, SECRET = "me", "s3cr3t-w0rd"
ENCODED = base64.b64encode(f"{NAME}:{SECRET}".encode()).decode()
TEST = """
import pytest

@pytest.mark.env("private")
def test_it():
    import internal

@pytest.mark.env("private", "internal>=2")
def test_there_is_no_such_version(): pass
"""


class Guarded(Index):
    """An index that answers only those who say who they are."""

    def answer(self, handler):
        if handler.headers.get("Authorization") == f"Basic {ENCODED}":
            super().answer(handler)
            return
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="internal"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()


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
    command.write_text(f"#!/bin/sh\ncase \"$*\" in *{NAME}) echo '{SECRET}';; *) exit 1;; esac\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")


def kept(directory):
    return [
        path
        for path in directory.rglob("*")
        if path.is_file() and any(s.encode() in path.read_bytes() for s in (SECRET, ENCODED))
    ]


@pytest.mark.parametrize("way", ["variables", "a URL in a variable", "a keyring"])
@pytest.mark.usefixtures("suite")
def test_credentials_are_used_and_neither_shown_nor_kept(
    way, pytester, run, guarded, own_cache, monkeypatch, tmp_path
):
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", NAME)
    if way == "variables":
        monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", SECRET)
    elif way == "a keyring":
        keyring(tmp_path / "bin", monkeypatch)
    else:
        pytester.path.joinpath("isoenv.yaml").write_text(
            "environments: {private: {dependencies: [internal]}}"
        )
        monkeypatch.setenv("UV_INDEX", guarded.url.replace("//", f"//{NAME}:{SECRET}@"))
    outcome = run("-vv", "-rA")
    outcome.assert_outcomes(passed=1, errors=1)
    assert guarded.requests
    assert SECRET not in outcome.stdout.str() + outcome.stderr.str()
    assert kept(own_cache.parent) == []
    report = pytester.path / "report.json"
    assert SECRET not in report.read_text()


@pytest.mark.usefixtures("suite")
def test_without_credentials_the_next_step_says_how_to_give_them(run):
    outcome = run()
    outcome.assert_outcomes(errors=2)
    outcome.stdout.fnmatch_lines(
        ["*401 Unauthorized*", "next step: give the index its credentials: UV_INDEX_NAME_USERNAME*"]
    )
