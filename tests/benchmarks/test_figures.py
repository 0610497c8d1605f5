"""Medians, quartiles and ratios are what they are called."""

from __future__ import annotations

import pytest

from tests.benchmarks.figures import Ratio, Spread, ratio, spread


def test_the_spread_is_the_median_and_the_quartiles_around_it():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0)


def test_one_number_has_no_spread():
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)


def test_a_ratio_is_one_of_medians_not_of_the_best_or_of_means():
    found = ratio([1.0, 2.0, 90.0], [4.0, 4.0, 1.0])
    assert found is not None
    assert found.value == 0.5


def test_the_quartiles_of_a_ratio_are_those_of_the_pairs_of_each_round():
    # The machine was busy in every other round; each pair has had the same of it.
    found = ratio([1.0, 10.0, 1.0, 10.0], [2.0, 20.0, 2.0, 20.0])
    assert found == Ratio(0.5, 0.5, 0.5)


def test_what_both_have_in_common_is_taken_away():
    found = ratio([3.0, 3.0], [6.0, 6.0], common=[2.0, 2.0])
    assert found == Ratio(0.25, 0.25, 0.25)


def test_a_scale_makes_it_a_ratio_of_single_things():
    found = ratio([24.0], [4.0], scale=4 / 24)
    assert found == Ratio(1.0, 1.0, 1.0)


@pytest.mark.parametrize("common", [[6.0], [7.0]])
def test_there_is_no_ratio_to_nothing(common):
    assert ratio([3.0], [6.0], common=common) is None
