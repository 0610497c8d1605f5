"""Several mentions of a package, and what remains of them."""

from __future__ import annotations

from pytest_isoenv._mentions import unite_requirements


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
