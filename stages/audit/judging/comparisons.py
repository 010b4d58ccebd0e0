"""The building blocks of the claims: quantities, and kinds of comparisons."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from stages.audit.judging.evidence import Cell, Evidence, Favourite, Networks, Side, only
from stages.audit.judging.mechanism import Pair, pair
from stages.audit.judging.published import ROUNDING
from stages.audit.judging.rungs import CORE, named
from stages.audit.judging.statistics import Values
from stages.audit.judging.tested import Bounded, Counted, Ranked, Scale, Stated, Tested
from stages.common.datasets import title

SHARE_MARGIN = 20.0
"""Smallest difference between two shares of networks that matters, in percentage points."""


@dataclass(frozen=True)
class Quantity:
    """A measured value of each network, by which two samples of networks are compared."""

    column: str
    name: str
    better: Literal["higher", "fewer"]
    margins: Mapping[str, float] | float
    """The smallest difference that matters, by dataset or for all: in percentage points, or as a
    factor."""
    lost: Literal["ranks last", "is left out"] = "ranks last"
    unit: Literal["points", "factor"] = "points"

    def scale(self, dataset: str) -> Scale:
        """Choose how a difference is shown on a dataset, and how large it must be to matter."""
        margins = self.margins
        margin = margins[dataset] if isinstance(margins, Mapping) else margins
        return Scale(self.unit, 1 if self.better == "higher" else -1, margin)

    def values(self, networks: Networks) -> Values:
        """Return each network's value, (networks,): larger is better, -inf worst, NaN left out."""
        return self.turned(networks[self.column].astype(float), networks["outcome"] == "lost")

    def turned(self, values: Values, lost: NDArray[np.bool_] | bool = False) -> Values:
        """Transform values so that larger is better; lost or missing ones rank last or are NaN."""
        turned = np.log(values) if self.unit == "factor" else 100 * values
        worst = -np.inf if self.lost == "ranks last" else np.nan
        turned = turned if self.better == "higher" else -turned
        # Steps are missing where the threshold was never reached.
        return np.where(lost | np.isnan(turned), worst, turned)


Event = Literal["lost", "learned", "burst first"]
Among = Literal["all", "lost", "burst"]
EVENTS: Mapping[Event, str] = {
    "lost": "networks lost",
    "learned": "networks that reach the threshold",
    "burst first": "lost networks with a burst",
}


def happened(event: Event, networks: Networks) -> NDArray[np.bool_]:
    """Tell for each network whether an event happened to it, (networks,)."""
    outcome = networks["outcome"]
    return {
        "lost": outcome == "lost",
        "learned": (outcome == "trained") & ~np.isnan(networks["steps_to_threshold"]),
        "burst first": networks["began_with_burst"] == 1,
    }[event]


def burst(networks: Networks, norm: float) -> NDArray[np.bool_]:
    """Tell which networks passed a gradient norm or had a burst when lost or later, (networks,)."""
    return (networks["peak_gradient_norm"] > norm) | happened("burst first", networks)


def among(which: Among, networks: Networks, norm: float = np.inf) -> Networks:
    """Keep the networks among which a share is taken: all, the lost ones, or those with a burst."""
    if which == "all":
        return networks
    return only(networks, happened("lost", networks) if which == "lost" else burst(networks, norm))


@dataclass(frozen=True)
class Comparison(ABC):
    """A statement of a claim about some cells."""

    kind: ClassVar[str]
    can_refute = True
    """Whether the claim is refuted if the statement is false. If not, the claim is undecided."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What is compared, in a few words."""

    @property
    @abstractmethod
    def quantity_name(self) -> str:
        """The name of the quantity that is compared."""

    @property
    @abstractmethod
    def sides(self) -> tuple[Side, ...]:
        """The cells of each side; the side that the claim is about comes first."""

    @abstractmethod
    def tested(self, evidence: Evidence) -> Tested | None:
        """Test the statement; return None if a cell was not run."""

    def on(self, recipe: str) -> "Comparison | None":
        """Make the same comparison on another recipe than core; None if it has no meaning there."""
        return None

    def change(self, recipe: str, other: str) -> "Comparison | None":
        """Compare what it finds on two recipes; None if there is no test of their difference."""
        return None


@dataclass(frozen=True)
class Difference(Comparison):
    """A quantity is better on one side than on the other."""

    kind = "difference"
    quantity: Quantity
    first: Side
    second: Side

    @property
    def label(self) -> str:
        return contrast(self.first, self.second)

    @property
    def quantity_name(self) -> str:
        return self.quantity.name

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.first, self.second

    def tested(self, evidence: Evidence) -> Tested | None:
        both = evidence.both(self.first, self.second)
        if both is None:
            return None
        values, trained = [], []
        for networks in both:
            found = self.quantity.values(networks)
            known = ~np.isnan(found)
            values.append(found[known])
            trained.append(found[known & (networks["outcome"] == "trained")])
        scale = self.quantity.scale(self.first[0].dataset)
        return Ranked(scale, values[0], values[1], trained[0], trained[1])

    def on(self, recipe: str) -> "Difference":
        return replace(self, first=moved(self.first, recipe), second=moved(self.second, recipe))

    def change(self, recipe: str, other: str) -> "Interaction":
        ours, theirs = self.on(other), self.on(recipe)
        return Interaction(self.quantity, ours.sides, theirs.sides)


@dataclass(frozen=True)
class Interaction(Comparison):
    """The gain in a quantity from one cell to another differs between two pairs of cells.

    A gain is a network's value minus that of the network with the same seed in the other cell. Any
    other pairing would do as well, if it was fixed beforehand. If neither dataset nor recipe
    changes what the rate does, the gains are exchangeable, and the same exact test applies to them.
    """

    kind = "interaction"
    quantity: Quantity
    first: tuple[Side, ...]
    second: tuple[Side, ...]

    @property
    def label(self) -> str:
        side, base = self.first
        less = self.second[0]
        if side[0].dataset != less[0].dataset:
            both = f"{on_datasets(side)} minus {on_datasets(less)}"
            return f"{rates(side)} against {rates(base)}, {both}"
        what = f"{rates(side)} against {rates(base)} ({on_datasets(side)})"
        return f"{what}, {recipes(side)} minus {recipes(less)}"

    @property
    def quantity_name(self) -> str:
        return self.quantity.name

    @property
    def sides(self) -> tuple[Side, ...]:
        return *self.first, *self.second

    @property
    def scale(self) -> Scale:
        """The quantity's scale if all cells are of one dataset; otherwise multiples of margins."""
        datasets = {side[0].dataset for side in self.sides}
        ours = self.quantity.scale(self.first[0][0].dataset)
        return ours if len(datasets) == 1 else Scale("margins", 1, 1.0)

    def tested(self, evidence: Evidence) -> Tested | None:
        gains, trained = [], []
        for side, base in (self.first, self.second):
            both = evidence.both(side, base)
            if both is None:
                return None
            found, both_trained = self._gains(*both)
            gains.append(found)
            trained.append(found[both_trained])
        scale = self.scale
        either_way = scale.unit == "margins"
        return Ranked(scale, gains[0], gains[1], trained[0], trained[1], either_way=either_way)

    def _gains(self, side: Networks, base: Networks) -> tuple[Values, NDArray[np.bool_]]:
        """Subtract values of the same seed; tell for which gains both networks trained."""
        _, *places = np.intersect1d(side["seed"], base["seed"], return_indices=True)
        pair = only(side, places[0]), only(base, places[1])
        ours, theirs = (self.quantity.values(networks) for networks in pair)
        with np.errstate(invalid="ignore"):
            # Two networks that both rank last have no gain; -inf minus -inf would be NaN.
            gains = np.where(ours == theirs, 0.0, ours - theirs)
        if self.scale.unit == "margins":
            gains = gains / self.quantity.scale(str(side["dataset"][0])).step
        trained = np.all([networks["outcome"] == "trained" for networks in pair], axis=0)
        known = ~np.isnan(gains)
        return gains[known], trained[known]


@dataclass(frozen=True)
class Shares(Comparison):
    """Fewer, or more, networks are lost on one side than on the other."""

    kind = "shares"
    first: Side
    second: Side
    says: Literal["fewer", "more"]
    event: Event = "lost"
    among: Among = "all"
    can_refute: bool = True

    @property
    def label(self) -> str:
        return contrast(self.first, self.second)

    @property
    def quantity_name(self) -> str:
        return f"share of {EVENTS[self.event]}"

    @property
    def sides(self) -> tuple[Side, ...]:
        return self.first, self.second

    def tested(self, evidence: Evidence) -> Tested | None:
        both = evidence.both(self.first, self.second)
        if both is None:
            return None
        counts = []
        for networks in both:
            event = happened(self.event, among(self.among, networks))
            counts += [int((event if self.says == "more" else ~event).sum()), len(event)]
        return Counted(Scale("share", 1 if self.says == "more" else -1, SHARE_MARGIN), *counts)

    def on(self, recipe: str) -> "Shares | None":
        first, second = moved(self.first, recipe), moved(self.second, recipe)
        return replace(self, first=first, second=second) if first and second else None


@dataclass(frozen=True)
class Bound(Comparison):
    """A share of networks lies above a bound."""

    kind = "bound"
    event: Event
    side: Side
    bound: float
    among: Among = "all"
    norm: float = np.inf
    """The gradient norm above which a network counts as having burst."""

    @property
    def label(self) -> str:
        return f"{rates(self.side)} ({on_datasets(self.side)})"

    @property
    def quantity_name(self) -> str:
        what = f"share of {EVENTS[self.event]}"
        if self.among == "burst":
            what = f"share lost of the networks with a gradient norm above {self.norm:g}"
        return f"{what}, against {100 * self.bound:.0f} %"

    @property
    def sides(self) -> tuple[Side, ...]:
        return (self.side,)

    def tested(self, evidence: Evidence) -> Tested | None:
        networks = evidence.of(self.side)
        if networks is None:
            return None
        event = happened(self.event, among(self.among, networks, self.norm))
        scale = Scale("share", 1, SHARE_MARGIN)
        return Bounded(scale, int(event.sum()), len(event), self.bound)

    def on(self, recipe: str) -> "Bound | None":
        side = moved(self.side, recipe)
        return replace(self, side=side) if side else None

    def change(self, recipe: str, other: str) -> "Shares | None":
        ours, theirs = moved(self.side, other), moved(self.side, recipe)
        if not ours or self.among == "burst":
            return None
        return Shares(ours, theirs, "more", self.event, self.among)


@dataclass(frozen=True)
class Matched(Comparison):
    """A quantity of two arms of the mechanism, at equal training loss where both reach it."""

    kind = "difference"
    quantity: Quantity
    dataset: str
    arm: str
    against: str

    @property
    def label(self) -> str:
        return f"{ARM_NAMES[self.arm]}, against {ARM_NAMES[self.against]} ({title(self.dataset)})"

    @property
    def quantity_name(self) -> str:
        return self.quantity.name

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple((Cell(self.dataset, arm, None),) for arm in (self.arm, self.against))

    def when(self, evidence: Evidence) -> str:
        """Say whether the arms are compared at equal training loss (matched) or at the end."""
        return self._pair(evidence).when

    def _pair(self, evidence: Evidence) -> Pair:
        table = evidence.matched
        return pair(table, self.dataset, self.arm, self.against, self.quantity.column)

    def tested(self, evidence: Evidence) -> Tested | None:
        table = evidence.matched
        here = set(table.loc[table["dataset"] == self.dataset, "recipe"])
        if not {self.arm, self.against} <= here:
            return None
        found = self._pair(evidence)
        ours, theirs = (self.quantity.turned(each) for each in (found.values, found.others))
        scale = self.quantity.scale(self.dataset)
        return Ranked(scale, ours, theirs, ours, theirs, WHEN[found.when])


ARM_NAMES: Mapping[str, str] = {
    "small": "0.1 throughout",
    "large_1": "0.384 for 1 epoch then 0.1",
    "large_5": "0.384 for 5 epochs then 0.1",
    "large_10": "0.384 for 10 epochs then 0.1",
    "large": "0.384",
    "smallest": "0.02",
    "large_batch": "0.384 with batches of 123",
    "small_batch": "0.1 with batches of 8",
}
"""Recipe of the mechanism → its name for readers; batches of 32 where nothing else is said."""


WHEN = {"matched": "at equal training loss", "last": "after the last epoch, at unequal loss"}
"""How arms are compared → its words for readers."""


@dataclass(frozen=True)
class NoSurvivor(Comparison):
    """No network that ends trained ever had a gradient norm above a bound."""

    kind = "fact"
    can_refute = False
    side: Side
    norm: float

    @property
    def label(self) -> str:
        where = f"{rates(self.side)} ({on_datasets(self.side)})"
        return f"{where}: no trained network's gradient norm passed {self.norm:g}"

    @property
    def quantity_name(self) -> str:
        return "largest gradient norm"

    @property
    def sides(self) -> tuple[Side, ...]:
        return (self.side,)

    def tested(self, evidence: Evidence) -> Tested | None:
        networks = evidence.of(self.side)
        if networks is None:
            return None
        lost, peaks = happened("lost", networks), networks["peak_gradient_norm"]
        survivors = burst(networks, self.norm) & (networks["outcome"] == "trained")
        told = f"largest of the others {_known(peaks[~lost], max)}"
        told += f", smallest of a lost one {_known(peaks[lost], min)}"
        return Stated(Scale("share", 1, SHARE_MARGIN), not survivors.any(), told)

    def on(self, recipe: str) -> "NoSurvivor | None":
        side = moved(self.side, recipe)
        return replace(self, side=side) if side else None


def _known(norms: Values, chosen: Callable[[list[float]], float]) -> str:
    """Write the largest or smallest norm that is not missing."""
    known = norms[~np.isnan(norms)].tolist()
    return f"{chosen(known):.3g}" if known else "–"


@dataclass(frozen=True)
class SameNumbers(Comparison):
    """The numbers in the study's README equal those of its notebook, to the last digit."""

    kind = "fact"
    printed: Mapping[float, float]
    output: Mapping[float, float | None]

    @property
    def label(self) -> str:
        return "the numbers in the study's README are those of its notebook"

    @property
    def quantity_name(self) -> str:
        return "printed numbers"

    @property
    def sides(self) -> tuple[Side, ...]:
        return ()

    def tested(self, evidence: Evidence) -> Tested | None:
        del evidence
        same = [
            (other := self.output.get(rate)) is not None and abs(other - number) <= ROUNDING
            for rate, number in self.printed.items()
        ]
        return Stated(Scale("share", 1, SHARE_MARGIN), all(same))


def moved(side: Side, recipe: str) -> Side:
    """Put a recipe in core's place, and drop the cells of all recipes but core."""
    return tuple(replace(cell, recipe=recipe) for cell in side if cell.recipe == CORE)


def contrast(first: Side, second: Side) -> str:
    """Say which two sides are compared: their rates, or their recipes where these differ."""
    ours, theirs = recipes(first), recipes(second)
    where = f"({on_datasets(first)})"
    if ours == theirs:
        return f"{rates(first)} against {rates(second)} {where}"
    return f"{ours} against {theirs}, {rates(first)} {where}"


def recipes(side: Side) -> str:
    """Name the recipes of a side."""
    names = dict.fromkeys(cell.recipe for cell in side)
    return listed(map(named, names))


def rates(side: Side) -> str:
    """Name the rates of a side, in increasing order."""
    if isinstance(chosen := side[0].rate, Favourite):
        return f"the better of {listed(f'{each:g}' for each in chosen.rates)}"
    numbers = {cell.rate for cell in side if isinstance(cell.rate, float)}
    return listed(f"{each:g}" for each in sorted(numbers))


def on_datasets(side: Side) -> str:
    """Name the datasets of a side."""
    return listed(title(name) for name in dict.fromkeys(cell.dataset for cell in side))


def listed(names: Iterable[str]) -> str:
    """Write a list for readers: a, b and c."""
    *most, last = [*names] or [""]
    return f"{', '.join(most)} and {last}" if most else last
