"""What the figures are drawn from: the tables of metrics/ and the steps of every run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.core import runs

WHICH_RUN = ["dataset", "role", "learning_rate"]
WHICH_NETWORK = [*WHICH_RUN, "seed"]
OUTCOMES = ("trained", "collapsed", "exploded")
SPARSITY, RANK = "feature_sparsity", "effective_rank"
"""Each is the start of a column's name; the number of a hidden layer follows."""

RunKey = tuple[str, str, float]
"""Dataset, role and learning rate."""


class RunSteps(NamedTuple):
    """What every step of one run was like."""

    loss: NDArray[np.float32]
    """(steps, networks)."""
    gradient_norm: NDArray[np.float32]
    """(steps, networks), before any clipping."""
    per_epoch: int

    def running(self) -> NDArray[np.bool_]:
        """Tell, (steps, networks), the steps before the first loss that is not finite."""
        finite: NDArray[np.bool_] = np.logical_and.accumulate(np.isfinite(self.loss), axis=0)
        return finite


@dataclass(frozen=True)
class Study:
    """Everything the figures show; the tables are those of `stages.aggregate`."""

    history: pd.DataFrame
    diagnostics: pd.DataFrame
    seeds: pd.DataFrame
    steps: Mapping[RunKey, RunSteps]

    @property
    def datasets(self) -> list[str]:
        return list(self.seeds["dataset"].unique())

    @property
    def layers(self) -> list[int]:
        """Numbers of the hidden layers."""
        names = self.seeds.columns[self.seeds.columns.str.startswith(f"{SPARSITY}_")]
        return sorted(int(name.rpartition("_")[2]) for name in names)


def of_dataset(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Select one dataset's rows."""
    return table[table["dataset"] == dataset]


def run_folder(folder: Path, key: RunKey) -> Path:
    """Find a run among those of its dataset by the number in its name.

    A rate has several spellings (1 and 1.0), and the tables keep six digits of it.
    """
    dataset, role, rate = key
    if role == runs.CANDIDATE:
        return folder / dataset / runs.CANDIDATE
    places = [path.parent for path in sorted((folder / dataset).glob("*/run.json"))]
    named = (place for place in places if place.name != runs.CANDIDATE)
    same = (place for place in named if f"{float(place.name):.6g}" == f"{rate:.6g}")
    return next(same, folder / dataset / f"{rate:g}")


def load_steps(folder: Path, seeds: pd.DataFrame) -> dict[RunKey, RunSteps]:
    """Read the steps of every run in the seeds' table.

    Args:
        folder: data/runs.
        seeds: The table.

    Raises:
        UserError: A run is absent or damaged; names the command that makes it anew.
    """
    steps = {}
    for dataset, role, rate in seeds[WHICH_RUN].drop_duplicates().itertuples(index=False):
        key = (dataset, role, rate)
        place = run_folder(folder, key)
        per_epoch = runs.load_tables(place).facts["steps_per_epoch"]
        arrays = runs.load_steps(place)
        steps[key] = RunSteps(arrays["loss"], arrays["gradient_norm"], per_epoch)
    return steps
