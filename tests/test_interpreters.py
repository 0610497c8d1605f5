"""Finding Pythons by version, path and name; probing each once."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment

from pytest_isoenv import _python_places, _settings
from pytest_isoenv._files import read_json, write_json
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._process import Processes
from pytest_isoenv.errors import InterpreterNotFound
from pytest_isoenv.pinned import OLDEST

HOST = ".".join(map(str, sys.version_info[:3]))


class Counting(Processes):
    """Remembers which executables were started."""

    def __init__(self):
        super().__init__()
        self.started = []

    def run(self, args, **options):
        self.started.append(Path(args[0]))
        return super().run(args, **options)


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """One memory for this module: looking through a whole machine takes a while."""
    return tmp_path_factory.mktemp("interpreters") / "interpreters.json"


@pytest.fixture
def processes():
    return Counting()


@pytest.fixture
def pythons(tmp_path, memory, processes):
    return Interpreters(_settings.gather(tmp_path), processes, memory)


@pytest.fixture
def fresh(tmp_path, processes):
    """Interpreters that remember nothing yet."""
    return Interpreters(_settings.gather(tmp_path), processes, tmp_path / "interpreters.json")


@pytest.fixture(scope="module")
def another(memory, tmp_path_factory):
    """A version (3.x) that is on this machine beside the host's."""
    found = Interpreters(_settings.gather(tmp_path_factory.mktemp("root")), Processes(), memory)
    with pytest.raises(InterpreterNotFound) as caught:
        found.find("3.99")
    versions = {".".join(version.split(".")[:2]) for version in caught.value.found}
    others = sorted(versions - {".".join(HOST.split(".")[:2])})
    if not others:
        pytest.skip("there is no other Python on this machine")
    return others[0]


# Runs the probe as a Python whose version lies between two releases would.
BETWEEN_RELEASES = """
import platform, sys
class Info(tuple):
    releaselevel, serial = "beta", 2
platform.python_version = lambda: "3.13.1+"
sys.implementation.version = Info((3, 13, 1, "beta", 2))
sys._base_executable = "-"
exec(sys.argv[sys.argv.index("-c") + 1])
"""


def script(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_without_a_request_it_is_the_hosts_own_interpreter(pythons):
    found = pythons.find(None)
    assert found.version == HOST
    assert found.implementation == sys.implementation.name
    assert Path(found.real_path).samefile(sys.executable)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_a_version_that_the_host_has_is_the_hosts_own(pythons, digits):
    request = ".".join(HOST.split(".")[:digits])
    assert pythons.find(request) == pythons.find(None)


def test_python_before_the_version_means_the_same(pythons):
    minor = ".".join(HOST.split(".")[:2])
    assert pythons.find(f"python{minor}").version.startswith(f"{minor}.")


def test_another_version_is_found_on_this_machine(pythons, another):
    found = pythons.find(another)
    assert found.version.startswith(f"{another}.")
    assert Path(found.executable).is_file()


def test_a_minor_version_is_not_a_prefix_of_another(pythons):
    with pytest.raises(InterpreterNotFound):
        pythons.find("3.1")


def test_what_is_not_there_names_the_request_and_what_is(pythons):
    with pytest.raises(InterpreterNotFound) as caught:
        pythons.find("3.99")
    assert caught.value.request == "3.99"
    assert HOST in caught.value.found
    numbers = [tuple(map(int, v.split(".")[:2])) for v in caught.value.found]
    assert numbers == sorted(numbers)
    assert numbers[0] >= OLDEST


@pytest.mark.parametrize(
    "request_",
    ["2.7", "3.7", "<3.8", "no-such-python", ">=3.50", ">=3.x", "3.x", "3.12.99", "t"],
)
def test_what_no_worker_runs_on_or_nobody_understands_is_not_found(pythons, request_):
    with pytest.raises(InterpreterNotFound):
        pythons.find(request_)


def test_a_path_names_the_interpreter_that_lies_there(pythons):
    own = pythons.find(None)
    assert pythons.find(own.executable).real_path == own.real_path


def test_a_relative_path_starts_from_the_rootdir(fresh, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(fresh.find(None).real_path)
    monkeypatch.chdir(tmp_path.parent)
    assert fresh.find("./bin/python").version == HOST


def test_a_name_is_looked_up_on_path(tmp_path, monkeypatch, memory):
    own = Path(Interpreters(_settings.gather(tmp_path), Processes(), memory).find(None).real_path)
    (tmp_path / "my-python").symlink_to(own)
    monkeypatch.setenv("PATH", str(tmp_path))
    fresh = Interpreters(_settings.gather(tmp_path), Processes(), tmp_path / "memory.json")
    assert fresh.find("my-python").real_path == str(own)


def test_a_shim_answers_with_the_interpreter_behind_it(fresh, tmp_path):
    own = fresh.find(None)
    shim = script(tmp_path / "shim", f'#!/bin/sh\nexec "{own.executable}" "$@"\n')
    assert fresh.find(str(shim)).real_path == own.real_path


@pytest.mark.parametrize(
    "text",
    ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho not json\n", "#!/nowhere/sh\n", "no program at all"],
)
def test_what_does_not_answer_as_a_python_is_not_found(pythons, tmp_path, text):
    path = script(tmp_path / "python", text)
    with pytest.raises(InterpreterNotFound):
        pythons.find(str(path))


def test_a_directory_or_a_file_that_cannot_be_run_is_not_found(pythons, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file", tmp_path / "nothing"):
        with pytest.raises(InterpreterNotFound):
            pythons.find(str(path))


def test_an_interpreter_is_asked_once_and_never_again_while_its_file_stays(
    fresh, processes, tmp_path
):
    first = fresh.find(None)
    assert len(processes.started) == 1
    assert fresh.find(None) == first
    again = Interpreters(_settings.gather(tmp_path), processes, tmp_path / "interpreters.json")
    assert again.find(None) == first
    assert len(processes.started) == 1


@pytest.mark.parametrize("field", ["size", "mtime_ns", "real_path"])
def test_an_interpreter_whose_file_has_changed_is_asked_again(fresh, processes, tmp_path, field):
    own = fresh.find(None)
    memory = tmp_path / "interpreters.json"
    known = read_json(memory)
    known[own.executable].update({field: "other", "version": "3.8.0"})
    write_json(memory, known)
    again = Interpreters(_settings.gather(tmp_path), processes, memory)
    assert again.find(None).version == HOST
    assert len(processes.started) == 2


def test_the_markers_are_those_that_the_interpreter_gives_itself(pythons):
    assert pythons.find(None).marker_environment == default_environment()


def test_the_markers_of_another_python_are_its_own(pythons, another):
    found = pythons.find(another)
    assert found.marker_environment.keys() == default_environment().keys()
    assert found.marker_environment["python_version"] == another
    assert found.marker_environment["python_full_version"] == found.version
    assert Marker(f"python_version == '{another}'").evaluate(found.marker_environment)


def test_a_build_between_two_releases_has_a_version_that_markers_can_compare(fresh, tmp_path):
    script(tmp_path / "answer.py", BETWEEN_RELEASES)
    command = f'exec "{sys.executable}" "{tmp_path / "answer.py"}" "$@"'
    shim = script(tmp_path / "shim", f"#!/bin/sh\n{command}\n")
    found = fresh.find(str(shim))
    assert found.version == "3.13.1+"
    assert found.marker_environment["python_full_version"] == "3.13.1+local"
    assert found.marker_environment["implementation_version"] == "3.13.1b2"


@pytest.mark.parametrize("lost", ["markers", "machine"])
def test_a_kept_answer_without_markers_or_of_another_system_is_asked_for_again(
    fresh, processes, tmp_path, lost
):
    own = fresh.find(None)
    memory = tmp_path / "interpreters.json"
    known = read_json(memory)
    del known[own.executable][lost]
    known[own.executable]["version"] = "3.8.0"
    write_json(memory, known)
    assert Interpreters(_settings.gather(tmp_path), processes, memory).find(None) == own
    assert len(processes.started) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{{}}", '{"EXE": 3}', '{"EXE": {}}'])
def test_a_memory_that_cannot_be_used_is_forgotten(fresh, tmp_path, text):
    own = fresh.find(None)
    (tmp_path / "broken.json").write_text(text.replace("EXE", own.executable))
    again = Interpreters(_settings.gather(tmp_path), Processes(), tmp_path / "broken.json")
    assert again.find(None) == own


def test_the_hosts_variables_do_not_change_what_an_interpreter_says(
    fresh, tmp_path, monkeypatch, pythons
):
    (tmp_path / "platform.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    again = Interpreters(_settings.gather(tmp_path), Processes(), tmp_path / "again.json")
    assert again.find(None) == pythons.find(None)


def test_a_machine_is_looked_through_once_for_all_that_a_run_asks_for(pythons, monkeypatch):
    looked = []
    executables = _python_places.executables
    look = lambda environ: looked.append(environ) or executables(environ)  # noqa: E731
    monkeypatch.setattr(_python_places, "executables", look)
    for request in ("3.98", "3.99", ">=3.99"):
        with pytest.raises(InterpreterNotFound):
            pythons.find(request)
    assert len(looked) == 1
