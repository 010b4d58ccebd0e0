"""The result of one comparison: p values, effects, and how many networks would be enough.

All values are turned so that larger ones support the claim.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from stages.audit.judging import statistics
from stages.audit.judging.statistics import Effect, Values

Unit = Literal["points", "factor", "share", "margins"]
"""points: percentage points. factor: the ratio of two numbers. share: percentage points of a share
of networks. margins: multiples of the smallest difference that matters."""


@dataclass(frozen=True)
class Scale:
    """How compared values relate to the numbers that readers see."""

    unit: Unit
    sign: Literal[1, -1]
    """-1 where the claim says that something becomes smaller."""
    margin: float
    """The smallest difference that matters, in the readers' unit; a factor is above 1."""

    @property
    def step(self) -> float:
        """The margin on the scale of the compared values: a factor's natural logarithm."""
        return float(np.log(self.margin)) if self.unit == "factor" else self.margin

    def readable(self, value: float) -> float:
        """Put a difference into the readers' unit."""
        turned = self.sign * value
        return float(np.exp(turned)) if self.unit == "factor" else turned

    def shown(self, effect: Effect) -> Effect:
        """Put an effect into the readers' unit."""
        value, low, high = map(self.readable, (effect.value, effect.low, effect.high))
        if self.sign == -1:
            low, high = high, low
        return replace(effect, value=value, low=low, high=high)


@dataclass(frozen=True)
class Enough:
    """How many networks per cell would decide, if they are like those seen."""

    supported: float
    refuted: float
    equivalent: float


NEVER_ENOUGH = Enough(np.inf, np.inf, np.inf)


@dataclass(frozen=True)
class Tested(ABC):
    """A comparison whose cells were all run."""

    scale: Scale

    @property
    def sizes(self) -> tuple[int, int]:
        """Networks on either side; 0 where there is no such side."""
        return 0, 0

    @property
    def statistic(self) -> float:
        """The statistic of the test of a difference; NaN if there is none."""
        return np.nan

    @property
    @abstractmethod
    def ahead(self) -> bool:
        """Whether the networks lie on the side that the claim names."""

    @cached_property
    @abstractmethod
    def p_difference(self) -> float:
        """The p value of no difference, two-sided; for a bound, of a share not above it."""

    @cached_property
    @abstractmethod
    def p_not_better(self) -> float:
        """The p value of an effect as large as the margin; for a bound, of a share not below it."""

    @cached_property
    def p_not_worse(self) -> float:
        """The p value of an effect as large as the margin the other way; NaN if there is none."""
        return np.nan

    @property
    def p_supported(self) -> float:
        """The p value of an effect that is not as the claim says."""
        return self.p_difference if self.ahead else 1.0

    @property
    def p_equivalent(self) -> float:
        """The p value of an effect as large as the margin, in either direction."""
        return max(self.p_not_better, 1.0 if np.isnan(self.p_not_worse) else self.p_not_worse)

    @cached_property
    def effect(self) -> Effect:
        """By how much it is as the claim says; nothing where nothing is measured."""
        return statistics.NOTHING

    def survivors_effect(self) -> float:
        """Measure the effect among the trained networks only; NaN if that has no meaning."""
        return np.nan

    @abstractmethod
    def enough(self, supported: float, refuted: float, equivalent: float) -> Enough:
        """Say how many networks per cell give each verdict, tested at its level."""


@dataclass(frozen=True)
class Ranked(Tested):
    """Two samples of a quantity; of each, -inf is worst."""

    first: Values
    second: Values
    first_trained: Values
    """The values of the first sample's trained networks."""
    second_trained: Values
    when: str = ""
    """For the mechanism: whether training losses are equal, in words."""
    either_way: bool = False
    """Whether the claim says only that there is a difference, not in which direction."""

    @property
    def p_supported(self) -> float:
        return self.p_difference if self.either_way else super().p_supported

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.first), len(self.second)

    @cached_property
    def _difference(self) -> statistics.Tails:
        return statistics.rank_sum(self.first, self.second)

    @property
    def statistic(self) -> float:
        """The sum of the first sample's ranks."""
        return statistics.sum_of_ranks(self.first, self.second)

    @property
    def ahead(self) -> bool:
        return self._difference.greater < self._difference.less

    @cached_property
    def p_difference(self) -> float:
        return self._difference.two_sided

    @cached_property
    def p_not_better(self) -> float:
        return statistics.rank_sum(self.first, self.second, self.scale.step).less

    @cached_property
    def p_not_worse(self) -> float:
        return statistics.rank_sum(self.first, self.second, -self.scale.step).greater

    @cached_property
    def effect(self) -> Effect:
        """The median difference of pairs."""
        return statistics.effect(self.first, self.second)

    def survivors_effect(self) -> float:
        return statistics.median_ahead(self.first_trained, self.second_trained)

    def enough(self, supported: float, refuted: float, equivalent: float) -> Enough:
        need, step = statistics.networks_to_tell, self.scale.step
        first, second = self.first, self.second
        return Enough(
            need(first, second, supported / 2),
            need(second, first, refuted, -step),
            max(need(second, first, equivalent, -step), need(first, second, equivalent, -step)),
        )


@dataclass(frozen=True)
class Counted(Tested):
    """Two shares of networks that are as the claim says."""

    count: int
    size: int
    other_count: int
    other_size: int

    @property
    def sizes(self) -> tuple[int, int]:
        return self.size, self.other_size

    @property
    def statistic(self) -> float:
        """How many networks of the first sample."""
        return float(self.count)

    @property
    def ahead(self) -> bool:
        return self.count * self.other_size > self.other_count * self.size

    @property
    def _counts(self) -> tuple[int, int, int, int]:
        return self.count, self.size, self.other_count, self.other_size

    @cached_property
    def p_difference(self) -> float:
        return statistics.fisher(*self._counts)

    @cached_property
    def p_not_better(self) -> float:
        return statistics.shares_within(*self._counts, self.scale.step / 100)

    @cached_property
    def p_not_worse(self) -> float:
        count, size, other_count, other_size = self._counts
        return statistics.shares_within(other_count, other_size, count, size, self.scale.step / 100)

    @cached_property
    def effect(self) -> Effect:
        """The difference of the shares, in points."""
        return statistics.share_difference(*self._counts).times(100)

    def enough(self, supported: float, refuted: float, equivalent: float) -> Enough:
        if not (self.size and self.other_size):
            return NEVER_ENOUGH
        need, margin = statistics.networks_to_tell_shares, self.scale.step / 100
        ours, theirs = self.count / self.size, self.other_count / self.other_size
        return Enough(
            need(ours, theirs, supported / 2),
            need(theirs, ours, refuted, -margin),
            max(need(theirs, ours, equivalent, -margin), need(ours, theirs, equivalent, -margin)),
        )


@dataclass(frozen=True)
class Bounded(Tested):
    """A share of networks, which the claim says lies above a bound."""

    count: int
    size: int
    bound: float

    @property
    def sizes(self) -> tuple[int, int]:
        return self.size, 0

    @property
    def statistic(self) -> float:
        """How many networks."""
        return float(self.count)

    @property
    def ahead(self) -> bool:
        return self.count > self.bound * self.size

    @cached_property
    def p_difference(self) -> float:
        return statistics.against_bound(self.count, self.size, self.bound).greater

    @cached_property
    def p_not_better(self) -> float:
        return statistics.against_bound(self.count, self.size, self.bound).less

    @cached_property
    def effect(self) -> Effect:
        """The share's distance from its bound, in points."""
        return statistics.share(self.count, self.size).minus(self.bound).times(100)

    def enough(self, supported: float, refuted: float, equivalent: float) -> Enough:
        """Say how many networks decide; no number can find a share equivalent to its bound."""
        if not self.size:
            return NEVER_ENOUGH
        true = self.count / self.size
        need = statistics.networks_to_tell_bound
        return Enough(
            need(true, self.bound, supported) if true > self.bound else np.inf,
            need(true, self.bound, refuted) if true < self.bound else np.inf,
            np.inf,
        )


@dataclass(frozen=True)
class Stated(Tested):
    """A fact: it holds or it does not, and chance plays no part."""

    holds: bool
    told: str = ""
    """The numbers that show it."""

    @property
    def ahead(self) -> bool:
        return self.holds

    @cached_property
    def p_difference(self) -> float:
        return 0.0 if self.holds else 1.0

    @cached_property
    def p_not_better(self) -> float:
        return 1.0 if self.holds else 0.0

    def enough(self, supported: float, refuted: float, equivalent: float) -> Enough:
        """More networks of the same kind leave it as it is."""
        return Enough(0.0 if self.holds else np.inf, np.inf, np.inf)
