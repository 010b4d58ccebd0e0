"""The tables of metrics/, from the measured runs that params.yaml names."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from stages.common.datasets import DatasetName
from stages.common.errors import UserError
from stages.common.parameters import CANDIDATE
from stages.common.tables import OUTCOMES
from stages.diagnostics import diagnostics_files
from stages.diagnostics.diagnostics_files import Measured
from stages.results.parameters import AggregateParams
from stages.training import run_files

CONFIDENCE = 0.95
FEWEST_FOR_AN_INTERVAL = 3

WHICH_RUN = ["dataset", "role", "learning_rate"]
ENDING = ["outcome", "lost_epoch", "lost_step", "lost_how"]
LAST_SCORES = [
    *("validation_accuracy", "test_accuracy", "test_mape", "test_loss", "train_loss"),
    *("train_accuracy", "gradient_norm_mean", "relative_update_mean", "noise_scale"),
]
"""Columns of the history. The seeds' table has their values at the last epoch."""
RENAMED = {"gradient_norm_mean": "gradient_norm", "relative_update_mean": "relative_update"}
"""Column of the history → its name in the seeds' table."""
WHOLE_RUN = ["running_accuracy", "steps_to_threshold", "peak_gradient_norm"]


@dataclass(frozen=True)
class StudyRun:
    """The measured networks of one learning rate and their place in the study."""

    dataset: DatasetName
    role: str
    """grid or candidate."""
    learning_rate: float
    measured: Measured


def gather(declared: AggregateParams, runs: Path) -> Iterator[StudyRun]:
    """Read the runs that the parameters name. Other folders are ignored.

    Args:
        declared: Which datasets and learning rates.
        runs: Holds <dataset>/<learning rate>/ and <dataset>/candidate/.

    Raises:
        UserError: A run is absent, is damaged, or belongs to another dataset or learning rate.
    """
    for dataset in declared.datasets:
        named = [(str(rate), "grid", rate) for rate in declared.learning_rates]
        named.append((CANDIDATE, "candidate", declared.lr))
        for name, role, rate in named:
            folder = runs / dataset / name
            measured = diagnostics_files.load(folder)
            for fact, expected in (("dataset", dataset), ("learning_rate", rate)):
                found = measured.facts[fact]
                if found != expected:
                    raise UserError(
                        f"{folder / 'run.json'} says {fact} {found} instead of {expected}: "
                        "recreate it with: dvc repro"
                    )
            if flaw := next(_flaws(measured), None):
                table, told = flaw
                command = run_files.remedy(folder, "record", "record_candidate")
                raise UserError(
                    f"{folder / table}.csv is damaged ({told}): recreate it with: {command}"
                )
            yield StudyRun(dataset, role, float(rate), measured)


def _flaws(measured: Measured) -> Iterator[tuple[str, str]]:
    """Name the tables that cannot be those of the run's networks and epochs, and say why.

    A network is no longer measured once it has exploded. Every network is measured at epoch 0.
    """
    lost = measured.networks["outcome"] == "lost"
    if not measured.networks["outcome"].isin(OUTCOMES).all():
        yield "networks", f"outcome is not one of {', '.join(OUTCOMES)}"
    if measured.networks.loc[lost, ENDING].isna().any(axis=None):
        yield "networks", "it does not say when or how a lost network was lost"
    for table in _incomplete(measured):
        yield table, "it lacks rows, has some twice, or has those of other networks"


def _incomplete(measured: Measured) -> Iterator[str]:
    """Name the tables that lack rows, or have some too many."""
    seeds, epochs = measured.facts["seeds"], measured.facts["epochs"]
    # Checked first: a damaged run.json may name so many epochs that the sets below fill the memory.
    if len(measured.history) != len(seeds) * epochs:
        yield "history"
        return
    starts = {*product(seeds, [0])}
    trained = {*product(seeds, range(1, epochs + 1))}
    if sorted(measured.networks["seed"]) != sorted(seeds):
        yield "networks"
    if sorted(_places(measured.history)) != sorted(trained):
        yield "history"
    sharpness = _places(measured.sharpness)
    if len({*sharpness}) < len(sharpness) or not starts <= {*sharpness} <= starts | trained:
        yield "sharpness"
    layers = max(1, measured.features["layer"].nunique())
    if sorted(_places(measured.features)) != sorted(sharpness * layers):
        yield "features"
    if measured.features.duplicated(["seed", "epoch", "layer"]).any():
        yield "features"


def _places(table: pd.DataFrame) -> list[tuple[int, int]]:
    """List the seed and the epoch of each row."""
    return [*zip(table["seed"], table["epoch"], strict=True)]


def history_table(study: Sequence[StudyRun]) -> pd.DataFrame:
    """Concatenate the histories of all runs: one row per dataset, rate, seed and epoch.

    `learning_rate_now` is the rate in force at the epoch's last step.
    """
    now = {"learning_rate": "learning_rate_now"}
    return _end_to_end(study, lambda measured: measured.history.rename(columns=now))


def diagnostics_table(study: Sequence[StudyRun]) -> pd.DataFrame:
    """Concatenate all diagnostics: one row per dataset, rate, seed and epoch, from epoch 0.

    A quantity of the hidden layers has one column per layer, `effective_rank_1` and so on.
    """
    return _end_to_end(study, lambda measured: _diagnostics(measured).reset_index())


def seeds_table(study: Sequence[StudyRun]) -> pd.DataFrame:
    """Summarize each network in one row.

    Scores, sharpness and the columns of the hidden layers are those of the last epoch. Values that
    are not finite are missing.
    """
    return _end_to_end(study, _networks)


def _end_to_end(
    study: Sequence[StudyRun], table_of: Callable[[Measured], pd.DataFrame]
) -> pd.DataFrame:
    """Concatenate one table per run; the first columns of a row say which run it belongs to."""
    tables = []
    for run in study:
        place = {name: getattr(run, name) for name in WHICH_RUN}
        tables.append(pd.DataFrame({**place, **table_of(run.measured)}))
    return pd.concat(tables, ignore_index=True).replace([np.inf, -np.inf], np.nan)


def _diagnostics(measured: Measured) -> pd.DataFrame:
    """Join sharpness and the measures of all hidden layers: one row per seed and epoch."""
    layers = measured.features.pivot(index=["seed", "epoch"], columns="layer")
    layers.columns = layers.columns.map("{0[0]}_{0[1]}".format)
    return measured.sharpness.set_index(["seed", "epoch"]).join(layers)


def _networks(measured: Measured) -> pd.DataFrame:
    """Join each network's outcome with its scores and diagnostics at the last epoch."""
    scores = measured.history.set_index(["seed", "epoch"])[LAST_SCORES].rename(columns=RENAMED)
    diagnostics = _diagnostics(measured).drop(columns="residual")
    table = measured.networks.set_index("seed")
    table["chance_accuracy"] = measured.facts["chance_accuracy"]
    for quantities in (scores, diagnostics):
        last = quantities.index.get_level_values("epoch") == measured.facts["epochs"]
        table = table.join(quantities[last].droplevel("epoch"))
    columns = [*ENDING, "chance_accuracy", *scores, *WHOLE_RUN, *diagnostics]
    return table[columns].reset_index()


def interval(values: pd.Series) -> dict[str, float]:
    """Compute mean, standard deviation and the 95 % interval of the mean (Student's t).

    Args:
        values: One per seed; missing ones are ignored. With fewer than three, only the mean is
            computed; the rest is NaN.
    """
    known = values.dropna().astype(float)
    mean = known.mean()
    if len(known) < FEWEST_FOR_AN_INTERVAL:
        return {"mean": mean, "std": np.nan, "low": np.nan, "high": np.nan}
    deviation = known.std()
    # `scipy.stats` has it as well, but takes a second to import.
    quantile = special.stdtrit(len(known) - 1, (1 + CONFIDENCE) / 2)
    reach = quantile * deviation / np.sqrt(len(known))
    return {"mean": mean, "std": deviation, "low": mean - reach, "high": mean + reach}


def grid_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """Summarize each dataset and learning rate in one row.

    Seeds are counted by outcome. `seeds_exploded` counts the lost seeds that exploded.
    `seeds_at_threshold` counts the seeds that reached the threshold, even if they were lost later.
    Every other quantity is averaged over the seeds that trained.
    """
    quantities = seeds.columns.drop([*WHICH_RUN, "seed", *ENDING, "chance_accuracy"])
    rows = []
    for place, group in seeds.groupby(WHICH_RUN, sort=False):
        row: dict[str, Any] = dict(zip(WHICH_RUN, place, strict=True))
        row["seeds"] = len(group)
        row |= {f"seeds_{outcome}": (group["outcome"] == outcome).sum() for outcome in OUTCOMES}
        row["seeds_exploded"] = (group["lost_how"] == "exploded").sum()
        row["seeds_at_threshold"] = group["steps_to_threshold"].notna().sum()
        trained = group[group["outcome"] == "trained"]
        for quantity in quantities:
            statistics = interval(trained[quantity])
            row |= {f"{quantity}_{name}": value for name, value in statistics.items()}
        rows.append(row)
    return pd.DataFrame(rows)
