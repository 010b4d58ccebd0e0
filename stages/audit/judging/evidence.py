"""The audit's tables, cut into cells: a dataset, a recipe and a learning rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.audit.judging.mechanism import matched

CELL = ["dataset", "recipe", "learning_rate"]
Half = Literal["lower", "upper"]


@dataclass(frozen=True)
class Favourite:
    """The one of several rates with the best validation accuracy in the lower half of the seeds."""

    rates: tuple[float, ...]


@dataclass(frozen=True)
class Cell:
    """Networks that differ in their seeds alone."""

    dataset: str
    recipe: str
    rate: float | Favourite | None
    """None: the only rate of the recipe."""
    upper_half: bool = False
    """Use only the upper half of the seeds, because the lower half chose the favourite."""


Side: TypeAlias = tuple[Cell, ...]
"""One side of a comparison: the networks of some cells, pooled."""


Networks: TypeAlias = Mapping[str, NDArray[Any]]
"""Column → its values, (networks,), in the order of their seeds."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was trained."""

    networks: pd.DataFrame
    """One row per network, as `read_tables.networks` reads them."""
    epochs: pd.DataFrame
    """One row per network and epoch, for the recipes of the mechanism."""

    @cached_property
    def _cells(self) -> Mapping[Any, Networks]:
        """Dataset, recipe and rate → the networks of a cell."""
        table = self.networks.sort_values("seed", kind="stable")
        columns = {str(name): table[name].to_numpy() for name in table}
        return {
            cell: {name: values[places] for name, values in columns.items()}
            for cell, places in table.groupby(CELL).indices.items()
        }

    @cached_property
    def matched(self) -> pd.DataFrame:
        """The networks of the mechanism recipes at equal training loss, and at the end."""
        return matched(self.epochs, self.networks)

    def size(self, cell: Cell) -> int:
        """Count the networks of a cell, both halves of its seeds."""
        rate = self.rate(cell)
        return sum(
            len(networks["seed"])
            for (dataset, recipe, other), networks in self._cells.items()
            if (dataset, recipe) == (cell.dataset, cell.recipe) and rate in (other, None)
        )

    def of(self, side: Side) -> Networks | None:
        """Take the networks of one side of a comparison; None where a cell has none."""
        found = [networks for cell in side if (networks := self._of(cell)) is not None]
        if not side or len(found) < len(side):
            return None
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    def both(self, first: Side, second: Side) -> tuple[Networks, Networks] | None:
        """Take the networks of both sides of a comparison; None where a cell has none."""
        ours, theirs = self.of(first), self.of(second)
        return None if ours is None or theirs is None else (ours, theirs)

    def _of(self, cell: Cell) -> Networks | None:
        networks = self._cells.get((cell.dataset, cell.recipe, self.rate(cell)))
        if networks is None or not cell.upper_half:
            return networks
        return only(networks, slice(len(networks["seed"]) // 2, None))

    def rate(self, cell: Cell) -> float | None:
        """Return a cell's rate; None for a recipe's only rate, or if there is no favourite.

        There is no favourite if one of the rates to choose from was not run.
        """
        if not isinstance(cell.rate, Favourite):
            return cell.rate
        medians = {}
        for rate in cell.rate.rates:
            networks = self._cells.get((cell.dataset, cell.recipe, rate))
            if networks is None:
                return None
            lower = only(networks, slice(len(networks["seed"]) // 2))
            accuracy = np.where(lower["outcome"] == "lost", -np.inf, lower["validation_accuracy"])
            medians[rate] = float(np.median(accuracy)) if len(accuracy) else -np.inf
        return max(medians, key=lambda rate: medians[rate])

    def half(self, which: Half) -> "Evidence":
        """Keep the lower or the upper half of every cell's seeds."""
        table = self.networks.sort_values("seed", kind="stable")
        cells = table.groupby(CELL, sort=False)["seed"]
        lower = cells.cumcount() < cells.transform("size") // 2
        networks = table[lower if which == "lower" else ~lower]
        keys = ["dataset", "recipe", "seed"]
        return Evidence(networks, self.epochs.merge(networks[keys].drop_duplicates(), on=keys))


def only(networks: Networks, chosen: NDArray[Any] | slice) -> Networks:
    """Keep some networks, by a mask or by their places."""
    return {name: values[chosen] for name, values in networks.items()}
