"""The contract of backends, driven over every one that comes with pytest-isoenv."""

from __future__ import annotations

import pytest

from pytest_isoenv._backends import builtin
from tests.backend_contract import BackendContract


@pytest.fixture(scope="module", params=builtin(), ids=lambda backend: backend.name)
def backend(request):
    return request.param


class TestBuiltin(BackendContract):
    """Everything is in the contract."""


def test_built_in_backends_have_names_of_their_own():
    names = [backend.name for backend in builtin()]
    assert len(set(names)) == len(names)


def test_the_default_backend_is_built_in():
    from pytest_isoenv.spec import EnvSpec

    assert EnvSpec().backend in {backend.name for backend in builtin()}
