"""What leaves few active features: large steps, short training or the noise of small batches.

An arm is a way to train; all arms train for the same number of epochs (see `ARMS`). Training loss
and features both change during training. Arms are therefore compared at the same training loss:
each network at its first epoch, after its rate has decayed, with a loss of at most a bound.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ARMS: Mapping[str, int] = {
    "small": 0,
    "large_1": 1,
    "large_5": 5,
    "large_10": 10,
    "large": 0,
    "smallest": 0,
    "large_batch": 0,
    "small_batch": 0,
}
"""Recipe → the epochs before its rate decays to that of `small`; 0 where it never changes."""
BOUND_ARMS = ("small", "large_1", "large_5", "large_10")
"""The arms that end at the small rate: their final losses set the bound."""
MEASURES = ("train_loss", "feature_sparsity", "effective_rank", "parameter_norm", "test_accuracy")
ENOUGH = 0.5
"""If a smaller share of either arm's networks reaches the bound, both are compared at the end."""

When = Literal["matched", "last"]


@dataclass(frozen=True)
class Pair:
    """The values of two arms to compare."""

    when: When
    """matched: at the bound; last: after the last epoch, where too few reach the bound."""
    values: NDArray[np.float64]
    """(networks,) of the arm: those with a value, not lost, and (matched) at the bound."""
    others: NDArray[np.float64]
    """(networks,) of the arm that it is compared with."""


def bound(epochs: pd.DataFrame) -> float:
    """Compute the training loss at which arms are compared: at least half of each arm reach it.

    Args:
        epochs: Of one dataset, without lost networks: recipe, epoch, train_loss.

    Returns:
        The largest, over the arms that end at the small rate, of the medians of their networks'
        losses after the last epoch, in nats; NaN without such networks.
    """
    ending = epochs[epochs["recipe"].isin(BOUND_ARMS)]
    final = ending[ending["epoch"] == ending.groupby("recipe")["epoch"].transform("max")]
    return float(final.groupby("recipe")["train_loss"].median().max())


def matched(epochs: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """Take every network of the arms at the bound, and at the end.

    Args:
        epochs: The audit's, as epochs.csv has them.
        networks: The audit's, as networks.csv has them: the outcomes.

    Returns:
        One row per network: dataset, recipe (the arm), seed, outcome; bound (nats);
        matched_epoch, and with the prefix matched_ what was measured after it: train_loss (nats),
        feature_sparsity, effective_rank, parameter_norm, test_accuracy; last_epoch, and the same
        with the prefix last_. All are missing for a lost network; those with the prefix matched_
        also if the bound is never reached.
    """
    key = ["dataset", "recipe", "seed"]
    chosen = networks.loc[networks["recipe"].isin(ARMS), [*key, "outcome"]]
    alive = epochs.merge(chosen[chosen["outcome"] != "lost"], on=key)
    bounds = {dataset: bound(rows) for dataset, rows in alive.groupby("dataset", sort=False)}
    limit = alive["dataset"].map(bounds)
    after = alive["epoch"] > alive["recipe"].map(ARMS)
    reached = alive[after & (alive["train_loss"] <= limit)]
    last = alive[alive["epoch"] == alive.groupby("recipe")["epoch"].transform("max")]
    table = chosen.assign(bound=chosen["dataset"].map(bounds))
    for name, rows in (("matched", reached), ("last", last)):
        first = rows.sort_values("epoch").drop_duplicates(key)[[*key, "epoch", *MEASURES]]
        renamed = {column: f"{name}_{column}" for column in ("epoch", *MEASURES)}
        table = table.merge(first.rename(columns=renamed), on=key, how="left")
    whole = ["matched_epoch", "last_epoch"]
    return table.astype(dict.fromkeys(whole, "Int64"))


def pair(table: pd.DataFrame, dataset: str, arm: str, against: str, quantity: str) -> Pair:
    """Return a quantity of two arms: at the bound if half of each reach it, else at the end.

    Args:
        table: As `matched` returns it.
        dataset: Name of the dataset.
        arm: One of `ARMS`.
        against: The arm that it is compared with.
        quantity: One of `MEASURES`.
    """
    here = table[table["dataset"] == dataset]
    both = [here[here["recipe"] == name] for name in (arm, against)]
    few = any(each["matched_epoch"].notna().mean() < ENOUGH for each in both)
    when: When = "last" if few else "matched"
    values, others = (each[f"{when}_{quantity}"].dropna().to_numpy(dtype=float) for each in both)
    return Pair(when, values, others)
