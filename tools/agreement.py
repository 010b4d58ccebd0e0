"""Do two sets of networks look alike? Tests of every learning rate of every recipe.

A *cell* is one learning rate of one recipe on one dataset. In each cell that both tables have, two
kinds of things are compared:

- how many networks trained, were undertrained and were lost: the exact test of Fisher, Freeman and
  Halton (1951). With few seeds, a single cell shows little; so how many trained and how many were
  lost is compared over all cells of a table as well, by the exact form of the test of Cochran,
  Mantel and Haenszel (Agresti, "Categorical Data Analysis", 2013, section 7.3);
- accuracies, losses, steps and active features of the networks that trained: Welch's t-test (1947),
  which does not assume that both scatter alike. Losses and steps are compared as ratios, by their
  logarithms, because they scatter in proportion to their size.

Many comparisons are made. Holm's correction (1979) limits the probability that any of them differs
by chance to 5 %: half of it for outcomes, half for values, because outcomes are few, and would not
show among hundreds of values. The intervals are Bonferroni's: all of them hold together with 97.5 %
confidence.
Cells whose networks are the same on both sides are to be left out (`Cell.is_same`): there is
nothing to find in them, and counting them would hide what the others show.

The networks of the two tables count as different ones, even if their seeds are equal, because
rounding alone makes them differ (metrics/audit/rounding.csv). Where they stay alike in part, as at
small rates, the tests are conservative.
"""

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from stages.common.tables import OUTCOMES, last_layer

LEVEL = 0.05
FEWEST = 3
"""With fewer trained networks on a side nothing but outcomes is compared."""
OUTCOME = "outcomes"
COMPARISON = ["table", "cell", "quantity", "old_shown", "new_shown", "change", "p"]


@dataclass(frozen=True)
class Quantity:
    """Something that is known of each trained network."""

    column: str
    name: str
    is_ratio: bool = False
    """Whether it is compared by its logarithm; it is otherwise a share, shown in percent."""


QUANTITIES = (
    Quantity("validation_accuracy", "validation accuracy"),
    Quantity("test_accuracy", "test accuracy"),
    Quantity("train_loss", "training loss", is_ratio=True),
    Quantity("test_loss", "test loss", is_ratio=True),
    Quantity("steps_to_threshold", "steps to threshold", is_ratio=True),
    Quantity("feature_sparsity", "active features"),
)
"""Active features are those of the last hidden layer."""

Tables = Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]


@dataclass(frozen=True)
class Cell:
    """The networks of one learning rate of one recipe on one dataset, in two tables."""

    table: str
    name: str
    """Such as "mnist grid 0.1"."""
    old: pd.DataFrame
    new: pd.DataFrame

    def is_same(self) -> bool:
        """Tell whether the networks are the same on both sides, in all that is compared."""
        return _compared_columns(self.old).equals(_compared_columns(self.new))

    def pairs(self) -> Iterator[tuple[Quantity, pd.Series, pd.Series]]:
        """Find what can be compared of the networks that trained.

        Yields:
            The quantity and its values on both sides, three or more each.
        """
        for quantity in QUANTITIES:
            before, after = values_of(quantity, self.old), values_of(quantity, self.new)
            if min(len(before), len(after)) >= FEWEST:
                yield quantity, before, after


def _compared_columns(networks: pd.DataFrame) -> pd.DataFrame:
    """Take what is compared of each network, in the order of the seeds."""
    columns = [last_layer(networks, each.column) for each in QUANTITIES]
    values = networks.reindex(columns=columns).astype(float)
    named = values.set_axis([each.name for each in QUANTITIES], axis=1)
    told = networks[["seed", "outcome"]].join(named)
    return told.sort_values("seed", ignore_index=True)


def agreement(cells: Sequence[Cell]) -> pd.DataFrame:
    """Compare the networks of cells.

    Returns:
        One row per comparison: table, cell, quantity; old_shown, new_shown and change, as text; p;
        corrected, which is p after the correction; differs, whether that is below 5 %.
    """
    count = sum(1 for cell in cells for _ in cell.pairs())
    rows: list[dict[str, Any]] = []
    for cell in cells:
        place = {"table": cell.table, "cell": cell.name}
        rows.append(place | compare_outcomes(cell.old["outcome"], cell.new["outcome"]))
        for quantity, before, after in cell.pairs():
            rows.append(place | compare_values(quantity, before, after, LEVEL / 2 / count))
    for table in dict.fromkeys(cell.table for cell in cells):
        inside = [cell for cell in cells if cell.table == table]
        rows += [compare_totals(table, inside, outcome) for outcome in ("trained", "lost")]
    found = pd.DataFrame(rows, columns=COMPARISON).assign(corrected=np.nan)
    of_outcomes = found["quantity"] == OUTCOME
    for half in (of_outcomes, ~of_outcomes):
        if half.any():
            corrected = 2 * multipletests(found.loc[half, "p"], LEVEL / 2, method="holm")[1]
            found.loc[half, "corrected"] = np.minimum(corrected, 1)
    found["differs"] = found["corrected"] < LEVEL
    return found


def compare_totals(table: str, cells: Sequence[Cell], outcome: str) -> dict[str, Any]:
    """Compare how many networks ended in one way, over all cells of a table."""
    ended = [(cell.old["outcome"] == outcome, cell.new["outcome"] == outcome) for cell in cells]
    shown = [
        f"{sum(map(sum, side))} of {sum(map(len, side))} {outcome}"
        for side in zip(*ended, strict=True)
    ]
    return {
        "table": table,
        "cell": f"all cells of {table}",
        "quantity": OUTCOME,
        "old_shown": shown[0],
        "new_shown": shown[1],
        "change": "",
        "p": same_total([(sum(old), len(old), sum(new), len(new)) for old, new in ended]),
    }


def same_total(strata: Sequence[tuple[int, int, int, int]]) -> float:
    """Test whether two groups have the same share of something in all strata.

    Args:
        strata: Of each, how many of the first group have it, how many there are, and the same of
            the second group.

    Returns:
        The probability, with the totals of every stratum given, of a sum over the second group's
        counts that is no more probable than the one found. Such a sum is one of independent
        hypergeometric variables.
    """
    probabilities = np.ones(1)
    for have, size, other_have, other_size in strata:
        counts = np.arange(other_size + 1)
        drawn = stats.hypergeom.pmf(counts, size + other_size, have + other_have, other_size)
        probabilities = np.convolve(probabilities, drawn)
    observed = probabilities[sum(other_have for *_, other_have, _ in strata)]
    # Rounding must not exclude counts that are equally probable.
    return min(1.0, float(probabilities[probabilities <= observed * (1 + 1e-9)].sum()))


def cell_columns(table: pd.DataFrame) -> list[str]:
    """Name the columns that tell a network's cell."""
    return [name for name in ("dataset", "role", "recipe", "learning_rate") if name in table]


def shared_cells(tables: Tables) -> list[Cell]:
    """List the cells that both versions of a table have.

    Args:
        tables: By name, the old and the new version: one row per network.
    """
    cells = []
    for name, (old, new) in tables.items():
        after = dict(iter(new.groupby(cell_columns(new), sort=False)))
        for cell, rows in old.groupby(cell_columns(old), sort=False):
            if cell in after:
                cells.append(Cell(name, " ".join(map(str, cell)), rows, after[cell]))
    return cells


def values_of(quantity: Quantity, table: pd.DataFrame) -> pd.Series:
    """Take a quantity of the networks that trained, without those that have no usable value.

    A usable value is finite and positive, or a share from 0 to 1.
    """
    column = last_layer(table, quantity.column)
    trained = table["outcome"] == "trained"
    values: pd.Series = table.reindex(columns=[column]).loc[trained, column]
    usable: pd.Series = (
        np.isfinite(values) & (values > 0) if quantity.is_ratio else values.between(0, 1)
    )
    return values[usable]


def missing_values(quantity: Quantity, table: pd.DataFrame) -> int:
    """Count the networks that trained and have no usable value of a quantity."""
    return int((table["outcome"] == "trained").sum()) - len(values_of(quantity, table))


def compare_outcomes(old: pd.Series, new: pd.Series) -> dict[str, Any]:
    """Compare how networks ended."""
    counts = [[int((side == outcome).sum()) for outcome in OUTCOMES] for side in (old, new)]
    shown = ["{} trained, {} undertrained, {} lost".format(*side) for side in counts]
    return {
        "quantity": OUTCOME,
        "old_shown": shown[0],
        "new_shown": shown[1],
        "change": "",
        "p": same_shares(*counts),
    }


def same_shares(first: Sequence[int], second: Sequence[int]) -> float:
    """Test whether two groups fall into classes with the same shares (Freeman and Halton, 1951).

    Args:
        first: How many of the first group fall into each class.
        second: Those of the second.

    Returns:
        The probability, with the totals of groups and classes given, of counts that are no more
        probable than these.
    """
    totals, drawn = np.add(first, second), sum(second)
    free = itertools.product(*(range(total + 1) for total in totals[:-1]))
    ways = np.array([second, *((*way, drawn - sum(way)) for way in free)])
    observed, *probabilities = np.ravel(stats.multivariate_hypergeom.pmf(ways, totals, drawn))
    # Rounding must not exclude counts that are equally probable.
    return min(1, float(sum(each for each in probabilities if each <= observed * (1 + 1e-9))))


def compare_values(
    quantity: Quantity, old: pd.Series, new: pd.Series, level: float
) -> dict[str, Any]:
    """Compare a quantity of a cell's trained networks.

    Args:
        quantity: The quantity.
        old: One value per network.
        new: One value per network; these are other networks.
        level: The interval holds with a probability of 1 - level.
    """
    sides = [np.log(side) if quantity.is_ratio else side for side in (old, new)]
    difference, low, high, p = welch(sides[0], sides[1], level)
    if quantity.is_ratio:
        with np.errstate(over="ignore"):  # beyond the largest number, a ratio is infinite
            times = [f"{value:.3g}" for value in np.exp([difference, low, high])]
        change = "× {} ({} to {})".format(*times)
        shown = [f"{np.exp(side.mean()):.4g}" for side in sides]
    else:
        points = [f"{100 * value:+.2f}" for value in (difference, low, high)]
        change = "{} points ({} to {})".format(*points)
        shown = [f"{100 * side.mean():.2f} %" for side in sides]
    return {
        "quantity": quantity.name,
        "old_shown": shown[0],
        "new_shown": shown[1],
        "change": change.replace("-", "−"),
        "p": p,
    }


def welch(old: pd.Series, new: pd.Series, level: float) -> tuple[float, float, float, float]:
    """Compare two means by Welch's t-test (1947).

    If neither side varies, t is undefined. Equal values then have p = 1. For different values, p is
    the probability that chance alone separates groups of these sizes completely.

    Returns:
        The difference new - old, the ends of its interval, and p.
    """
    difference = float(new.mean() - old.mean())
    if old.nunique() == new.nunique() == 1:
        # The means of equal values can differ in the last bit, where groups differ in size.
        if old.iloc[0] == new.iloc[0]:
            return 0.0, 0.0, 0.0, 1.0
        apart = 2 / math.comb(len(old) + len(new), len(old))
        return difference, difference, difference, apart
    with warnings.catch_warnings():
        # SciPy warns where the values of one side are all alike, which is no harm.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ttest_ind(new, old, equal_var=False)
    low, high = test.confidence_interval(1 - level)
    return difference, float(low), float(high), float(test.pvalue)
