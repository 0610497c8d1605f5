"""Errors are data: they keep their fields, survive pickling, and say what to do next."""

from __future__ import annotations

import copy
import pickle

import pytest

from pytest_isoenv import errors
from pytest_isoenv.errors import (
    BrokenEnvironment,
    BuildError,
    CommandError,
    ConfigError,
    HashError,
    InterpreterNotFound,
    IsoenvError,
    LayerError,
    LockError,
    Problem,
    ResolutionError,
    StoreError,
    WorkerError,
)

EXAMPLES = [
    ConfigError([Problem("isoenv.yaml.default", "'x' is not declared"), Problem("b", "wrong")]),
    InterpreterNotFound("3.99", ["3.9.1", "3.12.1"]),
    CommandError("probing", "python -c x", 3, "its words", "try again"),
    ResolutionError("resolving", "uv pip compile", 1, "No solution found"),
    BuildError("installing", "uv pip install", 2, ""),
    LockError("pylock.toml", "it is for Python >=3.13", "3.12.1"),
    HashError("lib", ["sha256:00"], ["sha256:11"]),
    LayerError("heavy", "both have lib"),
    StoreError("/cache", "it is full"),
    BrokenEnvironment("/cache/env", "missing: lib"),
    WorkerError("old", "was killed by signal SIGKILL", "last words"),
]


def each(examples):
    return pytest.mark.parametrize("error", examples, ids=lambda error: type(error).__name__)


def subclasses(kind):
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_kind_of_error_has_an_example_here():
    assert {type(error) for error in EXAMPLES} == subclasses(IsoenvError) - {IsoenvError}


@each(EXAMPLES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_its_fields_and_its_words(error, protocol):
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again).keys() == vars(error).keys()


@each(EXAMPLES)
def test_an_error_can_be_copied(error):
    assert str(copy.copy(error)) == str(error)


@each(EXAMPLES)
def test_an_error_is_raised_and_caught_as_one_of_ours(error):
    with pytest.raises(IsoenvError) as caught:
        raise error
    assert caught.value is error


@each(EXAMPLES)
def test_an_error_can_be_kept_in_a_set(error):
    assert {error, error} == {error}


@each(EXAMPLES)
def test_every_kind_of_error_is_drawn_in_the_modules_docstring(error):
    assert type(error).__name__ in errors.__doc__


def test_a_note_added_to_an_error_survives_pickling():
    error = StoreError("/cache", "it is full")
    error.__notes__ = ["while building old"]
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while building old"]


def test_a_config_error_says_every_problem_with_its_place():
    lines = str(EXAMPLES[0]).splitlines()
    assert lines == ["isoenv: isoenv.yaml.default: 'x' is not declared", "isoenv: b: wrong"]


def test_a_missing_interpreter_names_the_request_what_there_is_and_the_way_out():
    text = str(InterpreterNotFound("3.99", ["3.9.1", "3.12.1"]))
    assert "'3.99'" in text
    assert "3.9.1, 3.12.1" in text
    assert "missing-interpreter: skip" in text


def test_a_missing_interpreter_on_a_machine_without_any_says_none():
    assert "found: none" in str(InterpreterNotFound("3.99", []))


def test_a_failed_command_tells_its_purpose_status_words_repetition_and_next_step():
    text = str(CommandError("probing", "python -c x", 3, "its words\n", "try again"))
    assert text.splitlines() == [
        "probing: the command exited with status 3",
        "its words",
        "to repeat it: python -c x",
        "next step: try again",
    ]


def test_a_command_that_printed_nothing_says_so_and_has_no_empty_next_step():
    text = str(BuildError("installing", "uv pip install", 2, "  \n"))
    assert "(it printed nothing)" in text
    assert "next step" not in text


def test_failed_resolutions_and_builds_are_failed_commands():
    assert issubclass(ResolutionError, CommandError)
    assert issubclass(BuildError, CommandError)


def test_an_unusable_cache_names_the_option_that_chooses_another():
    text = str(StoreError("/cache", "it is full"))
    assert "/cache" in text
    assert "it is full" in text
    assert "--env-cache-dir" in text


def test_a_broken_environment_names_its_directory_and_the_reason():
    text = str(BrokenEnvironment("/cache/env", "missing: lib"))
    assert text == "the environment /cache/env is broken: missing: lib"


def test_a_dead_worker_tells_its_environment_its_ending_and_its_last_words():
    text = str(WorkerError("old", "was killed by signal SIGKILL", "last words\n"))
    assert text == "the worker of environment 'old' was killed by signal SIGKILL\nlast words"


def test_a_worker_that_said_nothing_leaves_no_empty_line():
    assert str(WorkerError("old", "exited with code 3", " \n")).count("\n") == 0
