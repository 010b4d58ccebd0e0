"""The statistics that the verdicts rest on: exact tests, effects with intervals, sample sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.nonparametric import samplesize_rank_compare_onetail
from statsmodels.stats.power import normal_sample_size_one_tail
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    samplesize_proportions_2indep_onetail,
)

LEVEL = 0.05
"""Family-wise error rate of the tests."""
POWER = 0.8
"""Power of the sample sizes: how often so many networks, like those seen, would decide."""
DRAWS = 9_999
"""Resamples of a bootstrap."""
INTERVAL = (0.025, 0.975)
TIE = 1e-9
"""Values closer than this are equal: it is above the rounding of a sum of two floats."""
FARTHEST = 1e9
"""Stands for infinity where a median is taken: larger than any quantity."""
NUISANCE = np.linspace(0, 1, 1001)
"""Shares of the second sample at which the exact test of two shares is evaluated."""
MOST = 100_000
"""A sample size above this is reported as infinite."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Tails:
    """One-sided p values."""

    greater: float
    """How often chance alone makes the first sample as large as it is, or larger."""
    less: float

    @property
    def two_sided(self) -> float:
        """Twice the smaller of both, as scipy has it."""
        return min(1.0, 2 * min(self.greater, self.less))


@dataclass(frozen=True)
class Effect:
    """By how much the first of two samples is ahead, each with a 95 % interval."""

    value: float
    low: float
    high: float
    probability: float = np.nan
    """That a network of the first sample beats one of the second; ties count half."""
    probability_low: float = np.nan
    probability_high: float = np.nan

    def times(self, factor: float) -> "Effect":
        """Multiply the effect, not the probability."""
        value, low, high = self.value * factor, self.low * factor, self.high * factor
        return replace(self, value=value, low=low, high=high)

    def minus(self, amount: float) -> "Effect":
        """Subtract from the effect."""
        value, low, high = self.value - amount, self.low - amount, self.high - amount
        return replace(self, value=value, low=low, high=high)


NOTHING = Effect(np.nan, np.nan, np.nan)


def rank_sum(first: Values, second: Values, ahead: float = 0.0) -> Tails:
    """Test exactly whether two samples differ by more than an amount.

    The statistic is the sum of the first sample's ranks among all values, ties sharing their mean
    rank. Its distribution over all ways to divide the values into two samples of these sizes is
    counted, not drawn (Streitberg and Röhmel, "Exact distributions for permutation and rank tests",
    1986).

    Args:
        first: Values, of which -inf are the worst.
        second: Likewise.
        ahead: What the first sample is ahead by under the null hypothesis.
    """
    if not len(first) or not len(second):
        return Tails(1.0, 1.0)
    twice = np.rint(2 * _ranks(first, second + ahead)).astype(int)
    counts = _arrangements(len(first), tuple(np.sort(twice).tolist()))
    observed, total = twice[: len(first)].sum(), counts.sum()
    return Tails(
        float(counts[observed:].sum() / total), float(counts[: observed + 1].sum() / total)
    )


def sum_of_ranks(first: Values, second: Values) -> float:
    """Add up the first sample's ranks among all values; NaN if a sample is empty."""
    if not len(first) or not len(second):
        return np.nan
    return float(_ranks(first, second)[: len(first)].sum())


def _ranks(first: Values, second: Values) -> Values:
    """Rank all values, rounded first: the rounding of a sum of two floats must not break a tie."""
    return stats.rankdata(np.concatenate([first, second]).round(9))


@lru_cache(maxsize=1024)
def _arrangements(size: int, ranks: tuple[int, ...]) -> Values:
    """Count, for every sum, the subsets of `size` ranks that add up to it."""
    counts: Values = np.zeros((size + 1, sum(ranks[-size:]) + 1))
    counts[0, 0] = 1
    for rank in ranks:
        # The right-hand side is a copy, so that no rank is taken twice.
        counts[1:, rank:] += counts[:-1, : counts.shape[1] - rank].copy()
    return counts[size].copy()  # not a view, which would keep all of `counts`


def fisher(count: int, size: int, other_count: int, other_size: int) -> float:
    """Test whether two shares differ: Fisher's exact test, two-sided."""
    if not size or not other_size:
        return 1.0
    table = np.array([[count, size - count], [other_count, other_size - other_count]])
    return float(stats.fisher_exact(table).pvalue)


@lru_cache(maxsize=4096)
def shares_within(count: int, size: int, other_count: int, other_size: int, margin: float) -> float:
    """Test exactly whether the first share exceeds the second by less than a margin.

    The statistic is that of Agresti and Caffo (2000). The second share is unknown, so the p value
    is the largest over its possible values (Chan, "Exact tests of equivalence and efficacy with a
    non-zero lower bound", 1998), here over `NUISANCE`.

    Returns:
        The p value of the null hypothesis that the first share exceeds the second by the margin or
        more.
    """
    if not size or not other_size:
        return 1.0

    def statistic(x: Values, y: Values) -> Values:
        first, second = (x + 1) / (size + 2), (y + 1) / (other_size + 2)
        variance = first * (1 - first) / (size + 2) + second * (1 - second) / (other_size + 2)
        return (first - second - margin) / np.sqrt(variance)

    x, y = np.arange(size + 1.0)[:, None], np.arange(other_size + 1.0)
    seen = statistic(np.asarray(float(count)), np.asarray(float(other_count)))
    region = (statistic(x, y) <= seen + 1e-9).astype(float)
    first, second = _counts(size, margin, margin), _counts(other_size, 0.0, margin)
    return float(min(1.0, np.einsum("qx,xy,qy->q", first, region, second, optimize=True).max()))


@lru_cache(maxsize=64)
def _counts(size: int, ahead: float, margin: float) -> Values:
    """Compute the probability of each count, (shares, size + 1), in a sample of a size.

    Its share is each of `NUISANCE` that leaves room for the margin above it, plus `ahead`.
    """
    shares = NUISANCE[1 - margin + 1e-9 >= NUISANCE]
    shares = np.minimum(1, shares + ahead)[:, None]
    return np.asarray(stats.binom.pmf(np.arange(size + 1), size, shares))


def against_bound(count: int, size: int, bound: float) -> Tails:
    """Test a share against a bound: the exact binomial test."""
    if not size:
        return Tails(1.0, 1.0)
    return Tails(
        float(stats.binom.sf(count - 1, size, bound)), float(stats.binom.cdf(count, size, bound))
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's method; missing ones do not count.

    statsmodels has it too, but collects all garbage in each of a thousand calls.
    """
    values = np.array(p_values, dtype=float)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # missing ones sort last
    times = np.arange(len(order), 0, -1)
    values[order] = np.minimum(1, np.maximum.accumulate(times * values[order]))
    return values.tolist()


def effect(first: Values, second: Values) -> Effect:
    """Measure how far ahead the first sample is, over all pairs of one value from each sample.

    Returns:
        The median difference (Hodges and Lehmann, 1963) and the probability of improvement, with
        percentile intervals of a bootstrap over the networks of both samples.
    """
    if not len(first) or not len(second):
        return NOTHING
    ahead = _pairs(first, second)
    wins = (ahead > TIE) + 0.5 * (np.abs(ahead) <= TIE)
    ours, theirs = _resamples(len(first)), _resamples(len(second), seed=1)
    medians, probabilities = _resampled(ahead, wins, ours, theirs)
    # No interpolation: between a number and infinity there is nothing.
    low, high = np.quantile(medians, INTERVAL, method="inverted_cdf")
    chances = np.quantile(probabilities, INTERVAL)
    return Effect(
        _endless(float(np.median(ahead))),
        _endless(float(low)),
        _endless(float(high)),
        float(wins.mean()),
        float(chances[0]),
        float(chances[1]),
    )


def _pairs(first: Values, second: Values) -> Values:
    """Subtract each second value from each first one; two worst values (-inf) are equal."""
    first, second = (np.clip(each, -FARTHEST, FARTHEST) for each in (first, second))
    return np.subtract.outer(first, second)


@lru_cache(maxsize=16)
def _resamples(size: int, seed: int = 0) -> Values:
    """Draw bootstrap samples: how often each draw contains each place, (places, draws)."""
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=DRAWS)
    return np.ascontiguousarray(drawn.T, dtype=float)


def _resampled(ahead: Values, wins: Values, ours: Values, theirs: Values) -> tuple[Values, Values]:
    """Compute the median (the lower of the middle two) and the share of wins in every resample.

    Args:
        ahead: (first sample, second sample), a difference for each pair.
        wins: The same shape: 1 where the first is ahead, one half where they tie.
        ours: (first sample, draws), how often a resample has each.
        theirs: (second sample, draws).

    Returns:
        Two arrays, (draws,): medians and shares of wins.
    """
    order = np.argsort(ahead, axis=None)
    below, place, won = np.zeros(DRAWS), np.zeros(DRAWS, dtype=int), np.zeros(DRAWS)
    for i, j in zip(*np.unravel_index(order, ahead.shape), strict=True):
        pairs = ours[i] * theirs[j]
        below += pairs
        place += below < ahead.size / 2
        won += wins[i, j] * pairs
    return ahead.ravel()[order][place], won / ahead.size


def _endless(value: float) -> float:
    return value if abs(value) < FARTHEST / 4 else float(np.copysign(np.inf, value))


def median_ahead(first: Values, second: Values) -> float:
    """Measure how far ahead the first sample is, without an interval."""
    if not len(first) or not len(second):
        return np.nan
    return _endless(float(np.median(_pairs(first, second))))


def share(count: int, size: int) -> Effect:
    """Estimate a share, with Wilson's interval."""
    if not size:
        return NOTHING
    low, high = proportion_confint(count, size, method="wilson")
    return Effect(count / size, float(low), float(high))


def share_difference(count: int, size: int, other_count: int, other_size: int) -> Effect:
    """Estimate the first share minus the second, with Newcombe's interval."""
    if not size or not other_size:
        return NOTHING
    low, high = confint_proportions_2indep(
        count, size, other_count, other_size, method="newcomb", compare="diff"
    )
    return Effect(count / size - other_count / other_size, float(low), float(high))


def networks_to_tell(first: Values, second: Values, level: float, ahead: float = 0.0) -> float:
    """Say how many networks of each sample a one-sided rank-sum test needs.

    The method is that of Happ, Bathke and Brunner (2019). It assumes that further networks are
    distributed like these.

    Args:
        first: Values of the sample that the test should find ahead.
        second: Values of the other sample.
        level: Significance level of the test.
        ahead: The first sample has to be ahead by more than this.

    Returns:
        A whole number; infinite where the first sample is not ahead, or hardly.
    """
    if len(first) < 2 or len(second) < 2:
        return np.inf
    ranks = _ranks(first, second + ahead)
    ours, theirs = ranks[: len(first)], ranks[len(first) :]
    wins = (ours[:, None] > theirs).mean() + 0.5 * (ours[:, None] == theirs).mean()
    if wins <= 0.501:
        return np.inf
    found = samplesize_rank_compare_onetail(ours, theirs, level, POWER, 1.0, "larger")
    return _whole(found.nobs_ref)


def networks_to_tell_shares(first: float, second: float, level: float, ahead: float = 0.0) -> float:
    """Say how many networks of each sample tell that the first share is larger, one-sided."""
    difference = first - second - ahead
    if not difference > 0:
        return np.inf
    # A share of 0 or 1 has no variance. With more networks the share would hardly stay so extreme.
    second = float(np.clip(second, 0.02, 0.98))
    difference = min(difference, 0.98 - second)
    if difference <= 0:
        return np.inf
    return _whole(
        samplesize_proportions_2indep_onetail(
            difference, second, power=POWER, alpha=level, alternative="larger"
        )
    )


def networks_to_tell_bound(true: float, bound: float, level: float) -> float:
    """Say how many networks tell on which side of a bound a share lies, one-sided."""
    if not np.isfinite(true) or abs(true - bound) < 0.01:
        return np.inf
    expected, seen = (np.sqrt(each * (1 - each)) for each in (bound, true))
    return _whole(normal_sample_size_one_tail(true - bound, POWER, level, expected, seen))


def _whole(number: float) -> float:
    return float(np.ceil(number)) if number <= MOST else np.inf
