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

from stages.core import diagnostics, params, runs
from stages.core.datasets import DatasetName
from stages.core.diagnostics import Diagnostics
from stages.core.endings import MEASURED, OUTCOMES, endings
from stages.core.errors import UserError, run
from stages.core.files import json_text, whole_file

CONFIDENCE = 0.95
FEWEST_FOR_AN_INTERVAL = 3
DIGITS = 6
"""Significant digits in the tables: finer differences are rounding of the arithmetic."""

WHICH_RUN = ["dataset", "role", "learning_rate"]
LAYERED = ["never_firing_share", "feature_sparsity", "effective_rank"]


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
    run: runs.Tables
    diagnostics: Diagnostics

    def label(self, table: pd.DataFrame) -> pd.DataFrame:
        """Put the place in the study before a table's own columns."""
        place = {"dataset": self.dataset, "role": self.role, "learning_rate": self.learning_rate}
        return pd.DataFrame({**place, **table.drop(columns="learning_rate", errors="ignore")})


def gather(declared: AggregateParams, data: Path) -> Iterator[Named]:
    """Read the runs that the parameters name, and no others that may lie about.

    Args:
        declared: Which datasets and rates.
        data: Holds runs/<dataset>/<rate>/ and diagnostics/<dataset>/<rate>/.

    Raises:
        UserError: A run is absent or damaged, or was trained at another rate.
    """
    for dataset in declared.datasets:
        named = [(str(rate), "grid", rate) for rate in declared.learning_rates]
        named.append((runs.CANDIDATE, "candidate", declared.lr))
        for name, role, rate in named:
            folder = data / "runs" / dataset / name
            found = runs.load_tables(folder)
            if found.facts["learning_rate"] != float(rate):
                raise UserError(
                    f"{folder} was trained at {found.facts['learning_rate']:g} "
                    f"instead of {rate:g}: make it anew with: dvc repro"
                )
            measured = diagnostics.load(data / "diagnostics" / dataset / name)
            yield Named(dataset, role, float(rate), found, measured)


def history_table(study: Sequence[Named]) -> pd.DataFrame:
    """Lay every run's history end to end: a row a dataset, rate, seed and epoch."""
    tables = []
    for named in study:
        table = named.label(named.run.history)
        table.insert(6, "learning_rate_now", named.run.history["learning_rate"])
        tables.append(table)
    return _finite(pd.concat(tables, ignore_index=True))


def diagnostics_table(study: Sequence[Named]) -> pd.DataFrame:
    """Lay all diagnostics end to end: a row a dataset, rate, seed and epoch, from epoch 0."""
    tables = []
    for named in study:
        wide = named.diagnostics.features.pivot(
            index=["seed", "epoch"], columns="layer", values=["positive_share", *LAYERED]
        )
        wide.columns = pd.Index(["_".join(map(str, name)) for name in wide.columns])
        sharpness = named.diagnostics.sharpness.set_index(["seed", "epoch"])
        tables.append(named.label(sharpness.join(wide).reset_index()))
    return _finite(pd.concat(tables, ignore_index=True))


def _finite(table: pd.DataFrame) -> pd.DataFrame:
    return table.replace([np.inf, -np.inf], np.nan)


def seeds_table(study: Sequence[Named], declared: AggregateParams) -> pd.DataFrame:
    """Sum up each network in a row, as in `stages.core.endings`.

    Sharpness and the columns of the hidden layers are those of the last epoch, missing where the
    network diverged.
    """
    tables = []
    measured = diagnostics_table(study)
    for named in study:
        threshold = declared.aggregate.threshold_accuracy[named.dataset]
        rows = endings(named.run, threshold, declared.aggregate.trained_accuracy)
        tables.append(named.label(rows.reset_index()))
    seeds = pd.concat(tables, ignore_index=True)
    last = measured[measured["epoch"] == measured["epoch"].max()]
    last = last.drop(columns=["epoch", "residual"])
    return seeds.merge(last, on=[*WHICH_RUN, "seed"], how="left")


def interval(values: pd.Series) -> dict[str, float]:
    """Compute mean, standard deviation and the 95 % interval of the mean (Student's t).

    Args:
        values: One a seed; missing ones do not count. Fewer than three have a mean and no more.
    """
    known = values.dropna().astype(float)
    mean = known.mean()
    if len(known) < FEWEST_FOR_AN_INTERVAL:
        return {"mean": mean, "std": np.nan, "low": np.nan, "high": np.nan}
    deviation = known.std(ddof=1)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, df=len(known) - 1)
    reach = quantile * deviation / np.sqrt(len(known))
    return {"mean": mean, "std": deviation, "low": mean - reach, "high": mean + reach}


def grid_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """Sum up each dataset and rate in a row, over its seeds.

    Accuracies count every seed (`trained_test_accuracy` those that trained); losses, norms and
    diagnostics the seeds that did not diverge; steps to the threshold those that reached it.
    """
    rows = []
    layered = [name for name in seeds if str(name).startswith(tuple(LAYERED))]
    averaged = [*MEASURED, "steps_to_threshold", "sharpness", *layered]
    for place, group in seeds.groupby(WHICH_RUN, sort=False):
        row: dict[str, Any] = dict(zip(WHICH_RUN, place, strict=True))
        row |= {"seeds": len(group), "seeds_diverged": int(group["diverged"].sum())}
        row |= {f"{outcome}_share": (group["outcome"] == outcome).mean() for outcome in OUTCOMES}
        row["seeds_at_threshold"] = int(group["steps_to_threshold"].notna().sum())
        trained = group.loc[group["outcome"] == "trained", "test_accuracy"]
        quantities = {"trained_test_accuracy": trained, **{name: group[name] for name in averaged}}
        for column, values in quantities.items():
            row |= {f"{column}_{name}": value for name, value in interval(values).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def readable(grid: pd.DataFrame) -> str:
    """Lay out the main columns in Markdown: means, and how far their 95 % intervals reach."""

    def shown(row: pd.Series, column: str, digits: int, unit: float = 1) -> str:
        mean, reach = row[f"{column}_mean"], row[f"{column}_high"] - row[f"{column}_mean"]
        if np.isnan(mean):
            return "–"
        return f"{mean * unit:.{digits}f}" + f" ± {reach * unit:.{digits}f}" * (not np.isnan(reach))

    rows = []
    by_rate = grid.groupby("dataset", sort=False, group_keys=False)
    for _, row in pd.concat(
        [group.sort_values("learning_rate") for _, group in by_rate]
    ).iterrows():
        fates = {name: round(row[f"{name}_share"] * row["seeds"]) for name in OUTCOMES}
        rows.append(
            {
                "dataset": row["dataset"],
                "rate": f"{row['learning_rate']:g}" + " (candidate)" * (row["role"] != "grid"),
                "seeds: trained, collapsed, exploded": ", ".join(map(str, fates.values())),
                "test accuracy, trained seeds (%)": shown(row, "trained_test_accuracy", 2, 100),
                "training loss (nats)": shown(row, "train_loss", 4),
                "steps to threshold": shown(row, "steps_to_threshold", 0),
                "active features, layer 2 (%)": shown(row, "feature_sparsity_2", 1, 100),
            }
        )
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True) + "\n"


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
    parser.add_argument("data", type=Path)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = params.load(AggregateParams, arguments.params)
    study = list(gather(declared, arguments.data))
    seeds = seeds_table(study, declared)
    grid = grid_table(seeds)
    tables = {
        "history": history_table(study),
        "diagnostics": diagnostics_table(study),
        "seeds": seeds,
        "grid": grid,
    }
    for name, table in tables.items():
        with whole_file(arguments.metrics / f"{name}.csv") as draft:
            table.to_csv(draft, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")
    with whole_file(arguments.metrics / "grid.md") as draft:
        draft.write_text(readable(grid), encoding="utf-8")
    with whole_file(arguments.metrics / "summary.json") as draft:
        draft.write_text(json_text(summary(grid)), encoding="utf-8")


if __name__ == "__main__":
    run(main)
