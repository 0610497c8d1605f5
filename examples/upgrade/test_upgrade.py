"""One version writes a file, another reads it. These tests stay on the host and hold both."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def accounts(isoenv, tmp_path):
    """Accounts stored by Werkzeug 2.2."""
    file = tmp_path / "accounts.json"
    isoenv("werkzeug==2.2.3").run(["python", "write_accounts.py", file], check=True)
    return file


def read(environment, accounts):
    command = ["python", "read_accounts.py", accounts]
    return json.loads(environment.run(command, check=True, capture_output=True).stdout)


def test_the_old_version_lets_everybody_in(isoenv, accounts):
    assert read(isoenv("werkzeug==2.2.3"), accounts) == {"ada": True, "charles": True}


def test_the_upgrade_locks_out_whoever_has_a_plain_hash(isoenv, accounts):
    logins = read(isoenv("werkzeug>=3"), accounts)
    assert logins["ada"] is True
    assert "sha256" in logins["charles"]


def test_an_environment_says_what_is_in_it(isoenv):
    old = isoenv("werkzeug==2.2.3")
    assert old.packages["werkzeug"] == "2.2.3"
    assert old.python.is_relative_to(old.path)
