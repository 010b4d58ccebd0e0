"""The audit's statistics, against scipy, statsmodels, closed forms and simulation."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from stages.audit.judging import statistics
from stages.audit.judging.statistics import (
    against_bound,
    effect,
    fisher,
    holm,
    median_ahead,
    networks_to_tell,
    networks_to_tell_bound,
    networks_to_tell_shares,
    rank_sum,
    share,
    share_difference,
    shares_within,
    sum_of_ranks,
)

GENERATOR = np.random.default_rng(7)
NONE = np.array([])


@pytest.mark.parametrize(("size", "other"), [(5, 5), (10, 10), (20, 20), (4, 13)])
def test_rank_sum_test_is_scipys_where_nothing_ties(size: int, other: int) -> None:
    first, second = GENERATOR.normal(0.5, 1, size), GENERATOR.normal(0, 1, other)
    found = rank_sum(first, second)
    for alternative, p in (
        ("greater", found.greater),
        ("less", found.less),
        ("two-sided", found.two_sided),
    ):
        expected = stats.mannwhitneyu(first, second, alternative=alternative, method="exact")
        assert p == pytest.approx(expected.pvalue, rel=1e-9)


def test_rank_sum_test_is_scipys_permutation_test_where_values_tie() -> None:
    first = np.array([-np.inf, -np.inf, 3.0, 3.0, 4.0, 6.0])
    second = np.array([-np.inf, 1.0, 1.0, 3.0, 2.0])
    ranks = stats.rankdata(np.concatenate([first, second]))

    def statistic(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        del theirs
        total: np.ndarray = ours.sum(axis=axis)
        return total

    found = rank_sum(first, second)
    for alternative, p in (
        ("greater", found.greater),
        ("less", found.less),
        ("two-sided", found.two_sided),
    ):
        expected = stats.permutation_test(
            (ranks[:6], ranks[6:]), statistic, alternative=alternative, n_resamples=np.inf
        )
        assert p == pytest.approx(expected.pvalue, rel=1e-9)
    assert sum_of_ranks(first, second) == ranks[:6].sum()


def test_equal_values_that_floats_tell_apart_are_equal() -> None:
    first, second = np.array([0.3, 0.3]), np.array([0.1, 0.1])
    found = rank_sum(first, second, 0.2)  # 0.1 + 0.2 is not 0.3
    assert (found.greater, found.less, found.two_sided) == (1.0, 1.0, 1.0)


def test_rank_sum_test_shifts_the_second_sample() -> None:
    first, second = np.array([4.0, 5.0, 6.0]), np.array([1.0, 2.0, 3.0])
    assert rank_sum(first, second).greater == pytest.approx(1 / 20)
    assert rank_sum(first, second, 1.5).greater == pytest.approx(2 / 20)
    assert rank_sum(first, second, 6).less == pytest.approx(1 / 20)
    assert rank_sum(first, second, -6).greater == pytest.approx(1 / 20)


def test_nothing_is_told_of_an_empty_sample() -> None:
    some = np.array([1.0, 2.0])
    for first, second in ((NONE, some), (some, NONE)):
        found = rank_sum(first, second)
        assert (found.greater, found.less, found.two_sided) == (1.0, 1.0, 1.0)
        assert np.isnan(sum_of_ranks(first, second))
        assert np.isnan(effect(first, second).value)
        assert np.isnan(median_ahead(first, second))
    assert fisher(0, 0, 1, 2) == fisher(1, 2, 0, 0) == 1
    assert shares_within(0, 0, 1, 2, 0.2) == shares_within(1, 2, 0, 0, 0.2) == 1
    assert (against_bound(0, 0, 0.2).greater, against_bound(0, 0, 0.2).less) == (1, 1)
    assert np.isnan(share(0, 0).value)
    assert np.isnan(share_difference(1, 2, 0, 0).value)
    assert np.isnan(share_difference(0, 0, 1, 2).value)


def test_fishers_test_is_that_of_the_hypergeometric_distribution() -> None:
    # 3 of 4 against 1 of 4: Fisher's tea.
    assert fisher(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert fisher(4, 4, 0, 4) == pytest.approx(2 / 70)


def test_a_share_is_held_against_a_bound_exactly() -> None:
    found = against_bound(0, 20, 0.25)
    assert found.less == pytest.approx(0.75**20)
    assert found.greater == 1
    found = against_bound(9, 10, 0.8)
    assert found.greater == pytest.approx(10 * 0.8**9 * 0.2 + 0.8**10)
    assert found.less == pytest.approx(1 - 0.8**10)


def test_a_difference_of_shares_is_bounded_exactly() -> None:
    # None of 20 against none of 20: most likely, under a difference of 20 points, at 0.2 and 0.
    assert shares_within(0, 20, 0, 20, 0.2) == pytest.approx(0.8**20)
    assert shares_within(20, 20, 0, 20, 0.2) == pytest.approx(1)
    assert shares_within(20, 20, 20, 20, 0.2) == pytest.approx(0.8**20)
    assert shares_within(3, 20, 3, 20, 0.2) > shares_within(3, 20, 5, 20, 0.2)


@pytest.mark.parametrize("level", [0.05, 0.005])
def test_the_bound_on_a_difference_of_shares_keeps_its_level(level: float) -> None:
    size, other = 10, 8
    p = np.array(
        [[shares_within(x, size, y, other, 0.2) for y in range(other + 1)] for x in range(size + 1)]
    )
    for second in np.linspace(0, 0.8, 777):
        chance = np.outer(
            stats.binom.pmf(range(size + 1), size, second + 0.2),
            stats.binom.pmf(range(other + 1), other, second),
        )
        # Between the shares that are tried the tail could be a little larger.
        assert chance[p <= level].sum() <= 1.001 * level


@pytest.mark.parametrize("values", [[0.01, 0.04, 0.03], [0.9, 0.8], [0.2], [], [0.01, 0.01, 0.5]])
def test_holms_correction_is_statsmodels(values: list[float]) -> None:
    expected = multipletests(values, method="holm")[1] if values else []
    assert holm(values) == pytest.approx(expected)


def test_holms_correction_leaves_missing_values_out() -> None:
    expected = [0.03, np.nan, 0.06, 0.06]
    assert holm([0.01, np.nan, 0.04, 0.03]) == pytest.approx(expected, nan_ok=True)


def test_effect_is_the_median_difference_of_pairs_and_the_share_of_wins() -> None:
    found = effect(np.array([1.0, 3.0, 8.0]), np.array([1.0, 2.0]))
    # Differences 0 -1 2 1 7 6.
    assert found.value == 1.5
    assert found.probability == pytest.approx(4.5 / 6)
    assert median_ahead(np.array([1.0, 3.0, 8.0]), np.array([1.0, 2.0])) == 1.5


def test_interval_covers_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 499)
    statistics._resamples.cache_clear()
    generator = np.random.default_rng(1)
    inside, improved = 0, 0
    truth = stats.norm.cdf(1 / np.sqrt(2))
    for _ in range(300):
        found = effect(generator.normal(1, 1, 20), generator.normal(0, 1, 20))
        inside += found.low <= 1 <= found.high
        improved += found.probability_low <= truth <= found.probability_high
    statistics._resamples.cache_clear()
    assert inside / 300 == pytest.approx(0.95, abs=0.035)
    assert improved / 300 == pytest.approx(0.95, abs=0.035)


def test_interval_is_about_that_of_scipys_bootstrap() -> None:
    first, second = GENERATOR.normal(1, 1, 15), GENERATOR.normal(0, 1, 12)

    def wins(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        del axis
        return (ours[..., :, None] > theirs[..., None, :]).mean(axis=(-2, -1))

    expected = stats.bootstrap(
        (first, second), wins, n_resamples=9_999, method="percentile", vectorized=True, rng=0
    ).confidence_interval
    found = effect(first, second)
    assert found.probability_low == pytest.approx(expected.low, abs=0.02)
    assert found.probability_high == pytest.approx(expected.high, abs=0.02)
    assert found.low < found.value < found.high


def test_the_effect_of_a_cell_most_of_which_is_lost_is_endless() -> None:
    lost, alive = np.full(6, -np.inf), np.arange(6.0)
    assert effect(lost, alive).value == -np.inf
    assert effect(alive, lost).value == np.inf
    assert (effect(alive, lost).low, effect(alive, lost).high) == (np.inf, np.inf)
    assert effect(lost, lost).value == 0
    assert effect(lost, lost).probability == 0.5
    assert median_ahead(lost, alive) == -np.inf
    few = np.concatenate([lost[:1], alive])
    assert effect(few, alive).value == -0.5
    assert np.isfinite(effect(few, alive).high)


def test_shares_have_wilsons_and_newcombes_intervals() -> None:
    found = share(4, 20)
    expected = stats.binomtest(4, 20).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((0.2, *expected))
    # Newcombe (1998), table II, method 10, contrast a: 56 of 70 less 48 of 80.
    found = share_difference(56, 70, 48, 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_effects_are_scaled_and_shifted_without_their_probabilities() -> None:
    found = statistics.Effect(1.0, 0.5, 2.0, 0.9, 0.8, 0.95)
    assert found.times(100) == statistics.Effect(100.0, 50.0, 200.0, 0.9, 0.8, 0.95)
    assert found.minus(0.25) == statistics.Effect(0.75, 0.25, 1.75, 0.9, 0.8, 0.95)


def test_so_many_networks_find_a_difference_as_often_as_told() -> None:
    normal = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    needed = networks_to_tell(normal + 1, normal, 0.025)
    generator = np.random.default_rng(3)
    first = generator.normal(1, 1, (1000, int(needed)))
    second = generator.normal(0, 1, (1000, int(needed)))
    found = stats.mannwhitneyu(first, second, alternative="greater", axis=1).pvalue < 0.025
    assert found.mean() == pytest.approx(0.8, abs=0.04)
    assert networks_to_tell(normal, normal + 1, 0.025) == np.inf
    assert networks_to_tell(normal, normal, 0.025) == np.inf
    assert networks_to_tell(normal, normal + 0.5, 0.025, -1.5) == needed
    assert networks_to_tell(normal[:1], normal - 5, 0.025) == np.inf
    assert networks_to_tell(normal, normal[:1] - 5, 0.025) == np.inf


@pytest.mark.parametrize(("true", "bound"), [(0.4, 0.25), (0.1, 0.25), (0.95, 0.8)])
def test_so_many_networks_tell_the_side_of_a_bound_as_often_as_told(
    true: float, bound: float
) -> None:
    needed = int(networks_to_tell_bound(true, bound, 0.05))
    counts = np.random.default_rng(0).binomial(needed, true, 4000)
    tails = stats.binom.sf(counts - 1, needed, bound), stats.binom.cdf(counts, needed, bound)
    # The exact test is more careful than the formula.
    assert (tails[int(true < bound)] < 0.05).mean() == pytest.approx(0.77, abs=0.05)


def test_no_number_of_networks_tells_a_share_from_itself() -> None:
    assert networks_to_tell_bound(0.25, 0.25, 0.05) == np.inf
    assert networks_to_tell_bound(0.255, 0.25, 0.05) == np.inf
    assert networks_to_tell_bound(np.nan, 0.25, 0.05) == np.inf
    assert networks_to_tell_shares(0.3, 0.3, 0.05) == np.inf
    assert networks_to_tell_shares(0.2, 0.3, 0.05) == np.inf


def test_so_many_networks_tell_two_shares_apart_as_often_as_told() -> None:
    needed = int(networks_to_tell_shares(0.6, 0.3, 0.025))
    generator = np.random.default_rng(0)
    pairs = generator.binomial(needed, [[0.6], [0.3]], (2, 400))
    found = [
        stats.fisher_exact([[x, needed - x], [y, needed - y]], "greater").pvalue < 0.025
        for x, y in pairs.T
    ]
    # Fisher's test is more careful than the formula's.
    assert np.mean(found) == pytest.approx(0.75, abs=0.08)
    assert networks_to_tell_shares(1.0, 0.0, 0.025) < 10
    assert networks_to_tell_shares(0.3, 0.3, 0.05, -0.2) < np.inf
