"""Matrices: axes and their values, what is left out and added, and the names that come of it."""

from __future__ import annotations

import pytest

from pytest_isoenv import _matrix


@pytest.fixture
def cells():
    def cells(matrix, family="web", **more):
        found, problems = _matrix.cells(family, {"matrix": matrix, **more}, "x")
        assert problems == []
        return {cell.name: dict(cell.fields) for cell in found}

    return cells


@pytest.fixture
def wrong():
    def wrong(matrix, **more):
        _, problems = _matrix.cells("web", {"matrix": matrix, **more}, "x")
        assert problems
        return "\n".join(map(str, problems))

    return wrong


def test_every_combination_is_one_in_the_order_of_the_declaration(cells):
    found = cells({"web": ["1.10.*", "2.*"], "python": ["3.10", "3.13"]})
    assert list(found) == ["1.10-py3.10", "1.10-py3.13", "2-py3.10", "2-py3.13"]
    assert found["1.10-py3.13"] == {"dependencies": ["web==1.10.*"], "python": "3.13"}


@pytest.mark.parametrize(
    ("axis", "value", "name", "fields"),
    [
        ("web", "2.3", "2.3", {"dependencies": ["web==2.3"]}),
        ("Web", ">=2,<3", ">=2,<3", {"dependencies": ["Web>=2,<3"]}),
        ("lib", "==1.0", "lib1.0", {"dependencies": ["lib==1.0"]}),
        ("lib", "~=1.4", "lib~=1.4", {"dependencies": ["lib~=1.4"]}),
        ("lib[fast]", "1.0", "lib1.0", {"dependencies": ["lib[fast]==1.0"]}),
        ("python", "pypy3.11", "pypy3.11", {"python": "pypy3.11"}),
        ("python", ">=3.10", ">=3.10", {"python": ">=3.10"}),
        ("resolution", "lowest-direct", "lowest-direct", {"resolution": "lowest-direct"}),
        ("backend", "venv", "venv", {"backend": "venv"}),
        ("group", "docs", "docs", {"groups": ["docs"]}),
        ("extra", "fast", "fast", {"extras": ["fast"]}),
        ("env.DB", "sqlite", "sqlite", {"env": {"DB": "sqlite"}}),
    ],
)
def test_an_axis_is_a_package_or_a_field(cells, axis, value, name, fields):
    assert cells({axis: [value]}) == {name: fields}


def test_a_star_asks_for_any_version_if_it_has_an_id(cells):
    assert cells({"lib": {"any": "*"}}) == {"any": {"dependencies": ["lib"]}}


def test_ids_of_an_axis_stand_in_the_name(cells):
    found = cells({"lib": {"old": ">=1,<2", "new": "@ https://x.test/lib-2.whl"}})
    assert found["old"] == {"dependencies": ["lib>=1,<2"]}
    assert found["new"] == {"dependencies": ["lib @ https://x.test/lib-2.whl"]}


def test_several_entries_of_one_field_are_gathered(cells):
    (fields,) = cells({"a": ["1"], "b": ["2"], "env.X": ["x"], "env.Y": ["y"]}).values()
    assert fields == {"dependencies": ["a==1", "b==2"], "env": {"X": "x", "Y": "y"}}


def test_what_is_excluded_is_left_out_by_value_or_by_id(cells):
    matrix = {"web": {"v1": "1.*", "v2": "2.*"}, "python": ["3.10", "3.13"]}
    found = cells(matrix, exclude=[{"web": "v1", "python": "3.13"}, {"web": "2.*"}])
    assert list(found) == ["v1-py3.10"]


def test_what_is_included_comes_last_and_may_have_other_axes(cells):
    found = cells(
        {"web": {"v1": "1.*"}},
        include=[{"web": "v1", "python": "3.14"}, {"lib": "9"}],
    )
    assert list(found) == ["v1", "v1-py3.14", "lib9"]
    assert found["v1-py3.14"] == {"dependencies": ["web==1.*"], "python": "3.14"}


@pytest.mark.parametrize(
    ("matrix", "more", "words"),
    [
        ({}, {}, "x.matrix: {} is not a mapping of axes to lists of values"),
        (None, {}, "x.matrix: None is not a mapping"),
        (["3.10"], {}, "is not a mapping of axes"),
        ({"python": []}, {}, "x.matrix.python: [] is neither a list of values nor a mapping"),
        ({"python": "3.10"}, {}, "'3.10' is neither a list of values"),
        ({"python": [3.10]}, {}, "3.1 is not a text; a version is written in quotes: '3.10'"),
        ({"python": ["3.10", "3.10"]}, {}, "two values have the id 'py3.10'"),
        ({"not a name": ["1"]}, {}, "no version of a package 'not a name'"),
        ({"lib": ["one"]}, {}, "'one' is no version of a package 'lib'"),
        ({"env.X": ["a b"]}, {}, "'a b' cannot stand in a name; give it an id: {id: 'a b'}"),
        ({"lib": ["1"]}, {"exclude": [{"lib": "2"}]}, "x.exclude.lib: '2' is not in the matrix"),
        (
            {"lib": ["1"]},
            {"exclude": [{"other": "2"}]},
            "'other' is no axis of the matrix; these are: lib",
        ),
        ({"lib": ["1"]}, {"exclude": [{"lib": "1"}]}, "x.matrix: it has no combination left"),
        ({"lib": ["1"]}, {"exclude": {"lib": "1"}}, "is not a list of mappings of axes"),
        ({"lib": ["1"]}, {"include": [{}]}, "x.include: [{}] is not a list of mappings"),
        ({"lib": ["1"]}, {"include": [{"python": 3}]}, "x.include.python: 3 is not a text"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(wrong, matrix, more, words):
    assert words in wrong(matrix, **more)


def test_an_exclusion_of_no_combination_is_an_error(wrong):
    matrix = {"lib": ["1", "2"], "python": ["3.10"]}
    exclude = [{"lib": "1"}, {"lib": "1", "python": "3.10"}, {"lib": "2", "python": "3.10"}]
    assert "no combination left" in wrong(matrix, exclude=exclude)
