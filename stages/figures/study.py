"""What the figures are drawn from: the tables of metrics/, and a few of each run's steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

WHICH_RUN = ["dataset", "role", "learning_rate"]
WHICH_NETWORK = [*WHICH_RUN, "seed"]
SPARSITY, RANK = "feature_sparsity", "effective_rank"
"""Each is the start of a column's name; the number of a hidden layer follows."""

RunKey = tuple[str, str, float]
"""Dataset, role and learning rate."""


class RunSteps(NamedTuple):
    """Some steps of one run."""

    first_epoch: pd.DataFrame
    """Columns step (from 1) and gradient_norm."""
    bursts: pd.DataFrame
    """Columns seed, step (relative to the step at which the network was lost), loss and
    gradient_norm; only of networks that were lost."""


@dataclass(frozen=True)
class Study:
    """Everything the figures show."""

    history: pd.DataFrame
    """metrics/history.csv: one row per network and epoch, from 1."""
    diagnostics: pd.DataFrame
    """metrics/diagnostics.csv: one row per network and epoch, from 0 (the start)."""
    seeds: pd.DataFrame
    """metrics/seeds.csv: one row per network."""
    steps: Mapping[RunKey, RunSteps]

    @property
    def datasets(self) -> list[str]:
        return list(self.seeds["dataset"].unique())

    @property
    def layers(self) -> list[int]:
        """Numbers of the hidden layers, in order."""
        numbers = self.seeds.columns.str.extract(rf"^{SPARSITY}_(\d+)$", expand=False)
        return sorted(numbers.dropna().astype(int))


def of_dataset(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Select one dataset's rows."""
    return table[table["dataset"] == dataset]


def until_lost(table: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """Drop each network's epochs from the one it was lost in.

    Args:
        table: One row per network and epoch.
        seeds: One row per network, with its `lost_epoch`, missing where it was not lost.
    """
    losses = seeds[[*WHICH_NETWORK, "lost_epoch"]]
    joined = table.merge(losses, on=WHICH_NETWORK, validate="many_to_one")
    return joined[~(joined["epoch"] >= joined["lost_epoch"])]
