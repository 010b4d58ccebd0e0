"""Gather the rungs of the audit and its boundaries into tables, the core study's among them."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel

from stages.audit.recipes import rungs
from stages.audit.tables import read
from stages.core import params, runs
from stages.core.datasets import DatasetName
from stages.core.endings import endings
from stages.core.errors import run
from stages.core.files import whole_file
from stages.core.params import CORE

DIGITS = 6
"""Significant digits in the tables, as in `stages.aggregate`."""

ENDED = [
    *("outcome", "diverged_epoch", "diverged_step", "last_gradient_norms", "chance_accuracy"),
    *("validation_accuracy", "test_accuracy", "train_accuracy", "test_loss", "train_loss"),
    *("gradient_norm", "steps_to_threshold"),
]
SPARSITY = "feature_sparsity"
"""The start of a column's name; the number of a hidden layer follows."""
BRACKET = ["seed", "low", "high"]


class LadderParams(BaseModel):
    """The part of params.yaml that the audit's tables read."""

    learning_rates: params.Rates
    datasets: tuple[DatasetName, ...]
    aggregate: params.Aggregate
    audit: params.Audit


def core_rung(seeds: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Take the core study's networks of a dataset; the candidate where it adds a rate."""
    rows = seeds[seeds["dataset"] == dataset].sort_values("role", ascending=False, kind="stable")
    rows = rows.drop_duplicates(["learning_rate", "seed"]).sort_values(
        ["learning_rate", "seed"], kind="stable"
    )
    sparsity = [name for name in rows if str(name).startswith(SPARSITY)]
    return rows[["learning_rate", "seed", *ENDED, *sparsity]]


def trained_rung(
    folder: Path, rates: params.Rates, threshold: float, trained_accuracy: float, command: str
) -> pd.DataFrame:
    """Sum up a rung that was trained for the audit, a row a network.

    Args:
        folder: data/audit/rungs/<dataset>/<recipe>.
        rates: Its learning rates.
        threshold: Validation accuracy that networks are timed to.
        trained_accuracy: Training accuracy from which a network counts as trained.
        command: What makes the folder anew.

    Raises:
        UserError: A part is absent or damaged.
    """
    tables = []
    for rate in rates:
        tables_of_rate = runs.load_tables(folder / f"{rate:g}", command)
        rows = endings(tables_of_rate, threshold, trained_accuracy)[ENDED]
        rows.insert(0, "learning_rate", float(rate))
        tables.append(rows.reset_index())
    sparsity = read(folder / "features.csv", command).pivot(
        index=["learning_rate", "seed"], columns="layer", values=SPARSITY
    )
    sparsity.columns = pd.Index([f"{SPARSITY}_{layer}" for layer in sparsity.columns])
    return pd.concat(tables, ignore_index=True).merge(
        sparsity.reset_index(), on=["learning_rate", "seed"], how="left"
    )


def ladder_table(declared: LadderParams, seeds: pd.DataFrame, data: Path) -> pd.DataFrame:
    """Lay the rungs end to end, a row a dataset, rung, rate and seed.

    Recipes with rates of their own, which are no rungs, come last.
    """
    recipes = declared.audit.recipes
    order = rungs(declared.audit)
    order += [name for name in declared.audit.ladder if name not in order]
    tables = []
    for dataset in declared.datasets:
        for name in order:
            if name == CORE:
                rows = core_rung(seeds, dataset)
            else:
                rows = trained_rung(
                    data / "rungs" / dataset / name,
                    recipes[name].rates or declared.learning_rates,
                    declared.aggregate.threshold_accuracy[dataset],
                    declared.aggregate.trained_accuracy,
                    f"dvc repro --force --single-item audit/dvc.yaml:rung@{dataset}-{name}",
                )
            tables.append(rows.assign(dataset=dataset, rung=name))
    table = pd.concat(tables, ignore_index=True)
    first = ["dataset", "rung"]
    return table[[*first, *(name for name in table if name not in first)]]


def boundary_table(declared: LadderParams, data: Path) -> pd.DataFrame:
    """Lay out a row a dataset, recipe and seed: the highest rate found to train, the next to fail.

    An end that was never tried is missing.
    """

    def parts() -> Iterator[pd.DataFrame]:
        for dataset in declared.datasets:
            for name in (CORE, *declared.audit.boundaries):
                stage = f"core_boundary@{dataset}" if name == CORE else f"boundary@{dataset}-{name}"
                command = f"dvc repro --force --single-item audit/dvc.yaml:{stage}"
                trials = read(data / "boundary" / dataset / name / "trials.csv", command)
                last = trials.drop_duplicates("seed", keep="last").sort_values("seed")
                yield last[BRACKET].assign(dataset=dataset, recipe=name)

    table = pd.concat(parts(), ignore_index=True)
    return table[["dataset", "recipe", *BRACKET]]


def main() -> None:
    """Read the runs, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("core", type=Path, help="holds seeds.csv")
    parser.add_argument("data", type=Path, help="holds rungs/ and boundary/")
    parser.add_argument("metrics", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = params.load(LadderParams, arguments.params)
    seeds = read(arguments.core / "seeds.csv", "dvc repro aggregate")
    tables = {
        "ladder": ladder_table(declared, seeds, arguments.data),
        "boundary": boundary_table(declared, arguments.data),
    }
    for name, table in tables.items():
        finite = table.replace([np.inf, -np.inf], np.nan)
        with whole_file(arguments.metrics / f"{name}.csv") as draft:
            finite.to_csv(draft, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


if __name__ == "__main__":
    run(main)
