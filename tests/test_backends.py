"""The contract of backends, driven over every one that comes with pytest-isoenv."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pytest_isoenv._backends import builtin
from pytest_isoenv.spec import Conda, EnvSpec
from tests.backend_contract import OPTIONAL, BackendContract
from tests.conda_channel import make_python, write_index


def marks_of(backend):
    """pip takes its time; and conda needs py-rattler."""
    if backend.name == "venv":
        return pytest.mark.slow
    missing = backend.name == "conda" and importlib.util.find_spec("rattler") is None
    reason = "py-rattler is not installed: pip install 'pytest-isoenv[conda]'"
    return pytest.mark.skipif(missing, reason=reason)


@pytest.fixture(
    scope="module",
    params=[pytest.param(b, id=b.name, marks=marks_of(b)) for b in builtin()],
)
def backend(request):
    return request.param


@pytest.fixture(scope="session")
def python_channel(tmp_path_factory):
    """The URL of a conda channel that has a Python and nothing else."""
    channel = tmp_path_factory.mktemp("channel")
    make_python(channel)
    return write_index(channel)


class TestBuiltin(BackendContract):
    """Everything is in the contract."""

    @pytest.fixture(scope="class")
    @classmethod
    def fields(cls, backend, python_channel):
        return {"conda": Conda(channels=(python_channel,))} if backend.brings_python else {}


def test_built_in_backends_have_names_of_their_own():
    names = [backend.name for backend in builtin()]
    assert len(set(names)) == len(names)


def test_the_default_backend_is_built_in():
    assert EnvSpec().backend in {backend.name for backend in builtin()}


PAGE = Path(__file__).parent.parent / "docs" / "reference" / "backends.md"
MARK = "<!-- made by: python -m tests.test_backends -->\n"


def table():
    """The documentation's table of backends and promises: a row for each test above."""
    names = [backend.name for backend in builtin()]

    def answer(backend, promise):
        return "yes" if hasattr(backend, OPTIONAL.get(promise, "name")) else "no"

    promises = [name for name in vars(BackendContract) if name.startswith("test_")]
    rows = [["Promise", *(f"`{name}`" for name in names)], ["---"] * (len(names) + 1)]
    rows += [
        [
            promise.removeprefix("test_").replace("_", " "),
            *(answer(backend, promise) for backend in builtin()),
        ]
        for promise in promises
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_documentation_has_the_table_of_what_is_asked_of_every_backend_here():
    # Only what a backend may do without is left out: every yes passes above or fails there.
    assert f"{MARK}\n{table()}" in PAGE.read_text(encoding="utf-8")


def write_table():
    before, _, after = PAGE.read_text(encoding="utf-8").partition(MARK)
    rest = after[after.index("\n## ") :]
    PAGE.write_text(f"{before}{MARK}\n{table()}{rest}", encoding="utf-8")


if __name__ == "__main__":
    write_table()
