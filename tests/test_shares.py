"""Layers, and the request that they are combined to."""

from __future__ import annotations

from pytest_isoenv._shares import Layer, combine
from pytest_isoenv.spec import EnvSpec


def test_the_closest_layer_decides_each_single_value():
    spec = combine(
        [
            Layer(python="3.9", project="editable", backend="uv", lock="pylock.toml"),
            Layer(python="3.12", missing_interpreter="skip"),
        ]
    )
    assert (spec.python, spec.project, spec.lock) == ("3.12", "editable", "pylock.toml")
    assert spec.missing_interpreter == "skip"


def test_a_closer_layer_can_take_a_refresh_back():
    assert combine([Layer(refresh=True)]).refresh
    assert not combine([Layer(refresh=True), Layer(refresh=False)]).refresh
    assert combine([Layer(refresh=True), Layer()]).refresh


def test_layers_that_say_nothing_give_the_defaults():
    assert combine([]) == combine([Layer(), Layer()]) == EnvSpec()


def test_a_closer_variable_replaces_one_of_the_same_name_and_keeps_the_others():
    spec = combine(
        [
            Layer(variables=(("A", "base"), ("B", "base"))),
            Layer(variables=(("A", "closer"),)),
        ]
    )
    assert spec.variables == (("A", "closer"), ("B", "base"))


def test_the_closest_declaration_comes_first_on_path():
    spec = combine([Layer(prepend_paths=("base", "both")), Layer(prepend_paths=("both", "near"))])
    assert spec.prepend_paths == ("both", "near", "base")


def test_local_trees_are_installed_in_the_order_of_their_declaration_each_once():
    spec = combine([Layer(local=("b", "a")), Layer(local=("a", "c"))])
    assert spec.local == ("b", "a", "c")


def test_extras_of_all_layers_are_united():
    assert combine([Layer(extras=("b",)), Layer(extras=("a", "b"))]).extras == ("a", "b")


def test_equal_requests_are_one_dictionary_key():
    first = combine([Layer(requirements=("b==1", "a==1"))])
    second = combine([Layer(requirements=("a==1",)), Layer(requirements=("b==1",))])
    assert {first: 1}[second] == 1
