"""Comparisons over seeds, against scipy, closed forms and simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.audit.judging.comparison import detectable_effect, holm, paired, sign_test, trend


def test_paired_comparison_is_scipys() -> None:
    first = pd.Series([0.3, 0.1, 0.5, np.nan, 0.4], index=[1, 2, 3, 4, 5])
    second = pd.Series([0.2, 0.9, 0.7, 0.6, 0.8], index=[5, 4, 3, 2, 1])
    found = paired(first, second)
    known = [1, 2, 3, 5]
    expected = stats.ttest_rel(second.loc[known].to_numpy(), first.loc[known].to_numpy())
    assert found.pairs == 4
    assert found.difference == pytest.approx((second[known] - first[known]).mean())
    assert found.p == pytest.approx(expected.pvalue)


def test_detectable_difference_is_found_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    effect = detectable_effect(5)
    draws = generator.normal(effect, 1, (20_000, 5))
    found = stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_differences_that_do_not_scatter_need_no_test() -> None:
    values = pd.Series([0.1, 0.2, 0.3])
    assert paired(values, values).p == 1
    shifted = paired(pd.Series([0.0, 1.0, 2.0]), pd.Series([1.0, 2.0, 3.0]))
    assert (shifted.difference, shifted.p) == (1.0, 0.0)


@pytest.mark.parametrize("pairs", [0, 1, 2])
def test_fewer_than_three_pairs_are_not_tested(pairs: int) -> None:
    found = paired(pd.Series(range(pairs), dtype=float), pd.Series(range(pairs), dtype=float) + 1)
    assert found.pairs == pairs
    assert math.isnan(found.p)
    assert math.isnan(found.detectable)


def test_holm_multiplies_by_the_number_of_hypotheses_left() -> None:
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx(
        [0.03, math.nan, 0.06, 0.06], nan_ok=True
    )
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_sign_test_is_the_binomial_one() -> None:
    assert sign_test(6, 0) == pytest.approx(2 * 0.5**6)
    assert sign_test(2, 2) == 1
    assert math.isnan(sign_test(0, 0))


def test_trend_tells_falling_from_rising() -> None:
    rising = pd.DataFrame(np.arange(20).reshape(5, 4))
    falling_p, rising_p = trend(rising)
    assert rising_p < 0.001
    assert falling_p > 0.99
    assert trend(rising.iloc[:, ::-1])[0] == rising_p
    assert all(math.isnan(p) for p in trend(rising.iloc[:, :2]))
