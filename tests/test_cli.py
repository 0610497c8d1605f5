"""The command ``isoenv``: what it prints, how it ends, and that nobody sees a traceback."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pytest_isoenv._store import Store
from pytest_isoenv.cli import main as cli_main
from pytest_isoenv.cli import rootdir
from pytest_isoenv.cli.console import read_size, read_span
from pytest_isoenv.cli.parser import parser
from pytest_isoenv.pinned import EnvKey

# One declaration for most tests here, so that they share its environments.
YAML = """
environments:
  base: {project: none, dependencies: [lib]}
  old: {dependencies: [lib==1.0]}
  lib: {matrix: {lib: ["1.1", "2.0"]}}
  told: {extends: old, env: {WORD: "a secret"}, prepend-paths: [tools]}
  fresh: {dependencies: [lib==1.0], refresh: true}
  nowhere: {python: "3.7"}
  perhaps: {python: "3.7", missing-interpreter: skip}
"""
NAMES = ["old", "lib-1.1", "lib-2.0", "told", "fresh", "nowhere", "perhaps"]
COMMAND = [sys.executable, "-m", "pytest_isoenv"]
USAGE, INTERRUPTED = 2, 130


@dataclasses.dataclass
class Ended:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def project(tmp_path, monkeypatch):
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "isoenv.yaml").write_text(YAML)
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def isoenv(project, capfd):
    """Run the command in this process."""

    def isoenv(*args):
        capfd.readouterr()
        status = cli_main.main(args)
        ended = Ended(status, *capfd.readouterr())
        assert "Traceback" not in ended.out + ended.err
        return ended

    return isoenv


# list


def test_what_is_declared_is_listed_in_order_with_how_far_each_is(isoenv, own_cache):
    ended = isoenv("list")
    assert ended.status == 0
    rows = [line.split() for line in ended.out.splitlines()]
    assert [row[0] for row in rows] == NAMES
    version = ".".join(map(str, sys.version_info[:3]))
    assert rows[0] == ["old", "Python", version, "not", "resolved", "lib==1.0"]
    assert rows[4][3:] == ["always", "built", "lib==1.0"]
    assert rows[5] == ["nowhere", "Python", "3.7", "no", "Python", "lib"]


def test_what_is_there_is_listed_as_cached_with_what_it_resolves_to(isoenv):
    assert isoenv("build", "old").status == 0
    (row,) = isoenv("list", "old").out.splitlines()
    assert row.split()[3:] == ["cached", "lib==1.0", "->", "lib", "1.0"]
    (one,) = isoenv("list", "old", "--json").json["environments"]
    assert (one["name"], one["state"], one["resolves_to"]) == ("old", "cached", {"lib": "1.0"})
    assert Path(one["path"]).is_dir()


def test_names_alone_are_for_shells(isoenv):
    assert isoenv("list", "--names").out.split() == NAMES
    assert isoenv("list", "--names", "lib").out.split() == ["lib-1.1", "lib-2.0"]
    assert isoenv("list", "--names", "*2*", "old").out.split() == ["lib-2.0", "old"]


def test_a_project_that_declares_nothing_is_no_error_for_list(isoenv, project):
    (project / "isoenv.yaml").unlink()
    ended = isoenv("list")
    assert (ended.status, ended.out) == (0, f"no environment is declared in {project}\n")


def test_looking_downloads_no_python(isoenv, monkeypatch):
    asked = []
    fetch = "pytest_isoenv._python_downloads.Downloads.fetch"
    monkeypatch.setattr(fetch, lambda self, wanted: asked.append(wanted) or "it failed")
    assert isoenv("list", "nowhere").status == 0
    assert isoenv("doctor").status == 1
    assert asked == []
    assert isoenv("build", "nowhere").status == 1
    assert len(asked) == 1


def test_what_is_wrong_with_declarations_is_said_at_once(isoenv, project):
    (project / "isoenv.yaml").write_text("environments: {a: {pyhton: 3}, b: {groups: [x]}}")
    ended = isoenv("list")
    assert ended.status == USAGE
    first, second = ended.err.splitlines()
    assert first.startswith("ERROR: isoenv.yaml.environments.a")
    assert second.startswith("ERROR: isoenv.yaml.environments.b")


# show


def test_show_says_what_a_key_is_made_of_what_is_installed_and_who_declared_it(isoenv):
    isoenv("build", "told")
    ended = isoenv("show", "told")
    assert ended.status == 0
    assert "  base: requirements: lib; project: none\n  old: requirements: lib==1.0\n" in ended.out
    assert "  told: variables: WORD; prepend-paths: tools\n" in ended.out
    shown = isoenv("show", "told", "--json").json
    assert shown["packages"]["lib"] == "1.0"
    assert shown["key_inputs"]["package lib"].startswith("1.0 ")
    assert shown["state"] == "cached"
    assert shown["built"] <= shown["used"] + 1  # a file system's clock is coarser
    assert "a secret" not in ended.out + json.dumps(shown)


def test_show_says_what_a_matrix_adds(isoenv):
    shown = isoenv("show", "lib-2.0", "--json").json
    assert [layer["name"] for layer in shown["layers"]] == ["base", "lib", "lib-2.0"]
    assert shown["layers"][2]["fields"] == {"requirements": ["lib==2.0"]}


def test_show_says_what_has_changed_since_the_last_build(isoenv, project):
    isoenv("build", "old")
    text = YAML.replace("  old: {", "  old: {env: {A: b}, ")
    (project / "isoenv.yaml").write_text(text)
    assert "  state      not built (variable A added)\n" in isoenv("show", "old").out


# Which environments are meant


def test_an_unknown_name_is_an_error_that_lists_the_declared_ones_the_nearest_first(isoenv):
    ended = isoenv("show", "olt")
    assert ended.status == USAGE
    assert ended.err.startswith(
        "ERROR: isoenv: 'olt' is not a declared environment; declared are: old, "
    )
    assert isoenv("build", "x*").err.startswith("ERROR: isoenv: 'x*' is not a declared")


def test_one_environment_is_not_several(isoenv):
    ended = isoenv("path", "lib")
    assert ended.status == USAGE
    assert ended.err == (
        "ERROR: isoenv: 'lib' means 2 environments, and one is needed here: lib-1.1, lib-2.0\n"
    )


def test_the_host_is_no_environment(isoenv):
    assert isoenv("build", "host").status == USAGE


# build


def test_build_has_them_there_and_says_so_in_the_words_of_a_test_run(isoenv):
    isoenv("build", "lib", "told")
    ended = isoenv("build", "told", "lib", "--jobs", "2")
    version = ".".join(map(str, sys.version_info[:3]))
    assert ended.status == 0
    assert sorted(ended.out.splitlines()) == [
        f"lib-1.1: Python {version}; lib==1.1; cached",
        f"lib-2.0: Python {version}; lib==2.0; cached",
        f"told: Python {version}; lib==1.0; cached",
    ]
    assert ended.err == ""


def test_what_is_being_built_is_said_in_plain_lines_where_no_terminal_is(isoenv):
    ended = isoenv("build", "fresh")
    assert "fresh: Python" in ended.out
    assert "; ephemeral in " in ended.out
    assert ended.err == "isoenv: building fresh (lib==1.0)\n"


def test_one_that_cannot_be_had_is_an_error_and_the_others_are_built(isoenv, project):
    with (project / "isoenv.yaml").open("a") as file:
        file.write("  impossible: {dependencies: [lib==99]}\n")
    ended = isoenv("build", "nowhere", "perhaps", "impossible", "old")
    assert ended.status == 1
    assert "old: Python" in ended.out
    assert "perhaps: skipped: no Python interpreter for '3.7' was found" in ended.out
    assert "ERROR: environment 'nowhere': no Python interpreter for '3.7' was found" in ended.err
    assert "ERROR: environment 'impossible': resolving the requirements: " in ended.err


def test_a_missing_interpreter_that_may_be_missing_is_no_failure(isoenv):
    assert isoenv("build", "perhaps").status == 0


def test_nothing_to_build_is_wrong_usage(isoenv, project):
    (project / "isoenv.yaml").unlink()
    ended = isoenv("build")
    assert (ended.status, ended.err) == (
        USAGE,
        f"ERROR: no environment is declared in {project}\n",
    )


# lock


def test_lock_writes_a_file_for_each_environment_and_says_what_changes(isoenv, project):
    said = isoenv("lock", "lib").out
    assert re.search(r"lib-1\.1: pylock\.lib-1_1\.toml written, \d+ packages\n", said)
    assert (project / "pylock.lib-2_0.toml").exists()
    assert isoenv("lock", "lib-1.1").out == "lib-1.1: pylock.lib-1_1.toml is up to date\n"


def test_lock_writes_first_what_lies_beneath(isoenv, project):
    yaml = "environments: {thin: {layers: [heavy], dependencies: [lib]}, heavy: {dependencies: %s}}"
    (project / "isoenv.yaml").write_text(yaml % "['lib<2']")
    assert isoenv("lock").out.splitlines()[0].startswith("heavy: pylock.heavy.toml written")
    (project / "isoenv.yaml").write_text(yaml % "[lib]")
    said = isoenv("lock", "--upgrade").out
    assert "heavy: pylock.heavy.toml changed: lib 1.1 -> 2.0\n" in said
    assert "thin: pylock.thin.toml changed: lib 1.1 -> 2.0\n" in said
    assert isoenv("lock", "--check").status == 0


def test_lock_check_writes_nothing_and_says_what_is_missing_or_does_not_fit(isoenv, project):
    ended = isoenv("lock", "--check", "old", "lib-2.0")
    assert (ended.status, list(project.glob("pylock*"))) == (1, [])
    assert "ERROR: old: it has no lock pylock.old.toml\n" in ended.err
    isoenv("lock", "old")
    assert isoenv("lock", "--check", "old").status == 0
    (project / "isoenv.yaml").write_text(YAML.replace("[lib==1.0]", "[lib==1.1]"))
    ended = isoenv("lock", "--check", "old")
    assert ended.status == 1
    assert "no longer fits: requirement lib==1.0 removed, requirement lib==1.1 added" in ended.err


def test_lock_upgrades_on_request_only(isoenv, project):
    (project / "isoenv.yaml").write_text(YAML)
    isoenv("lock", "told")
    lock = project / "pylock.told.toml"
    (project / "isoenv.yaml").write_text(YAML.replace("extends: old", "dependencies: [lib]"))
    assert isoenv("lock", "told").out == "told: pylock.told.toml is up to date\n"
    said = isoenv("lock", "told", "--upgrade", "Lib").out
    assert said == "told: pylock.told.toml changed: lib 1.0 -> 2.0\n"
    ended = isoenv("lock", "told", "--upgrade", "libb")
    assert ended.status == 1
    assert "ERROR: --upgrade libb: no package of that name is in what was locked\n" in ended.err
    assert 'version = "2.0"' in lock.read_text()


def test_only_declared_environments_have_locks(isoenv, project):
    (project / "isoenv.yaml").write_text(
        f"{YAML}  geo: {{backend: conda, conda-dependencies: [gdal]}}\n"
    )
    ended = isoenv("lock", "geo")
    assert (ended.status, "'geo' has packages of conda" in ended.err) == (USAGE, True)
    ended = isoenv("lock", "lib==1.0")
    assert ended.status == USAGE
    assert "only declared environments have locks" in ended.err


def test_one_that_cannot_be_locked_is_an_error_and_the_others_are_locked(isoenv, project):
    yaml = YAML.replace('{python: "3.7"}', "{dependencies: [lib>=99]}")
    (project / "isoenv.yaml").write_text(yaml)
    ended = isoenv("lock", "nowhere", "old")
    assert ended.status == 1
    assert "ERROR: environment 'nowhere': resolving the requirements" in ended.err
    assert (project / "pylock.old.toml").exists()


def test_a_requirement_is_an_environment_on_top_of_the_base(isoenv):
    ended = isoenv("path", "lib==1.0")
    assert Path(ended.out.strip(), "pyvenv.cfg").is_file()


# run, path, python


def test_run_gives_a_command_what_a_test_gets_and_passes_its_exit_code_on(isoenv, project):
    tool = project / "tools" / "tell"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "tool says $WORD"\nexec python -c "$@"\n')
    tool.chmod(0o755)
    ended = isoenv(
        "run", "told", "--", "tell", "import sys, lib; print(lib.__version__); sys.exit(7)"
    )
    assert (ended.status, ended.out) == (7, "tool says a secret\n1.0\n")


def test_run_needs_a_command_and_one_name(isoenv):
    ended = isoenv("run", "old")
    assert ended.status == USAGE
    assert ended.err == "ERROR: isoenv run: there is no command; isoenv run NAME -- COMMAND\n"
    assert isoenv("run", "old", "lib", "--", "true").status == USAGE


def test_run_says_that_a_command_is_not_there_as_a_shell_does(isoenv, project):
    ended = isoenv("run", "old", "--", "no-such-command")
    assert ended.status == 127
    # Before it, that the environment is built, where it is.
    said = "ERROR: 'no-such-command' is not there, neither in 'old' nor on PATH\n"
    assert ended.err.endswith(said)
    (project / "data").write_text("")
    assert isoenv("run", "old", "--", "./data").status == 126


def test_a_throw_away_environment_is_there_while_its_command_runs(isoenv, shared_caches):
    ended = isoenv("run", "fresh", "--", "python", "-c", "import sys; print(sys.prefix)")
    assert "runs" in ended.out
    assert not Path(ended.out.strip()).exists()
    ended = isoenv("path", "fresh")
    assert ended.status == USAGE
    assert "is thrown away after each use" in ended.err


def test_path_and_python_are_for_scripts(isoenv):
    path, python = isoenv("path", "old").out.strip(), isoenv("python", "old").out.strip()
    assert Path(python).is_relative_to(path)
    told = subprocess.check_output([python, "-c", "import sys; print(sys.prefix)"], text=True)
    assert told.strip() == path


@pytest.fixture
def started(project):
    """Start the command in a process of its own, with no terminal."""
    running = []

    def started(*args, **options):
        popen = subprocess.Popen(
            [*COMMAND, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        running.append(popen)
        return popen

    yield started
    for popen in running:
        popen.kill()
        popen.communicate()


CATCHER = """
import signal, sys, time
def caught(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(5)
signal.signal(signal.%s, caught)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_is_the_commands_to_handle(started, name):
    popen = started("run", "old", "--", "python", "-c", CATCHER % name)
    assert popen.stdout.readline() == "ready\n"
    popen.send_signal(getattr(signal, name))
    assert popen.stdout.readline() == f"{name}\n"
    assert popen.wait() == 5


def test_a_command_that_dies_of_a_signal_takes_us_with_it(started):
    popen = started("run", "old", "--", "sh", "-c", "kill -TERM $$")
    assert popen.wait() == -signal.SIGTERM


# Endings


def test_ctrl_c_ends_a_build_at_once_and_with_a_line(started, own_cache):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environ = {**os.environ, "UV_DEFAULT_INDEX": url, "UV_CACHE_DIR": str(own_cache / "uv")}
        popen = started("build", "old", env=environ)
        assert popen.stderr.readline() == "isoenv: building old (lib==1.0)\n"
        connection, _ = silent.accept()
        popen.send_signal(signal.SIGINT)
        out, err = popen.communicate()
        connection.close()
    assert (popen.returncode, out, err) == (INTERRUPTED, "", "ERROR: interrupted\n")


def test_a_reader_that_has_had_enough_is_no_error(started):
    popen = started("list", "--names")
    popen.stdout.close()
    assert popen.wait() in (0, 141)
    assert popen.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_output_that_cannot_be_written_is_a_failure(project):
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "list", "--names"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert ended.stderr.startswith("ERROR: [Errno ")


def test_a_lock_that_is_missing_is_an_error_where_locks_are_asked_for(isoenv):
    ended = isoenv("build", "old", "--env-locked")
    assert ended.status == USAGE
    assert "ERROR: isoenv.yaml.environments.old: it has no lock pylock.old.toml" in ended.err


def test_wrong_arguments_are_one_line(isoenv):
    for args in ([], ["bogus"], ["list", "--bogus"], ["build", "--jobs", "0"], ["show"]):
        ended = isoenv(*args)
        assert ended.status == USAGE
        assert ended.err.startswith("ERROR: isoenv")
        assert ended.err.count("\n") == 1


def test_a_bug_is_one_line_that_says_where(isoenv, monkeypatch):
    def broken(args):
        raise KeyError("oh")

    monkeypatch.setattr("pytest_isoenv.cli.project.settings_of", broken)
    ended = isoenv("list")
    assert ended.status == 3
    assert ended.err.startswith("ERROR: internal error, please report it: KeyError: 'oh' (")
    assert ended.err.count("\n") == 1


def test_a_cache_that_cannot_be_used_is_a_failure(isoenv, tmp_path):
    (tmp_path / "file").write_text("")
    ended = isoenv("list", "--env-cache-dir", str(tmp_path / "file"))
    assert ended.status == 1
    assert ended.err.startswith(f"ERROR: the cache directory {tmp_path / 'file'} cannot be used")


def test_help_and_version_are_no_errors(isoenv):
    assert isoenv("--version").out.startswith("pytest-isoenv ")
    assert "exit code" in isoenv("--help").out.lower()
    assert isoenv("prune", "--help").status == 0


# cache, prune


@pytest.fixture
def filled(own_cache):
    """A cache with two environments of other projects, the second used a long time ago."""
    store = Store(own_cache)

    def build(directory):
        (directory / "file").write_bytes(b"x" * 1000)
        python = {"python": "3.12.1", "real_path": "/no/python", "interpreter_file": [0, 0]}
        return {**python, "installed": {}, "packages": {}}

    for name in ("one", "two"):
        store.ensure(EnvKey(name), {"backend": "uv"}, f"/there\0{name}", build, lambda entry: None)
    os.utime(own_cache / "v1" / "environments" / "two" / "manifest.json", (0, 0))
    return own_cache


def test_cache_says_where_it_is_what_is_in_it_and_who_uses_it(isoenv, filled):
    ended = isoenv("cache")
    assert ended.out.splitlines()[0] == str(filled)
    assert "2 environments, 2.0 kB" in ended.out
    first, second = ended.out.splitlines()[-2:]
    assert first.split()[5:] == ["just", "now", "just", "now", "one", "in", "/there"]
    assert second.startswith("two")
    data = isoenv("cache", "--json").json
    assert [one["name"] for one in data["environments"]] == ["one", "two"]
    assert data["environments"][0]["known_as"] == [{"rootdir": "/there", "name": "one"}]


def test_prune_removes_what_was_not_used_for_long_and_says_it_before(isoenv, filled):
    there = filled / "v1" / "environments"
    assert isoenv("prune").out == "0 removed, 0 B\n"
    dry = isoenv("prune", "--older-than", "30d", "--dry-run")
    assert dry.out.startswith("would remove: environment two, two in /there (unused, last used ")
    assert sorted(path.name for path in there.iterdir()) == ["one", "two"]
    gone = isoenv("prune", "--older-than", "30d", "--json").json
    assert [(one["name"], one["busy"]) for one in gone["pruned"]] == [("two", False)]
    assert gone["size"] == 1000
    assert [path.name for path in there.iterdir()] == ["one"]
    assert isoenv("prune", "--max-size", "999B").out.endswith("1 removed, 1.0 kB\n")


def test_telling_the_cache_to_clean_itself_leaves_nothing_but_that(isoenv, filled):
    assert isoenv("prune", "--automatic", "on", "--older-than", "60d").status == 0
    assert json.loads((filled / "v1" / "upkeep.json").read_text())["age"] == 60 * 86400
    assert list((filled / "v1" / "runs").iterdir()) == []


def test_what_a_build_uses_is_noted_as_used_and_looking_is_no_use(isoenv, own_cache):
    isoenv("build", "old")
    home = own_cache / "v1"
    (resolution,) = (home / "resolutions").iterdir()
    paths = [resolution, *(home / "environments").glob("*/manifest.json")]
    assert len(paths) == 3  # the runner layer is used as well
    for path in paths:
        os.utime(path, (0, 0))
    for args in (["list"], ["show", "old"], ["cache"], ["prune"]):
        assert isoenv(*args).status == 0
    assert [path.stat().st_mtime for path in paths] == [0, 0, 0]
    isoenv("build", "old")
    assert min(path.stat().st_mtime for path in paths) > 0


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (read_size, "500MB", 500e6),
        (read_size, "1.5 GiB", 1.5 * 1024**3),
        (read_size, "12", 12),
        (read_span, "30d", 30 * 86400),
        (read_span, "12h", 12 * 3600),
        (read_span, "2", 2 * 86400),
        (read_span, "1.5 weeks", 1.5 * 7 * 86400),
    ],
)
def test_sizes_and_times_are_read_as_people_write_them(read, text, value):
    assert read(text) == value


def test_a_size_that_is_none_is_wrong_usage(isoenv):
    ended = isoenv("prune", "--max-size", "big")
    assert (ended.status, "'big' is not a size such as 500MB" in ended.err) == (USAGE, True)


# doctor


def test_doctor_finds_nothing_where_all_is_well(isoenv, project):
    (project / "isoenv.yaml").write_text("environments: {old: {dependencies: [lib==1.0]}}")
    ended = isoenv("doctor")
    assert ended.status == 0
    lines = [line.split(": ")[0] for line in ended.out.splitlines()]
    assert {"ok   declarations", "ok   Python of the host", "ok   uv", "ok   index"} <= set(lines)


def test_doctor_says_what_is_wrong_and_what_mends_it(isoenv, filled, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:word@127.0.0.1:1/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    ended = isoenv("doctor", "--json")
    assert ended.status == 1
    bad = {one["what"]: one for one in ended.json["findings"] if not one["well"]}
    assert set(bad) == {"Python 3.7", "index", "cache"}
    assert all(one["mend"] for one in bad.values())
    assert "nowhere, perhaps" in bad["Python 3.7"]["said"]
    assert "http://127.0.0.1:1/simple does not answer" in bad["index"]["said"]
    assert "is broken: its interpreter" in bad["cache"]["said"]
    assert "word" not in ended.out.replace("password", "")


def test_doctor_says_what_is_wrong_with_declarations(isoenv, project):
    (project / "isoenv.yaml").write_text("environments: 3")
    ended = isoenv("doctor")
    assert ended.status == 1
    assert "BAD  declarations: isoenv.yaml.environments: 3 is not a mapping" in ended.out
    assert "ok   uv: " in ended.out


def test_doctor_looks_at_the_backends_that_are_used(isoenv, project, monkeypatch):
    assert "conda" not in isoenv("doctor").out
    (project / "isoenv.yaml").write_text("environments: {geo: {backend: conda}}")
    monkeypatch.setattr("pytest_isoenv._backends.conda_commands._tool", lambda: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = isoenv("doctor")
    assert ended.status == 1
    assert "BAD  conda: nothing installs conda packages\n     -> " in ended.out
    assert "geo" not in ended.out


# The project


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pytest.ini": "", "a/isoenv.yaml": ""}, "."),
        ({"isoenv.yaml": "", "a/pyproject.toml": "[project]"}, "."),
        ({"pyproject.toml": "[tool.isoenv.environments.x]", "a/setup.py": ""}, "."),
        ({"pyproject.toml": "[tool.pytest.ini_options]", "a/tox.ini": "[tox]"}, "."),
        ({"pytest.ini": "", "a/setup.cfg": "[tool:pytest]"}, "a"),
        ({"a/pyproject.toml": "[project]"}, "a"),
        ({}, "a/b"),
    ],
)
def test_the_rootdir_is_the_one_that_pytest_takes_or_else_where_something_is_declared(
    tmp_path, files, expected
):
    start = tmp_path / "a" / "b"
    start.mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = rootdir.find(start)
    assert found == (tmp_path / expected).resolve()


def test_another_project_is_named_by_the_rootdir(isoenv, tmp_path):
    (tmp_path / "isoenv.yaml").write_text("environments: {elsewhere: {}}")
    assert isoenv("list", "--names", "--rootdir", "..").out == "elsewhere\n"
    assert isoenv("list", "--rootdir", "nowhere").status == USAGE


def test_what_the_conftest_declares_is_there_too(isoenv, project):
    conftest = """
        print("being imported")

        def pytest_isoenv_environments(config):
            return {"hooked": {"env": {"ROOT": config.rootpath.name}}}
    """
    (project / "conftest.py").write_text(textwrap.dedent(conftest))
    assert isoenv("list", "--names").out.split() == [*NAMES, "hooked"]
    shown = isoenv("show", "hooked", "--json").json
    assert shown["declared_in"] == "a plugin"
    (project / "conftest.py").write_text("import absent  # pytest_isoenv_environments")
    ended = isoenv("list")
    assert ended.status == USAGE
    assert "No module named 'absent'" in ended.err


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_option(isoenv, shell):
    script = isoenv("completion", shell).out
    (commands,) = [a.choices for a in parser()._actions if a.dest != "help" and a.choices]
    for name, one in commands.items():
        assert name in script
        for action in one._actions:
            for option in action.option_strings:
                assert option.lstrip("-") in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes_commands_options_and_environments(isoenv, project):
    script = isoenv("completion", "bash").out
    bin_ = Path(sys.executable).parent

    def completed(*words):
        line = " ".join(f"'{word}'" for word in words)
        asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _isoenv"
        return subprocess.run(
            ["bash", "-c", f'{script}\n{asked}; echo "${{COMPREPLY[@]}}"'],
            env={**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()

    assert completed("isoenv", "pr") == ["prune"]
    assert completed("isoenv", "prune", "--d") == ["--dry-run"]
    assert completed("isoenv", "run", "lib") == ["lib-1.1", "lib-2.0"]
    assert completed("isoenv", "completion", "z") == ["zsh"]
    assert completed("isoenv", "list", "--rootdir", "l") == []
