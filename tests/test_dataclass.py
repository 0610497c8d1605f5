"""Dataclasses that are quick to define are like those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from pytest_isoenv._dataclass import dataclass
from pytest_isoenv.errors import StoreError


@dataclass(frozen=True)
class Ours:
    """A value."""

    name: str
    secret: str = dataclasses.field(repr=False)
    note: str = dataclasses.field(default="", compare=False)
    parts: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Theirs:
    """A value."""

    name: str
    secret: str = dataclasses.field(repr=False)
    note: str = dataclasses.field(default="", compare=False)
    parts: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclass()
class OursThatChange:
    """A record."""

    count: int = 0


@dataclasses.dataclass
class TheirsThatChange:
    """A record."""

    count: int = 0


BOTH = pytest.mark.parametrize("cls", [Ours, Theirs])


@BOTH
def test_fields_are_given_by_place_or_by_name_or_have_their_defaults(cls):
    value = cls("a", secret="b")
    assert (value.name, value.secret, value.note, value.parts) == ("a", "b", "", {})
    assert cls("a", "b").parts is not value.parts


@BOTH
def test_a_representation_leaves_out_what_is_secret(cls):
    assert repr(cls("a", "b")) == f"{cls.__name__}(name='a', note='', parts={{}})"


@BOTH
def test_values_are_equal_and_found_by_the_fields_that_count(cls):
    one, other = (cls("a", "b", note, parts=frozenset()) for note in ("x", "y"))
    assert one == other
    assert {one: 1}[other] == 1
    assert one != cls("a", "c", parts=frozenset())
    assert one != ("a", "b", "x", frozenset())


@BOTH
def test_a_value_does_not_change(cls):
    value = cls("a", "b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "c"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.name
    assert value.name == "a"


@BOTH
@pytest.mark.parametrize(
    ("args", "fields"),
    [(("a",), {}), (("a", "b"), {"c": 1}), (("a", "b"), {"name": "c"}), (tuple("abcde"), {})],
    ids=["missing", "unknown", "twice", "too many"],
)
def test_what_does_not_fit_is_a_type_error(cls, args, fields):
    with pytest.raises(TypeError):
        cls(*args, **fields)


@BOTH
def test_the_standard_librarys_functions_know_it(cls):
    value = cls("a", "b")
    assert dataclasses.asdict(value) == {"name": "a", "secret": "b", "note": "", "parts": {}}
    assert dataclasses.replace(value, name="c") == cls("c", "b")
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value


def test_the_signature_is_the_same():
    ours, theirs = (inspect.signature(cls).parameters for cls in (Ours, Theirs))
    assert list(ours) == list(theirs)
    told = [[(p.kind, p.annotation) for p in each.values()] for each in (ours, theirs)]
    assert told[0] == told[1]
    assert ours["note"].default == theirs["note"].default


@pytest.mark.parametrize("cls", [OursThatChange, TheirsThatChange])
def test_a_record_changes_and_is_no_key(cls):
    record = cls()
    record.count += 1
    assert record == cls(1)
    unhashable: Any = record
    with pytest.raises(TypeError):
        hash(unhashable)


def test_an_error_has_fields_and_is_equal_to_itself_alone():
    error = StoreError("/there", "it is full")
    assert repr(error) == "StoreError(path='/there', reason='it is full')"
    assert error != StoreError("/there", "it is full")
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
