"""Reading the arguments of ``@pytest.mark.env`` and of the ``isoenv`` factory."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_isoenv._config import Declarations
from pytest_isoenv._requests import derive_name, read_requests
from pytest_isoenv._shares import Layer
from pytest_isoenv._values import Surroundings


@pytest.fixture
def declarations(tmp_path):
    for directory in ("tree", "sub/tree", "locks", "flask-pymongo"):
        (tmp_path / directory).mkdir(parents=True)
    lock = "lock-version = '1.0'\ncreated-by = 'by hand'\npackages = []\n"
    (tmp_path / "locks" / "pylock.old.toml").write_text(lock)
    return Declarations(
        around=Surroundings(tmp_path),
        base=Layer(requirements=("hypothesis",), python="3.9"),
        stacks={"old": (Layer(requirements=("lib==1.0",)),), "alone": (Layer(),), "new": ()},
        standalone=frozenset({"alone"}),
    )


@pytest.fixture
def ask(declarations):
    def ask(*args, **fields):
        requests, problems = read_requests(args, fields, "test_it.py::test", declarations)
        assert problems == []
        (request,) = requests
        return request

    return ask


@pytest.fixture
def refused(declarations):
    def refused(*args, **fields):
        requests, problems = read_requests(args, fields, "test_it.py::test", declarations)
        assert requests == []
        assert all(problem.where.startswith("test_it.py::test") for problem in problems)
        return [problem.what for problem in problems]

    return refused


def test_a_requirement_goes_on_top_of_base(ask):
    spec = ask("lib==2.0").spec
    assert spec.requirements == ("hypothesis", "lib==2.0")
    assert spec.python == "3.9"


def test_a_name_means_the_declared_environment(ask):
    request = ask("old")
    assert request.name == "old"
    assert request.spec.requirements == ("hypothesis", "lib==1.0")


def test_what_stands_beside_a_name_goes_on_top_of_it(ask):
    assert ask("old", "lib==1.1", python="3.12").spec.requirements == ("hypothesis", "lib==1.1")


def test_a_standalone_environment_inherits_nothing(ask):
    assert ask("alone").spec.requirements == ()


def test_an_id_names_the_environment(ask):
    request = ask("lib==2.0", id="newest")
    assert (request.name, request.id) == ("newest", "newest")


def test_equal_arguments_are_one_request(ask):
    assert ask("lib==1", "other==2", id="a") == ask("other==2", "lib==1", id="a")


def test_host_is_no_environment(ask):
    assert ask("host").spec is None
    assert ask("host", id="here").name == "here"


def test_deps_say_an_unversioned_requirement_on_purpose(ask):
    assert "lib" in ask(deps=["lib"]).spec.requirements


def test_fields_are_written_as_python_names(ask):
    spec = ask("lib==1", prepend_paths=["tools"], missing_interpreter="skip").spec
    assert spec.prepend_paths == ("tools",)
    assert spec.missing_interpreter == "skip"


def test_a_path_is_never_taken_for_the_name_of_a_package(ask, declarations):
    for text in ("./tree", "./sub/tree"):
        (found,) = set(ask(text).spec.requirements) - {"hypothesis"}
        assert found.startswith((".", "/"))


def test_a_local_tree_and_a_lock_may_lie_below_the_rootdir(ask):
    assert ask(local=["sub/tree"]).spec.local == ("sub/tree",)
    assert ask(lock="locks/pylock.old.toml").spec.lock == "locks/pylock.old.toml"


def test_an_unknown_word_is_an_error_with_the_nearest_names_and_never_an_install(refused):
    (what,) = refused("odl")
    assert "'odl' is not a declared environment; declared are: old" in what
    assert "deps=['odl']" in what


def test_two_names_cannot_be_one_environment(refused):
    assert refused("old", "new") == ["one environment at a time, not old and new"]


def test_an_empty_marker_is_an_error(refused):
    assert "needs a requirement" in refused()[0]


def test_nothing_can_be_added_to_the_host(refused):
    assert "stands alone" in refused("host", "lib==1")[0]
    assert "stands alone" in refused("host", python="3.12")[0]


@pytest.mark.parametrize("given", [3, ["lib==1"], None, True])
def test_an_argument_that_is_no_text_is_an_error(refused, given):
    assert refused(given) == [f"{given!r} is neither a requirement nor a name"]


@pytest.mark.parametrize("given", ["", "two words", "a::b", "a[b", 3, []])
def test_an_id_that_cannot_stand_in_a_node_id_is_an_error(refused, given):
    assert len(refused("lib==1", id=given)) == 1


def test_everything_wrong_is_said_at_once(refused):
    assert len(refused("odl", "lib==", id="a b", pyton="3.9", refresh="no")) == 5


def test_a_bad_requirement_names_the_rule(refused):
    assert "PEP 508" in refused("lib==")[0]


def test_one_field_under_two_spellings_is_an_error_and_not_silently_the_last(refused):
    assert refused(deps=["lib==1"], dependencies=["lib==2"])


@pytest.mark.parametrize(
    ("args", "fields", "name"),
    [
        (["requests==2.28.2"], {}, "requests-2.28.2"),
        (["pydantic==1.*"], {}, "pydantic-1"),
        (["lib>=1,<2"], {}, "lib<2,>=1"),
        (["lib[b,a]==1.0"], {}, "lib(a+b)-1.0"),
        (["old"], {"python": "3.12"}, "old+py3.12"),
        (["lib==1"], {"python": "pypy3"}, "lib-1+pypy3"),
        (["lib==1", "other==2"], {}, "lib-1+other-2"),
        ([], {"deps": ["lib"]}, "lib"),
        ([], {"env": {"MODE": "fast"}}, "MODE"),
        ([], {"refresh": True}, "env"),
    ],
)
def test_a_name_is_derived_from_what_was_asked_for(ask, args, fields, name):
    assert ask(*args, **fields).name == name


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Layer(local=("dist/app-1.0-py3-none-any.whl",)), "app-1.0"),
        (Layer(local=("../flask-pymongo",)), "flask-pymongo"),
        (Layer(local=("sub/tree",)), "tree"),
        (Layer(local=(".",)), "here"),
        (Layer(lock="locks/pylock.old.toml"), "pylock.old"),
        (Layer(lock="pylock.old.toml"), "pylock.old"),
    ],
)
def test_the_name_of_something_local_is_derived_from_its_path(layer, name):
    assert derive_name([], layer) == name


@pytest.mark.parametrize("text", ["lib[a]==1.0", "lib == 1.0 ; python_version > '3'", "./t[a]"])
def test_a_derived_name_can_stand_in_a_node_id(text):
    name = derive_name([], Layer(requirements=(text,)))
    assert not set(name) & set("[] \t\n")


def test_a_derived_name_does_not_hang_on_fields_that_are_not_in_it():
    layer = Layer(requirements=("lib==1",))
    assert derive_name([], dataclasses.replace(layer, refresh=True)) == derive_name([], layer)


def test_an_unknown_key_lists_those_of_a_mark_as_python_spells_them(refused):
    (what,) = refused("lib==1.0", extra_index=["x"])
    assert what.startswith("unknown key 'extra_index'; the keys are: extra_indexes, index, ")
    assert ", matrix, max_age, missing_interpreter, " in what
    assert "extends" not in what


def test_a_layer_of_a_mark_has_no_layers_itself(declarations, refused):
    declarations.stacks["thin"] = (Layer(layers=("old",)),)
    assert refused(layers=["thin"]) == ["'thin' has layers itself; only one fits below"]
