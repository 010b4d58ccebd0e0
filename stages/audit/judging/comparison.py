"""Comparisons over seeds: the tests that the verdicts rest on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats

LEVEL = 0.05
"""Two-sided error of every test, shared among the comparisons of one claim by Holm's method."""
POWER = 0.8
FEWEST_PAIRS = 3
"""With fewer pairs nothing is compared."""


@dataclass(frozen=True)
class Comparison:
    """What pairs of values, one pair per seed, say about their difference."""

    pairs: int
    difference: float
    """Mean of the second minus the first; NaN without pairs."""
    p: float
    """Two-sided, of Student's paired t-test; NaN with fewer than three pairs."""
    detectable: float
    """The smallest true difference that such a test finds with a probability of 80 % at a level of
    5 %, if the differences scatter as these do; NaN with fewer than three pairs."""


def paired(first: pd.Series, second: pd.Series) -> Comparison:
    """Compare two quantities of the same seeds by Student's paired t-test.

    Args:
        first: By seed; missing values leave their seed out.
        second: By seed.
    """
    differences = (second - first).dropna().to_numpy(dtype=float)
    pairs = len(differences)
    mean = float(differences.mean()) if pairs else np.nan
    if pairs < FEWEST_PAIRS:
        return Comparison(pairs, mean, np.nan, np.nan)
    deviation = float(differences.std(ddof=1))
    if deviation == 0:
        return Comparison(pairs, mean, float(mean == 0), 0.0)
    distance = abs(mean) / deviation * np.sqrt(pairs)
    p = 2 * float(stats.t.sf(distance, df=pairs - 1))
    return Comparison(pairs, mean, p, deviation * detectable_effect(pairs))


def detectable_effect(pairs: int) -> float:
    """Compute the effect, in standard deviations, that a paired t-test finds with 80 % probability.

    Cohen, "Statistical Power Analysis for the Behavioral Sciences" (1988), chapter 2, by the
    noncentral t distribution.
    """
    freedom = pairs - 1
    bound = stats.t.ppf(1 - LEVEL / 2, freedom)

    def missing_power(effect: float) -> float:
        # That it finds the wrong sign is too unlikely to count.
        return float(stats.nct.sf(bound, freedom, effect * np.sqrt(pairs))) - POWER

    return float(optimize.brentq(missing_power, 1e-3, 10))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for their number (Holm, 1979); missing ones stay missing and do not count."""
    known = sorted((p, place) for place, p in enumerate(p_values) if not np.isnan(p))
    adjusted = [np.nan] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[place] = highest
    return adjusted


def sign_test(gained: int, lost: int) -> float:
    """Compute the two-sided p value of the exact sign test; NaN where nothing changed."""
    if gained + lost == 0:
        return np.nan
    return float(stats.binomtest(gained, gained + lost).pvalue)


def trend(values: pd.DataFrame) -> tuple[float, float]:
    """Test for a monotone trend over rates, seeds being blocks (Page, 1963).

    Args:
        values: (seeds, rates), rates in increasing order, nothing missing.

    Returns:
        The p values of a falling and of a rising trend, each one-sided; NaN with fewer than three
        rates or two seeds.
    """
    if values.shape[1] < 3 or values.shape[0] < 2:
        return np.nan, np.nan
    # scipy's own test ranks in the hypothesized order: falling is rising in the reverse order.
    falling = stats.page_trend_test(values.to_numpy()[:, ::-1]).pvalue
    rising = stats.page_trend_test(values.to_numpy()).pvalue
    return float(falling), float(rising)
