"""Gather the runs that params.yaml names into the tables of metrics/."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel
from scipy import stats

from stages.core import params, runs
from stages.core.datasets import DatasetName
from stages.core.errors import UserError, run
from stages.core.files import json_text, whole_file

CONFIDENCE = 0.95
DIGITS = 6
"""Significant digits in the tables: finer differences are rounding of the arithmetic."""

WHICH_RUN = ["dataset", "role", "learning_rate"]
MEASURED = {
    "validation_accuracy": "validation_accuracy",
    "test_accuracy": "test_accuracy",
    "test_mape": "test_mape",
    "test_loss": "test_loss",
    "train_loss": "train_loss",
    "gradient_norm": "gradient_norm_mean",
}
"""Column of the seeds' table → column of the history, of which it is the last epoch."""


class AggregateParams(BaseModel):
    """The part of params.yaml that aggregation reads."""

    lr: params.Rate
    learning_rates: tuple[params.Rate, ...]
    datasets: tuple[DatasetName, ...]
    aggregate: params.Aggregate


@dataclass(frozen=True)
class Named:
    """A run and its place in the study."""

    dataset: DatasetName
    role: str
    """grid or candidate."""
    learning_rate: float
    run: runs.Run

    def label(self, table: pd.DataFrame) -> pd.DataFrame:
        """Put the place in the study before a table's own columns."""
        place = {"dataset": self.dataset, "role": self.role, "learning_rate": self.learning_rate}
        return pd.DataFrame({**place, **table.drop(columns="learning_rate", errors="ignore")})


def gather(declared: AggregateParams, folder: Path) -> Iterator[Named]:
    """Read the runs that the parameters name, and no others that may lie about.

    Raises:
        UserError: A run is absent or damaged, or was trained at another rate.
    """
    for dataset in declared.datasets:
        named = [(str(rate), "grid", rate) for rate in declared.learning_rates]
        named.append((runs.CANDIDATE, "candidate", declared.lr))
        for name, role, rate in named:
            found = runs.load(folder / dataset / name)
            if found.facts["learning_rate"] != float(rate):
                raise UserError(
                    f"{folder / dataset / name} was trained at {found.facts['learning_rate']:g} "
                    f"instead of {rate:g}: make it anew with: dvc repro"
                )
            yield Named(dataset, role, float(rate), found)


def history_table(study: Sequence[Named]) -> pd.DataFrame:
    """Lay every run's history end to end: a row a dataset, rate, seed and epoch."""
    tables = []
    for named in study:
        table = named.label(named.run.history)
        table.insert(6, "learning_rate_now", named.run.history["learning_rate"])
        tables.append(table)
    return pd.concat(tables, ignore_index=True).replace([np.inf, -np.inf], np.nan)


def seeds_table(study: Sequence[Named], declared: AggregateParams) -> pd.DataFrame:
    """Sum up each network in a row: how it ended, what it scored last, how fast it learned.

    A network diverged when the loss of a step was not finite; its accuracy then is that of
    predicting one class, and its losses are missing. Steps to the threshold are those before the
    first evaluation of the validation split that reached it, missing where none did.
    """
    tables = []
    for named in study:
        fates = pd.DataFrame(named.run.facts["networks"]).set_index("seed")
        fates = fates.reindex(columns=["diverged", "epoch", "step"])
        fates.columns = pd.Index(["diverged", "diverged_epoch", "diverged_step"])
        fates[["diverged_epoch", "diverged_step"]] = fates.iloc[:, 1:].astype("Int64")
        final = named.run.history.drop_duplicates("seed", keep="last").set_index("seed")
        for column, source in MEASURED.items():
            fates[column] = final[source].replace([np.inf, -np.inf], np.nan)
        threshold = declared.aggregate.threshold_accuracy[named.dataset]
        evaluations = named.run.validation
        reached = evaluations[evaluations["accuracy"] >= threshold]
        fates["steps_to_threshold"] = reached.groupby("seed")["step"].min()
        tables.append(named.label(fates.reset_index()))
    return pd.concat(tables, ignore_index=True)


def interval(values: pd.Series) -> dict[str, float]:
    """Compute mean, standard deviation and the 95 % interval of the mean (Student's t).

    Args:
        values: One a seed; missing ones do not count. One value has a mean and no more.
    """
    known = values.dropna().astype(float)
    mean, deviation = known.mean(), known.std(ddof=1)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, df=len(known) - 1) if len(known) > 1 else np.nan
    reach = quantile * deviation / np.sqrt(max(len(known), 1))
    return {"mean": mean, "std": deviation, "low": mean - reach, "high": mean + reach}


def grid_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """Sum up each dataset and rate in a row, over its seeds.

    Accuracies count every seed, losses and norms the seeds that did not diverge, steps to the
    threshold those that reached it.
    """
    rows = []
    for place, group in seeds.groupby(WHICH_RUN, sort=False):
        row: dict[str, Any] = dict(zip(WHICH_RUN, place, strict=True))
        row |= {"seeds": len(group), "seeds_diverged": int(group["diverged"].sum())}
        row["seeds_at_threshold"] = int(group["steps_to_threshold"].notna().sum())
        for column in [*MEASURED, "steps_to_threshold"]:
            row |= {f"{column}_{name}": value for name, value in interval(group[column]).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def summary(grid: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Choose the few numbers a dataset that `dvc metrics diff` compares.

    A number that does not exist (the loss when every seed diverged, the selection without a
    validation split) is left out.
    """
    chosen = {}
    for dataset, group in grid.groupby("dataset", sort=False):
        candidate = group[group["role"] == "candidate"].iloc[0]
        rates = group[group["role"] == "grid"]
        numbers = {
            "candidate_lr": candidate["learning_rate"],
            "validation_accuracy": candidate["validation_accuracy_mean"],
            "test_accuracy": candidate["test_accuracy_mean"],
            "test_loss": candidate["test_loss_mean"],
            "diverged_share": candidate["seeds_diverged"] / candidate["seeds"],
        }
        if rates["validation_accuracy_mean"].notna().any():
            best = rates.iloc[int(rates["validation_accuracy_mean"].argmax())]
            numbers |= {
                "best_grid_lr": best["learning_rate"],
                "best_grid_test_accuracy": best["test_accuracy_mean"],
            }
        chosen[str(dataset)] = {
            name: float(f"{value:.{DIGITS}g}")
            for name, value in numbers.items()
            if np.isfinite(value)
        }
    return chosen


def main() -> None:
    """Read the runs, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = params.load(AggregateParams, arguments.params)
    study = list(gather(declared, arguments.runs))
    seeds = seeds_table(study, declared)
    grid = grid_table(seeds)
    tables = {"history": history_table(study), "seeds": seeds, "grid": grid}
    for name, table in tables.items():
        with whole_file(arguments.metrics / f"{name}.csv") as draft:
            table.to_csv(draft, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")
    with whole_file(arguments.metrics / "summary.json") as draft:
        draft.write_text(json_text(summary(grid)), encoding="utf-8")


if __name__ == "__main__":
    run(main)
