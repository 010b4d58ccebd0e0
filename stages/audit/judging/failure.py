"""The probability that a network is lost: a hazard by learning rate and epoch.

The hazard is the probability that a network not yet lost is lost in an epoch. Its complementary
log-log, log(-log(1 - hazard)), is linear in the logarithm of the rate. Its intercept, here called
the level, differs between the first epoch, epochs 2 and 3, and later ones (Prentice and Gloeckler,
1978: proportional hazards in discrete time). Over all epochs, the share lost is then

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
"""Family → its recipes: the one of the same name, and the same one at further rates."""
PERIODS = (1, 2, 4)
"""The first epoch of each period that has a level of its own."""
SHARES = (0.1, 0.5, 0.9)
"""Shares of networks. The rates at which these shares are lost are reported."""
DRAWS = 999
"""Resamples of the bootstrap."""
CONFIDENCE = 0.95
ROUNDING = 1e-9
"""A probability this far outside an interval still counts as inside, because of rounding."""

WHICH_FIT = ["dataset", "recipe"]

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
            networks: One row per network: learning_rate, outcome, lost_epoch.
            epochs: Number of epochs that each network was trained for.

        Raises:
            UserError: The lost_epoch of a lost network is missing, or is not one of the epochs.
        """
        lost = networks["outcome"] == "lost"
        known = networks["lost_epoch"].isin(range(1, epochs + 1))
        if not known[lost].all():
            raise UserError(
                f"networks.csv: a lost network has lost_epoch "
                f"{networks.loc[lost & ~known, 'lost_epoch'].iloc[0]:g}, not one of 1 to {epochs}: "
                f"if its recipe in params.yaml has epochs of its own, remove them; "
                f"then recreate the table with: make audit"
            )
        when = networks["lost_epoch"].where(lost, epochs + 1)
        counted = pd.crosstab(networks["learning_rate"], when)
        counts = counted.reindex(columns=range(1, epochs + 2), fill_value=0)
        return cls(counts.index.to_numpy(dtype=float), counts.to_numpy(dtype=np.int64))

    @property
    def networks(self) -> Counts:
        """(rates,)."""
        return np.sum(self.counts, axis=1)

    @property
    def lost(self) -> Counts:
        """(rates,)."""
        return np.sum(self.counts[:, :-1], axis=1)

    def resampled(self, draws: int, seed: int) -> Iterator["Losses"]:
        """Resample the networks within each rate, with replacement, `draws` times."""
        shares = self.counts / self.networks[:, np.newaxis]
        size = (draws, len(self.rates))
        drawn = np.random.default_rng(seed).multinomial(self.networks, shares, size=size)
        return (Losses(self.rates, counts) for counts in drawn)

    def by_period(self, firsts: Sequence[int]) -> tuple[Counts, Counts, Counts]:
        """Add up the epochs of each period, in which the hazard is constant.

        Args:
            firsts: The first epoch of each period.

        Returns:
            How many epochs each period has, (periods,); how many times a network began an epoch in
            it, and how many of these times the network was lost, both (rates, periods).
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
    """The fitted parameters of the hazard.

    Its methods return a lower and an upper bound, as those of `Unfitted` do. Here both are equal.
    """

    slope: float
    """The slope of the complementary log-log over the natural logarithm of the rate."""
    levels: Floats
    """(periods,): at the rate 1; -inf for a period in which no network was lost."""
    lengths: Counts
    """(periods,), in epochs."""
    state: State = "fitted"
    """fitted, or one level: the same level for all epochs."""

    @property
    def scale(self) -> float:
        """The natural logarithm of `scale` in the formula of this module's docstring."""
        return float(np.logaddexp.reduce(self.levels + np.log(self.lengths)))

    @property
    def hazard_shares(self) -> Floats:
        """(periods,): each period's share of the cumulative hazard."""
        return np.asarray(self.lengths * np.exp(self.levels - self.scale))

    def slopes(self) -> tuple[float, float]:
        """Bound the slope."""
        return self.slope, self.slope

    def rate_lost(self, share: float) -> tuple[float, float]:
        """Bound the rate at which a share of the networks is lost by the last epoch."""
        with np.errstate(over="ignore"):  # An almost flat slope gives infinity.
            rate = float(np.exp((np.log(-np.log1p(-share)) - self.scale) / self.slope))
        return rate, rate

    def share_lost(self, rates: Floats) -> tuple[Floats, Floats]:
        """Bound the share lost by the last epoch, at each rate."""
        shares = np.asarray(-np.expm1(-np.exp(self.scale + self.slope * np.log(rates))))
        return shares, shares


@dataclass(frozen=True)
class Unfitted:
    """Bounds from the observed shares, for a hazard without a finite estimate.

    They assume only that a larger rate loses no smaller share of its networks.
    """

    state: State
    losses: Losses

    def slopes(self) -> tuple[float, float]:
        """Bound the slope; it is infinite if a single rate separates the lost from the others."""
        return (np.inf, np.inf) if self.state == "separated" else (0.0, np.inf)

    def rate_lost(self, share: float) -> tuple[float, float]:
        """Bound the rate at which a share is lost: it lies between two neighbouring rates tried."""
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
        """Estimate the slope: the hazard rises like this power of the rate."""
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
    """Find the ends of a 95 % interval. Some bounds are infinite, so nothing is interpolated.

    Args:
        bounds: The lower and the upper bound of every draw, both numbers or both arrays.
    """
    lows, highs = np.swapaxes(np.array(bounds, dtype=float), 0, 1)
    tail = (1 - CONFIDENCE) / 2
    low = np.quantile(lows, tail, axis=0, method="inverted_cdf")
    return low, np.quantile(highs, 1 - tail, axis=0, method="inverted_cdf")


def curve(losses: Losses, start: Fitted | None = None) -> Fitted | Unfitted:
    """Fit the hazard by maximum likelihood, where it has a finite estimate.

    The hazard of a period in which no network was lost is estimated as 0. The data are separated
    if, in each other period, no network survives at a rate above the smallest that loses one. The
    estimate of the slope is then infinite, so one level is fitted to all epochs instead. If that
    slope is infinite too, the networks only show between which rates they begin to be lost.

    Args:
        losses: The losses of one dataset and family.
        start: A fit of similar networks, from which the search begins.
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
    """Tell whether, in every period, no network survives above the smallest rate that loses one.

    A binomial model with a level for each period then has no finite slope (Albert and Anderson,
    1984).
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
    """Fit the hazard of one dataset and family, and of its networks resampled within each rate.

    Args:
        networks: One row per network: learning_rate, outcome, lost_epoch.
        epochs: Number of epochs that each network was trained for.
        seed: Random seed of the resamples. Two recipes that are compared need different seeds.
    """
    losses = Losses.of(networks, epochs)
    fitted = curve(losses)
    start = fitted if isinstance(fitted, Fitted) else None
    return Failure(losses, fitted, [curve(drawn, start) for drawn in losses.resampled(DRAWS, seed)])


def failures(networks: pd.DataFrame, epochs: int) -> dict[tuple[str, str], Failure]:
    """Fit the hazard of each dataset and family that has networks.

    Args:
        networks: The rows of the audit's networks.csv.
        epochs: Number of epochs that each network was trained for.

    Returns:
        Dataset and family → what was found.
    """
    places = _families(networks).groupby(WHICH_FIT, sort=False)
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
    """Estimate the ratio of the rates at which two recipes lose a share: the first to the second.

    Args:
        first: The fit of a recipe.
        second: The fit of the recipe that it is compared with.
        share: The share of networks, such as 0.5.
    """
    # On a slope that is almost flat, a rate may come out as 0 or as infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.divide(first.rate_lost(share).value, second.rate_lost(share).value)
        (least, most), (other_least, other_most) = (
            np.transpose([drawn.rate_lost(share) for drawn in each.draws])
            for each in (first, second)
        )
        # 0 / 0 and infinite / infinite bound nothing.
        lows = np.nan_to_num(least / other_most, nan=0.0, posinf=np.inf)
        highs = np.nan_to_num(most / other_least, nan=np.inf, posinf=np.inf)
    low, high = percentiles(list(zip(lows, highs, strict=True)))
    return Estimate(float(value), float(low), float(high))


def observed(networks: pd.DataFrame) -> pd.DataFrame:
    """Count the networks lost at each rate.

    Returns:
        One row per dataset, family (recipe) and learning_rate: networks, lost, share, and low and
        high, the ends of Wilson's 95 % interval.
    """
    chosen = _families(networks)
    chosen = chosen.assign(lost=chosen["outcome"] == "lost")
    lost = chosen.groupby([*WHICH_FIT, "learning_rate"])["lost"]
    table = lost.agg(networks="size", lost="sum").reset_index()
    low, high = proportion_confint(
        table["lost"], table["networks"], alpha=1 - CONFIDENCE, method="wilson"
    )
    return table.assign(share=table["lost"] / table["networks"], low=low, high=high)
