"""What is asked for."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_isoenv.spec import EnvSpec


def test_a_request_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EnvSpec().python = "3.12"


def test_a_request_says_what_was_asked_for_in_the_declarations_own_words():
    spec = EnvSpec(requirements=("lib==1.0",), lock="pylock.toml", local=("dist/a.whl",))
    assert spec.asked_for() == "lib==1.0, lock pylock.toml, local dist/a.whl"


def test_a_request_for_nothing_says_so():
    assert EnvSpec().asked_for() == "nothing but pytest"
