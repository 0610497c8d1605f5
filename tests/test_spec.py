"""What is asked for: layers, how they are united, and which strings mean what."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_isoenv.spec import EnvSpec, Layer, combine, is_bare_word, is_path, unite_requirements


@pytest.mark.parametrize("word", ["requests", "old", "my-env", "py3.12", "a_b"])
def test_a_word_without_a_version_is_a_name(word):
    assert is_bare_word(word)


@pytest.mark.parametrize(
    "text",
    [
        "lib==1.0",
        "lib<2",
        "lib[extra]",
        "lib @ https://example.org/lib.tar.bz2",
        "lib; python_version < '3.9'",
        "./lib",
        "../lib",
        "/opt/lib",
        "~/lib",
        "dist/lib-1.0-py3-none-any.whl",
        "two words",
        "",
    ],
)
def test_anything_but_a_single_word_is_never_a_name(text):
    assert not is_bare_word(text)


@pytest.mark.parametrize(
    "text", [".", "./lib", "../lib[extra]", "/opt/lib", "~/lib", "x/lib-1.0.tar.gz", "a\\b"]
)
def test_a_path_is_recognised_by_its_look_alone(text):
    assert is_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "lib @ https://example.org/lib-1.0-py3-none-any.whl",
        "lib@https://example.org/lib-1.0.tar.gz",
        "lib @ file:///opt/lib-1.0-py3-none-any.whl",
    ],
)
def test_a_requirement_with_a_url_is_no_path_even_where_the_url_ends_like_a_file(text):
    assert not is_path(text)


def test_the_last_mention_of_a_package_wins():
    assert unite_requirements(["lib==1.0", "lib==2.0"]) == ("lib==2.0",)


def test_spellings_of_one_name_are_one_package():
    assert unite_requirements(["My.Lib==1", "my_lib==2"]) == ("my_lib==2",)


def test_a_bare_package_is_dropped_where_a_pinned_one_stands():
    assert unite_requirements(["lib==1.0", "lib"]) == ("lib==1.0",)


def test_a_bare_package_still_adds_its_extras_to_the_pinned_one():
    assert unite_requirements(["lib[a]==1.0", "lib[b]"]) == ("lib[a,b]==1.0",)


def test_a_pin_displaces_a_bare_package():
    assert unite_requirements(["lib", "lib==1.0"]) == ("lib==1.0",)


def test_uniting_leaves_the_strings_it_was_given_as_they_were():
    given = ["lib[a]==1.0", "lib[b]"]
    assert unite_requirements(given) == unite_requirements(given)


def test_one_package_under_two_environment_markers_counts_as_two():
    texts = ['lib<2; python_version < "3.9"', 'lib>=2; python_version >= "3.9"']
    assert sorted(unite_requirements(texts)) == sorted(texts)


def test_requirements_are_sorted_so_that_their_order_does_not_matter():
    texts = ["zed==1", "abc==1", "./tree", "lib==1"]
    assert unite_requirements(texts) == unite_requirements(reversed(texts))


def test_paths_stay_as_they_are_among_requirements():
    assert "./tree[extra]" in unite_requirements(["lib==1", "./tree[extra]"])


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


def test_a_request_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        EnvSpec().python = "3.12"


def test_a_request_says_what_was_asked_for_in_the_declarations_own_words():
    spec = EnvSpec(requirements=("lib==1.0",), lock="pylock.toml", local=("dist/a.whl",))
    assert spec.asked_for() == "lib==1.0, lock pylock.toml, local dist/a.whl"


def test_a_request_for_nothing_says_so():
    assert EnvSpec().asked_for() == "nothing but pytest"
