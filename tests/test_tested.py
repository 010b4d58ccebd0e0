"""How many networks per cell would decide, compared with statsmodels and a closed form."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.nonparametric import samplesize_rank_compare_onetail
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from stages.audit.judging.statistics import POWER
from stages.audit.judging.tested import NEVER_ENOUGH, Bounded, Counted, Enough, Ranked, Scale

POINTS, SHARE = Scale("points", 1, 0.5), Scale("share", 1, 20)
LEVELS = (0.02, 0.03, 0.04)
"""Those that the verdicts supported, refuted and equivalent are tested at."""


def for_ranks(ahead: list[float], behind: list[float], level: float) -> float:
    """Count the networks that a rank-sum test needs."""
    ranks = stats.rankdata([*ahead, *behind])
    samples = ranks[: len(ahead)], ranks[len(ahead) :]
    found = samplesize_rank_compare_onetail(*samples, level, POWER, 1.0, "larger")
    return float(np.ceil(found.nobs_ref))


def test_two_samples_need_what_a_rank_sum_test_needs() -> None:
    first, second = [0.1, 0.5, 0.9, 1.4], [0.0, 0.3, 0.8, 1.2]
    shifted = [value + 0.5 for value in first], [value + 0.5 for value in second]
    tested = Ranked(POINTS, *(np.array(values) for values in (first, second, first, second)))
    supported, refuted, equivalent = LEVELS
    assert tested.enough(*LEVELS) == Enough(
        for_ranks(first, second, supported / 2),
        for_ranks(shifted[1], first, refuted),
        max(
            for_ranks(shifted[1], first, equivalent),
            for_ranks(shifted[0], second, equivalent),
        ),
    )


def for_shares(difference: float, share: float, level: float) -> float:
    """Count the networks that tell a difference from a share."""
    settings = {"power": POWER, "alpha": level, "alternative": "larger"}
    return float(np.ceil(samplesize_proportions_2indep_onetail(difference, share, **settings)))


def test_two_shares_need_what_their_test_needs() -> None:
    supported, refuted, equivalent = LEVELS
    assert Counted(SHARE, 10, 20, 18, 40).enough(*LEVELS) == Enough(
        for_shares(0.5 - 0.45, 0.45, supported / 2),
        for_shares(0.45 - 0.5 + 0.2, 0.5, refuted),
        max(
            for_shares(0.45 - 0.5 + 0.2, 0.5, equivalent),
            for_shares(0.5 - 0.45 + 0.2, 0.45, equivalent),
        ),
    )
    # The other side decides how many tell that neither is ahead.
    assert Counted(SHARE, 9, 20, 20, 40).enough(*LEVELS).equivalent == for_shares(
        0.45 - 0.5 + 0.2, 0.5, equivalent
    )


@pytest.mark.parametrize("sizes", [(0, 0, 1, 2), (1, 2, 0, 0)])
def test_shares_of_no_networks_are_never_decided(sizes: tuple[int, int, int, int]) -> None:
    assert Counted(SHARE, *sizes).enough(*LEVELS) == NEVER_ENOUGH


def for_bound(share: float, bound: float, level: float) -> float:
    """Count the networks that tell a share from a bound, by the normal approximation."""
    spread = [np.sqrt(each * (1 - each)) for each in (bound, share)]
    quantiles = stats.norm.ppf([1 - level, POWER])
    return float(np.ceil((np.dot(quantiles, spread) / (share - bound)) ** 2))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (10, Enough(for_bound(0.5, 0.25, 0.02), np.inf, np.inf)),
        (2, Enough(np.inf, for_bound(0.1, 0.25, 0.03), np.inf)),
        (5, NEVER_ENOUGH),
    ],
)
def test_a_share_needs_what_the_side_of_its_bound_needs(count: int, expected: Enough) -> None:
    assert Bounded(SHARE, count, 20, 0.25).enough(*LEVELS) == expected
