"""What a request for a Python means, where Pythons are looked for, and when uv may download one.

The machine is made up: its Pythons are files whose answers are already in the memory.
"""

from __future__ import annotations

import dataclasses
import platform
import sys
from pathlib import Path

import pytest

from pytest_isoenv import _settings
from pytest_isoenv._files import read_json, write_json
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._process import Finished, Processes
from pytest_isoenv.errors import InterpreterNotFound

HOST = ".".join(map(str, sys.version_info[:3]))
MINOR = ".".join(map(str, sys.version_info[:2]))


class FakeUv(Processes):
    """Answers in uv's place, and lets everything else run."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.answers = []

    def run(self, args, **options):
        command = [str(arg) for arg in args]
        if Path(command[0]).stem != "uv":
            return super().run(args, **options)
        self.asked.append((command, options["environ"]))
        status, text = self.answers.pop(0)
        return Finished("uv", status, text if status == 0 else "", text if status else "")


@dataclasses.dataclass
class Machine:
    """A made up machine: its Pythons lie below ``root``."""

    root: Path
    uv: FakeUv

    def has(self, place, version, implementation="cpython", abi=""):
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{implementation} {version}")
        path.chmod(0o755)
        self.answers(path, version, implementation, abi)
        return path

    def answers(self, path, version, implementation="cpython", abi=""):
        stat = path.stat()
        known = read_json(self.memory) or {}
        known[str(path)] = {
            "executable": str(path),
            "real_path": str(path.resolve()),
            "version": version,
            "implementation": implementation,
            "abi": abi or f"{implementation}-{version.replace('.', '')[:3]}",
            "platform": "here",
            "libc": "",
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "markers": [["python_full_version", version]],
            "machine": f"{platform.machine()} {platform.release()} {platform.version()}",
        }
        write_json(self.memory, known)

    @property
    def memory(self):
        return self.root / "interpreters.json"

    @property
    def pythons(self):
        return Interpreters(_settings.gather(self.root), self.uv, self.memory)

    def find(self, request):
        return Path(self.pythons.find(request).executable)

    def missing(self, request):
        with pytest.raises(InterpreterNotFound) as caught:
            self.pythons.find(request)
        return caught.value


@pytest.fixture
def machine(tmp_path, monkeypatch):
    for name in ("CONDA_PREFIX", "CONDA_EXE", "CONDA_ENVS_PATH", "CONDA_ENVS_DIRS",
                 "MAMBA_ROOT_PREFIX", "UV_PYTHON_INSTALL_DIR", "XDG_DATA_HOME",
                 "RYE_PY_ROOT", "ASDF_DATA_DIR", "APPDATA"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Machine(tmp_path, FakeUv())


# Ranges


@pytest.mark.parametrize("range_", [">=3.8", ">=3.8,!=3.50.*", f"=={MINOR}.*", f"~={MINOR}.0"])
def test_a_range_that_the_hosts_own_fits_is_the_hosts_own(machine, range_):
    machine.has("bin/python3.41", "3.41.2")
    assert machine.pythons.find(range_).version == HOST


@pytest.mark.parametrize(
    ("range_", "version"),
    [
        (">=3.40", "3.42.0"),
        (">=3.40,<3.42", "3.41.10"),
        (">=3.40,<3.41.10", "3.41.9"),
        ("==3.41.*", "3.41.10"),
        ("!=3.42.*,>3.40", "3.41.10"),
        ("~=3.41.3", "3.41.10"),
    ],
)
def test_of_several_that_fit_a_range_it_is_the_newest(machine, range_, version):
    for found in ("3.41.9", "3.42.0", "3.41.10"):
        machine.has(f"pyenv/versions/{found}/bin/python{found.rpartition('.')[0]}", found)
    assert machine.pythons.find(range_).version == version


def test_what_is_released_comes_before_what_is_not_yet(machine):
    machine.has("bin/python3.41", "3.41.0")
    machine.has("bin/python3.42", "3.42.0rc1")
    assert machine.pythons.find(">=3.40").version == "3.41.0"
    assert machine.pythons.find("3.42").version == "3.42.0rc1"
    assert machine.pythons.find("3.42.0rc1").version == "3.42.0rc1"


def test_a_build_between_two_releases_fits_what_it_follows(machine):
    machine.has("bin/python3.41", "3.41.1+")
    assert machine.pythons.find(">=3.41.1,<3.41.2").version == "3.41.1+"


def test_a_range_nothing_fits_is_not_found(machine):
    machine.has("bin/python3.41", "3.41.2")
    assert machine.missing(">=3.43").found == [HOST, "3.41.2"]


# Implementations and kinds


@pytest.fixture
def kinds(machine):
    machine.has("bin/python3.41", "3.41.1")
    machine.has("bin/python3.41t", "3.41.2", abi="cpython-341t-x86_64-linux-gnu")
    machine.has("bin/pypy3.41", "3.41.3", "pypy")
    machine.has("bin/pypy3.40", "3.40.9", "pypy")
    machine.has("bin/graalpy", "3.41.4", "graalpy")
    return machine


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ("3.41", "python3.41"),
        ("python3.41", "python3.41"),
        ("cpython3.41", "python3.41"),
        (">=3.41", "python3.41"),
        ("3.41t", "python3.41t"),
        ("python3.41t", "python3.41t"),
        ("cpython3.41t", "python3.41t"),
        ("pypy", "pypy3.41"),
        ("pypy3", "pypy3.41"),
        ("pypy3.40", "pypy3.40"),
        ("pypy3.40.9", "pypy3.40"),
        ("graalpy", "graalpy"),
        ("graalpy3.41", "graalpy"),
    ],
)
def test_the_implementation_and_the_kind_are_those_asked_for(kinds, request_, name):
    if request_ == "graalpy3.41":  # only what lies on PATH under its own name is looked at
        kinds.has("bin/graalpy3.41", "3.41.4", "graalpy").rename(kinds.root / "bin" / "graalpy-x")
        (kinds.root / "bin" / "graalpy3.41").symlink_to(kinds.root / "bin" / "graalpy")
        kinds.answers(kinds.root / "bin" / "graalpy3.41", "3.41.4", "graalpy")
        assert kinds.find(request_).resolve().name == name
        return
    assert kinds.find(request_).name == name


@pytest.mark.parametrize("request_", ["pypy3.42", "3.41.3", "3.40", "3.40t", "graalpy3.40"])
def test_another_implementation_or_kind_is_no_answer(kinds, request_):
    assert kinds.missing(request_).found == [
        *[HOST, "3.41.1", "3.41.2t"],
        *["pypy 3.40.9", "pypy 3.41.3"],
    ]


def test_a_name_on_path_that_lies_is_not_believed(machine):
    machine.has("bin/python3.41", "3.40.1")
    assert machine.missing("python3.41").found == [HOST, "3.40.1"]


# Places


@pytest.mark.parametrize(
    "place",
    [
        "bin/python3.41",
        "pyenv/versions/3.41.2/bin/python3.41",
        "home/.local/share/uv/python/cpython-3.41.2-here/bin/python3",
        "home/.rye/py/cpython@3.41.2/bin/python3",
    ],
)
def test_every_place_is_looked_into_by_version_and_by_range(machine, place):
    path = machine.has(place, "3.41.2")
    for request in ("3.41", "3.41.2", "python3.41", ">=3.40", "==3.41.*"):
        assert machine.find(request) == path


def test_uvs_pythons_are_found_where_its_variable_puts_them(machine, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(machine.root / "elsewhere"))
    path = machine.has("elsewhere/pypy-3.41.2-here/bin/python3", "3.41.2", "pypy")
    assert machine.find("pypy3.41") == path
    assert machine.uv.asked == []


@pytest.mark.parametrize(
    ("variable", "value", "prefix"),
    [
        (None, "", "home/miniforge3"),
        (None, "", "home/miniconda3/envs/some"),
        ("CONDA_PREFIX", "conda", "conda"),
        ("CONDA_EXE", "conda/bin/conda", "conda/envs/some"),
        ("MAMBA_ROOT_PREFIX", "mamba", "mamba/envs/some"),
        ("CONDA_ENVS_PATH", "envs", "envs/some"),
        ("CONDA_ENVS_DIRS", "envs", "envs/some"),
        ("LISTED", "", "listed"),
    ],
)
def test_condas_installations_and_environments_are_found(
    machine, monkeypatch, variable, value, prefix
):
    path = machine.has(f"{prefix}/bin/python3", "3.41.2")
    if variable == "LISTED":
        (machine.root / "home" / ".conda").mkdir(parents=True)
        listed = f"{machine.root / 'gone'}\n\n{machine.root / prefix}\n"
        (machine.root / "home" / ".conda" / "environments.txt").write_text(listed)
    elif variable:
        monkeypatch.setenv(variable, str(machine.root / value))
    machine.missing("3.41")  # it has no conda-meta: conda did not make it
    (machine.root / prefix / "conda-meta").mkdir()
    assert machine.find("3.41") == path
    assert machine.find(">=3.41") == path


def test_condas_are_for_when_nothing_else_fits(machine):
    machine.has("home/miniforge3/bin/python3", "3.41.9")
    (machine.root / "home" / "miniforge3" / "conda-meta").mkdir()
    path = machine.has("bin/python3.41", "3.41.2")
    assert machine.find("3.41") == path
    assert machine.pythons.find("3.41.9").version == "3.41.9"


def test_only_what_may_fit_by_its_name_is_asked(machine, monkeypatch):
    path = machine.has("bin/python3.41", "3.41.2")
    for name in ("python2.7", "python3.40", "pypy3.41", "python3.42"):
        (machine.root / "bin" / name).write_text("would fail if it were asked")
        (machine.root / "bin" / name).chmod(0o755)
    pythons = machine.pythons
    pythons.find(None)
    monkeypatch.setattr(machine.uv, "run", None)
    assert Path(pythons.find("3.41").executable) == path
    assert Path(pythons.find(">=3.41,<3.42").executable) == path


# Paths


@pytest.mark.parametrize("text", ["./env", "env", "./env/bin/python3", "env/bin/python3", "{}/env"])
def test_a_virtual_environment_stands_for_the_python_that_made_it(machine, text):
    own = machine.pythons.find(None)
    (machine.root / "env" / "bin").mkdir(parents=True)
    (machine.root / "env" / "pyvenv.cfg").write_text(f"home = {Path(own.executable).parent}\n")
    (machine.root / "env" / "bin" / "python3").symlink_to(own.executable)
    if text == "env":  # without a slash it is the name of an executable
        assert machine.missing(text).request == text
    else:
        assert machine.pythons.find(text.format(machine.root)) == own


# Downloads


@pytest.mark.parametrize("allowed", [None, "", "manual", "never", "false", "0"])
def test_uv_is_never_asked_for_a_python_where_that_was_not_allowed(machine, monkeypatch, allowed):
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS")
    if allowed is not None:
        monkeypatch.setenv("UV_PYTHON_DOWNLOADS", allowed)
    error = machine.missing("3.41")
    assert machine.uv.asked == []
    assert error.download == "off"
    assert "let uv download it (UV_PYTHON_DOWNLOADS=automatic)" in str(error)


@pytest.mark.parametrize("allowed", ["automatic", "auto", "true", "1", "Automatic"])
@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        ("3.41", "3.41"),
        ("python3.41", "3.41"),
        (">=3.40,<3.42", "<3.42,>=3.40,>=3.8"),
        ("==3.41.*", "==3.41.*,>=3.8"),
    ],
)
def test_uv_installs_what_is_missing_where_that_is_allowed(
    machine, monkeypatch, allowed, request_, asked
):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", allowed)
    path = machine.has("downloaded/bin/python3.41", "3.41.2")
    machine.uv.answers = [(0, ""), (0, f"{path}\n")]
    pythons = machine.pythons
    assert [Path(pythons.find(request_).executable) for _ in range(2)] == [path, path]
    (install, environ), (find, _) = machine.uv.asked
    assert install[1:3] == ["python", "install"]
    assert find[1:3] == ["python", "find"]
    assert install[-1] == find[-1] == asked
    assert environ["UV_PYTHON_INSTALL_BIN"] == "0"


@pytest.mark.parametrize(
    ("request_", "implementation", "abi"),
    [("pypy3.41", "pypy", ""), ("pypy", "pypy", ""), ("3.41t", "cpython", "cpython-341t-here")],
)
def test_uv_is_asked_for_implementations_as_they_were_named(
    machine, monkeypatch, request_, implementation, abi
):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "automatic")
    path = machine.has("downloaded/bin/python3", "3.41.2", implementation, abi)
    machine.uv.answers = [(0, ""), (0, f"{path}\n")]
    assert machine.find(request_) == path
    assert [command[-1] for command, _ in machine.uv.asked] == [request_, request_]


def test_what_is_on_the_machine_is_not_downloaded(machine, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "automatic")
    path = machine.has("bin/python3.41", "3.41.2")
    assert machine.find(">=3.40") == path
    assert machine.uv.asked == []


@pytest.mark.parametrize("request_", ["3.7", "<3.8", "3.99", "2.7", "some-python", "./some/python"])
def test_what_no_download_can_give_is_not_asked_for(machine, monkeypatch, request_):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "automatic")
    error = machine.missing(request_)
    assert machine.uv.asked == []
    assert "uv" not in str(error)


def test_a_download_that_fails_is_tried_once_and_its_reason_shown(machine, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "automatic")
    machine.uv.answers = [(2, "warning: slow\nerror: No download found for 3.41\n")]
    pythons = machine.pythons
    for _ in range(2):
        with pytest.raises(InterpreterNotFound) as caught:
            pythons.find("3.41")
        assert "uv could not download it: error: No download found" in caught.value.reason
        assert "UV_PYTHON_DOWNLOADS" not in str(caught.value)
    assert len(machine.uv.asked) == 1
