"""The probability that a network is lost: a hazard by learning rate and epoch.

The hazard is the probability that a network not yet lost is lost in an epoch. Its complementary
log-log, log(-log(1 - hazard)), is linear in the logarithm of the rate, with a level of its own for
the first epoch, for epochs 2 and 3 and for later ones (Prentice and Gloeckler, 1978: proportional
hazards, seen epoch by epoch). Summed over the epochs it gives the share lost by the end:

    1 - exp(-scale · rate ^ slope)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.families.links import CLogLog
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.stats.proportion import proportion_confint

from stages.common.errors import UserError

FAMILIES: Mapping[str, tuple[str, str]] = {
    name: (name, f"{name}_steep") for name in ("core", "clipped", "warmup_cosine")
}
"""Recipe → the recipes whose networks count: its own, and the same at further rates."""
PERIODS = (1, 2, 4)
"""The first epoch of each period that has a level of its own."""
SHARES = (0.1, 0.5, 0.9)
"""Shares of networks, the rates of whose loss are reported."""
DRAWS = 999
"""Resamples of the bootstrap."""
CONFIDENCE = 0.95
ROUNDING = 1e-9
"""A probability may lie so far outside of an interval that it touches."""

PLACE = ["dataset", "recipe"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
State = Literal["fitted", "one level", "none lost", "all lost", "separated", "not rising"]


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    """NaN where it cannot be estimated; the interval then says what is known."""
    low: float
    high: float


@dataclass(frozen=True)
class Losses:
    """When the networks of one dataset and family were lost."""

    rates: Floats
    """(rates,), increasing."""
    counts: Counts
    """(rates, epochs + 1): networks lost in each epoch; in the last column, those never lost."""

    @classmethod
    def of(cls, networks: pd.DataFrame, epochs: int) -> "Losses":
        """Count networks.

        Args:
            networks: One row each: learning_rate, outcome, lost_epoch.
            epochs: For how many each was trained.

        Raises:
            UserError: A lost network has no epoch, or a later one.
        """
        lost = networks["outcome"] == "lost"
        if not networks.loc[lost, "lost_epoch"].between(1, epochs).all():
            raise UserError(
                f"networks.csv: a lost network has a lost_epoch that is none of 1 to {epochs}: "
                "recreate it with: dvc repro audit/dvc.yaml"
            )
        when = networks["lost_epoch"].where(lost, epochs + 1)
        counted = pd.crosstab(networks["learning_rate"], when)
        counts = counted.reindex(columns=range(1, epochs + 2), fill_value=0)
        return cls(counts.index.to_numpy(dtype=float), counts.to_numpy(dtype=np.int64))

    @property
    def networks(self) -> Counts:
        """(rates,)."""
        totals: Counts = np.sum(self.counts, axis=1)
        return totals

    @property
    def lost(self) -> Counts:
        """(rates,)."""
        totals: Counts = np.sum(self.counts[:, :-1], axis=1)
        return totals

    def resampled(self, draws: int, seed: int) -> Iterator["Losses"]:
        """Draw as many networks at each rate, with replacement."""
        shares = self.counts / self.networks[:, np.newaxis]
        size = (draws, len(self.rates))
        drawn = np.random.default_rng(seed).multinomial(self.networks, shares, size=size)
        return (Losses(self.rates, counts) for counts in drawn)

    def by_period(self, firsts: Sequence[int]) -> tuple[Counts, Counts, Counts]:
        """Sum up the epochs of a period: its hazard is the same in each of them.

        Args:
            firsts: The first epoch of each period.

        Returns:
            How many epochs each period has, (periods,); how many epochs networks began in it, and
            in how many of these a network was lost, (rates, periods).
        """
        in_epoch = self.counts[:, :-1]
        began = self.networks[:, np.newaxis] - np.cumsum(in_epoch, axis=1) + in_epoch
        epochs = in_epoch.shape[1]
        starts = [first - 1 for first in firsts if first <= epochs]
        lengths = np.diff([*starts, epochs])
        return (
            lengths,
            np.add.reduceat(began, starts, axis=1),
            np.add.reduceat(in_epoch, starts, axis=1),
        )


@dataclass(frozen=True)
class Fitted:
    """The hazard's parameters.

    What it says is given by two bounds, as by `Unfitted`; here they agree.
    """

    slope: float
    """The slope of the complementary log-log over the natural logarithm of the rate."""
    levels: Floats
    """(periods,): at the rate 1; -inf for a period in which no network was lost."""
    lengths: Counts
    """(periods,), in epochs."""
    state: State = "fitted"
    """Or one level: the same for all epochs."""

    @property
    def scale(self) -> float:
        """The logarithm of the factor of rate ^ slope in the share lost."""
        return float(np.logaddexp.reduce(self.levels + np.log(self.lengths)))

    @property
    def hazard_shares(self) -> Floats:
        """(periods,): how much of the hazard, summed over the epochs, each period has."""
        return np.asarray(self.lengths * np.exp(self.levels - self.scale))

    def slopes(self) -> tuple[float, float]:
        """Bound the slope."""
        return self.slope, self.slope

    def rate_lost(self, share: float) -> tuple[float, float]:
        """Bound the rate at which a share of the networks is lost by the last epoch."""
        with np.errstate(over="ignore"):  # Where the slope is almost flat.
            rate = float(np.exp((np.log(-np.log1p(-share)) - self.scale) / self.slope))
        return rate, rate

    def share_lost(self, rates: Floats) -> tuple[Floats, Floats]:
        """Bound the share lost by the last epoch, at each rate."""
        shares = np.asarray(-np.expm1(-np.exp(self.scale + self.slope * np.log(rates))))
        return shares, shares


@dataclass(frozen=True)
class Unfitted:
    """The observed shares, where the hazard has no finite estimate; between them, bounds.

    They assume one thing: a larger rate loses no fewer networks.
    """

    state: State
    losses: Losses

    def slopes(self) -> tuple[float, float]:
        """Bound the slope: without end where a single rate parts the lost from the others."""
        return (np.inf, np.inf) if self.state == "separated" else (0.0, np.inf)

    def rate_lost(self, share: float) -> tuple[float, float]:
        """Bound the rate at which a share is lost: by two neighbours of the rates tried."""
        if self.state == "not rising":
            return 0.0, np.inf
        reached = self.losses.lost >= share * self.losses.networks
        below, above = self.losses.rates[~reached], self.losses.rates[reached]
        return float(max(below, default=0)), float(min(above, default=np.inf))

    def share_lost(self, rates: Floats) -> tuple[Floats, Floats]:
        """Bound the share lost at each rate: by the shares of the neighbours that were tried."""
        if self.state == "not rising":
            return np.zeros(len(rates)), np.ones(len(rates))
        seen = [0, *(self.losses.lost / self.losses.networks), 1]
        below = np.searchsorted(self.losses.rates, rates, side="right")
        above = np.searchsorted(self.losses.rates, rates, side="left")
        return np.take(seen, below), np.take(seen, above + 1)


@dataclass(frozen=True)
class Failure:
    """The curve of one dataset and family, and those of resampled networks."""

    losses: Losses
    curve: Fitted | Unfitted
    draws: Sequence[Fitted | Unfitted]

    def rate_lost(self, share: float) -> Estimate:
        """Estimate the rate at which a share of the networks is lost by the last epoch.

        The interval's low end is 0 and its high end infinite where the rates tried do not bound it.
        """
        low, high = percentiles([drawn.rate_lost(share) for drawn in self.draws])
        value = self.curve.rate_lost(share)[0] if isinstance(self.curve, Fitted) else np.nan
        return Estimate(value, float(low), float(high))

    def slope(self) -> Estimate:
        """Estimate how steeply the hazard rises: like which power of the rate."""
        low, high = percentiles([drawn.slopes() for drawn in self.draws])
        value = self.curve.slopes()[0] if isinstance(self.curve, Fitted) else np.nan
        return Estimate(value, float(low), float(high))

    def share_lost(self, rates: Floats) -> pd.DataFrame:
        """Estimate the share lost by the last epoch at each rate.

        Returns:
            Columns learning_rate, share (NaN where nothing could be fitted), low, high.
        """
        low, high = percentiles([drawn.share_lost(rates) for drawn in self.draws])
        fitted = isinstance(self.curve, Fitted)
        share = self.curve.share_lost(rates)[0] if fitted else np.nan
        return pd.DataFrame({"learning_rate": rates, "share": share, "low": low, "high": high})


def percentiles(bounds: Sequence[tuple[Any, Any]]) -> tuple[Floats, Floats]:
    """Find the ends of a 95 % interval; never between two draws, as some bounds are infinite.

    Args:
        bounds: Below and above, a number or an array each, of every draw.
    """
    lows, highs = np.swapaxes(np.array(bounds, dtype=float), 0, 1)
    tail = (1 - CONFIDENCE) / 2
    low: Floats = np.quantile(lows, tail, axis=0, method="inverted_cdf")
    high: Floats = np.quantile(highs, 1 - tail, axis=0, method="inverted_cdf")
    return low, high


def curve(losses: Losses, start: Fitted | None = None) -> Fitted | Unfitted:
    """Fit the hazard by maximum likelihood, where it has a finite estimate.

    A period in which no network was lost has the hazard 0, which is its estimate. Where in each
    period no network stays at a larger rate than the smallest that loses one, the slope grows
    without end. One level then serves all epochs. Where that has no end either, the networks say
    no more than between which rates it happens.

    Args:
        losses: Of one dataset and family.
        start: A fit of similar networks, to begin from.
    """
    lost = losses.lost.sum()
    if lost == 0 or lost == losses.networks.sum():
        return Unfitted("all lost" if lost else "none lost", losses)
    models: tuple[tuple[State, Sequence[int]], ...] = (("fitted", PERIODS), ("one level", (1,)))
    for state, firsts in models:
        lengths, began, ended = losses.by_period(firsts)
        kept = ended.sum(axis=0) > 0
        if _separated(losses.rates, began[:, kept], ended[:, kept]):
            continue
        if _separated(-losses.rates, began[:, kept], ended[:, kept]):
            return Unfitted("not rising", losses)
        begin = start if start and start.state == state else None
        slope, levels = _maximum_likelihood(losses.rates, began, ended, kept, begin)
        if slope <= 0:
            return Unfitted("not rising", losses)
        return Fitted(slope, levels, lengths, state)
    return Unfitted("separated", losses)


def _separated(rates: Floats, began: Counts, ended: Counts) -> bool:
    """Tell whether, in every period, no network stays at a rate above the smallest that loses one.

    This is when a binomial model with a level for each period has no finite slope (Albert and
    Anderson, 1984).
    """
    return all(
        rates[lost > 0].min() >= rates[stayed > 0].max()
        for lost, stayed in zip(ended.T, (began - ended).T, strict=True)
    )


def _maximum_likelihood(
    rates: Floats, began: Counts, ended: Counts, kept: NDArray[np.bool_], start: Fitted | None
) -> tuple[float, Floats]:
    """Fit the slope and the levels at rate 1 of the periods that are kept; the others' are -inf."""
    logs = np.log(rates)
    centre = logs.mean()
    periods = np.tile(np.eye(kept.sum()), (len(rates), 1))
    design = np.column_stack([np.repeat(logs - centre, kept.sum()), periods])
    outcomes = np.column_stack([ended[:, kept].ravel(), (began - ended)[:, kept].ravel()])
    known = outcomes.sum(axis=1) > 0
    begin = start and [start.slope, *(start.levels[kept] + start.slope * centre)]
    model = GLM(outcomes[known], design[known], family=Binomial(CLogLog()))
    # Newton's method: the usual reweighted least squares can oscillate where the curve is steep.
    with np.errstate(over="ignore"):
        slope, *centred = model.fit(begin, method="newton", disp=0).params
    levels = np.full(len(kept), -np.inf)
    levels[kept] = np.array(centred) - slope * centre
    return float(slope), levels


def failure(networks: pd.DataFrame, epochs: int, seed: int = 0) -> Failure:
    """Fit one dataset's and family's hazard, and those of resampled networks within each rate.

    Args:
        networks: One row each: learning_rate, outcome, lost_epoch.
        epochs: For how many each was trained.
        seed: Of the draws. Those of two recipes that are compared need different ones.
    """
    losses = Losses.of(networks, epochs)
    fitted = curve(losses)
    start = fitted if isinstance(fitted, Fitted) else None
    return Failure(losses, fitted, [curve(drawn, start) for drawn in losses.resampled(DRAWS, seed)])


def failures(networks: pd.DataFrame, epochs: int) -> dict[tuple[str, str], Failure]:
    """Fit the hazard of each dataset and family that has networks.

    Args:
        networks: The audit's, as networks.csv has them.
        epochs: For how many each was trained.

    Returns:
        Dataset and family → what was found.
    """
    places = _families(networks).groupby(PLACE, sort=False)
    return {
        (str(dataset), str(recipe)): failure(rows, epochs, seed)
        for seed, ((dataset, recipe), rows) in enumerate(places)
    }


def _families(networks: pd.DataFrame) -> pd.DataFrame:
    """Select the networks of the families; each has its family's name as its recipe."""
    family = {recipe: name for name, recipes in FAMILIES.items() for recipe in recipes}
    chosen = networks[networks["recipe"].isin(family)]
    return chosen.assign(recipe=chosen["recipe"].map(family))


def ratio(first: Failure, second: Failure, share: float) -> Estimate:
    """Estimate how many times larger the rate at which the first loses a share is.

    Args:
        first: Of a recipe.
        second: Of the recipe that it is compared with.
        share: Such as 0.5.
    """
    value = first.rate_lost(share).value / second.rate_lost(share).value
    bounds = []
    for one, other in zip(first.draws, second.draws, strict=True):
        (least, most), (other_least, other_most) = one.rate_lost(share), other.rate_lost(share)
        bounds.append((least / other_most, most / other_least if other_least else np.inf))
    low, high = percentiles(bounds)
    return Estimate(value, float(low), float(high))


def observed(networks: pd.DataFrame) -> pd.DataFrame:
    """Count the networks lost at each rate.

    Returns:
        One row per dataset, family (recipe) and learning_rate: networks, lost, share, and low and
        high, the ends of Wilson's 95 % interval.
    """
    chosen = _families(networks)
    lost = (chosen["outcome"] == "lost").groupby([chosen[key] for key in (*PLACE, "learning_rate")])
    table = lost.agg(networks="size", lost="sum").reset_index()
    low, high = proportion_confint(
        table["lost"], table["networks"], alpha=1 - CONFIDENCE, method="wilson"
    )
    return table.assign(share=table["lost"] / table["networks"], low=low, high=high)
