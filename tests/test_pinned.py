"""What will be built, and the key of it all."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_isoenv.pinned import (
    Interpreter,
    PinnedEnv,
    Source,
    digest_of,
    explain,
    pylock_trees,
    read_pylock,
)
from pytest_isoenv.spec import EnvSpec

PYTHON = Interpreter(
    executable="/opt/python/bin/python3.12",
    real_path="/opt/python/bin/python3.12",
    version="3.12.4",
    implementation="cpython",
    abi="cpython-312-x86_64-linux-gnu",
    platform="linux-x86_64",
    libc="glibc 2.36",
    size=1000,
    mtime_ns=1,
)

PYLOCK = """\
lock-version = "1.0"
created-by = "tests"

[[packages]]
name = "lib"
version = "1.0"
wheels = [{ url = "https://example.org/lib.whl", hashes = { sha256 = "aa" } }]

[[packages]]
name = "tree"
directory = { path = "/src/tree", editable = true }

[[packages]]
name = "archived"
version = "2.0"
archive = { path = "/dist/archived.whl", hashes = { sha256 = "bb" } }

[[packages]]
name = "hosted"
vcs = { type = "git", url = "https://example.org/hosted", commit-id = "c0ffee" }
"""


def pinned(**changes):
    parts = {
        "spec": EnvSpec(),
        "interpreter": PYTHON,
        "pylocks": (PYLOCK,),
        "sources": (Source("/src/tree", "d1", editable=True),),
    }
    return PinnedEnv(**{**parts, **changes})


def python(**changes):
    return dataclasses.replace(PYTHON, **changes)


def test_a_pylock_names_its_artefacts_with_a_digest_of_each():
    found = {artefact.name: artefact.version for artefact in read_pylock(PYLOCK)}
    assert found == {"lib": "1.0", "archived": "2.0", "hosted": ""}
    assert all(artefact.digest for artefact in read_pylock(PYLOCK))


def test_a_local_tree_in_a_pylock_is_no_artefact_but_a_source():
    assert pylock_trees(PYLOCK) == [("/src/tree", True)]


@pytest.mark.parametrize("change", ["aa", "bb", "c0ffee"])
def test_another_hash_or_commit_is_another_digest(change):
    other = PYLOCK.replace(change, "ee")
    assert set(read_pylock(other)) != set(read_pylock(PYLOCK))


def test_the_digest_of_an_artefact_hangs_on_its_content_and_not_on_its_url():
    moved = PYLOCK.replace("https://example.org/lib.whl", "https://mirror.example.net/lib.whl")
    assert read_pylock(moved) == read_pylock(PYLOCK)


def test_the_digest_of_a_package_covers_each_of_its_files():
    two = '{ url = "u", hashes = { sha256 = "aa" } }, { url = "v", hashes = { sha256 = "ab" } }'
    one = '{ url = "https://example.org/lib.whl", hashes = { sha256 = "aa" } }'
    assert set(read_pylock(PYLOCK.replace(one, two))) != set(read_pylock(PYLOCK))


def test_a_pylock_without_packages_names_nothing():
    assert read_pylock('lock-version = "1.0"\n') == []


def test_artefacts_of_several_pylocks_are_united_and_sorted():
    assert [a.name for a in pinned(pylocks=(PYLOCK, PYLOCK)).artefacts] == [
        "archived",
        "hosted",
        "lib",
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("k 1", "k 2", "layer heavy was built again"),
        ("k 1", "l 1", "layer heavy k -> l"),
    ],
)
def test_a_layer_that_was_built_again_says_so(before, after, said):
    assert explain({"layer heavy": before}, {"layer heavy": after}) == [said]


def test_equal_pins_have_equal_keys():
    assert pinned().key() == pinned().key()


@pytest.mark.parametrize(
    "changes",
    [
        {"interpreter": python(version="3.12.5")},
        {"interpreter": python(real_path="/usr/bin/python3.12")},
        {"interpreter": python(abi="cpython-312d")},
        {"interpreter": python(libc="musl 1.2")},
        {"interpreter": python(platform="linux-aarch64")},
        {"interpreter": python(implementation="pypy")},
        {"pylocks": (PYLOCK.replace("aa", "ee"),)},
        {"pylocks": ()},
        {"sources": (Source("/src/tree", "d2", editable=True),)},
        {"sources": (Source("/src/tree", "d1", editable=False),)},
        {"sources": (Source("/src/other", "d1", editable=True),)},
        {"sources": ()},
        {"spec": EnvSpec(variables=(("A", "1"),))},
        {"spec": EnvSpec(backend="conda")},
    ],
    ids=repr,
)
def test_whatever_changes_the_environment_changes_the_key(changes):
    assert pinned(**changes).key() != pinned().key()


@pytest.mark.parametrize(
    "changes",
    [
        {"interpreter": python(size=2000, mtime_ns=2)},
        {"interpreter": python(executable="/usr/local/bin/python")},
        {"spec": EnvSpec(requirements=("lib",))},
        {"spec": EnvSpec(lock="pylock.other.toml")},
        {"spec": EnvSpec(missing_interpreter="skip")},
        {"spec": EnvSpec(isolation="test")},
    ],
    ids=repr,
)
def test_what_does_not_change_the_content_leaves_the_key_alone(changes):
    assert pinned(**changes).key() == pinned().key()


def test_the_inputs_of_the_key_hold_no_variables_value():
    spec = EnvSpec(variables=(("TOKEN", "s3cret"),))
    assert "s3cret" not in repr(pinned(spec=spec).key_inputs())


def test_the_order_of_named_inputs_does_not_matter():
    assert digest_of({"a": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"})


def test_named_inputs_cannot_run_into_each_other():
    assert digest_of({"a": "1\nb='2'"}) != digest_of({"a": "1", "b": "2"})


def changes(old, new):
    return explain(old.key_inputs(), new.key_inputs())


def test_an_upgraded_interpreter_is_explained_with_both_versions():
    assert changes(pinned(), pinned(interpreter=python(version="3.12.5"))) == [
        "python 3.12.4 -> 3.12.5"
    ]


def test_an_upgraded_package_is_explained_with_both_versions():
    other = PYLOCK.replace('"1.0"\nwheels', '"1.1"\nwheels')
    assert changes(pinned(), pinned(pylocks=(other,))) == ["lib 1.0 -> 1.1"]


def test_other_files_of_the_same_version_are_explained_as_other_content():
    assert changes(pinned(), pinned(pylocks=(PYLOCK.replace("aa", "ee"),))) == [
        "lib: other content"
    ]


def test_an_edited_tree_is_explained_as_other_content():
    other = pinned(sources=(Source("/src/tree", "d2", editable=True),))
    assert changes(pinned(), other) == ["editable /src/tree: other content"]


def test_packages_that_come_and_go_are_explained():
    assert "lib removed" in changes(pinned(), pinned(pylocks=()))
    assert "lib added" in changes(pinned(pylocks=()), pinned())


def test_a_changed_variable_is_explained_without_its_value():
    before = pinned(spec=EnvSpec(variables=(("TOKEN", "one"),)))
    after = pinned(spec=EnvSpec(variables=(("TOKEN", "two"),)))
    assert changes(before, after) == ["variable TOKEN: other content"]


def test_equal_inputs_need_no_explanation():
    assert changes(pinned(), pinned()) == []


def test_a_wheel_is_told_from_a_tree():
    assert Source("/dist/lib-1.0-py3-none-any.whl", "d").is_wheel
    assert not Source("/src/lib", "d").is_wheel
