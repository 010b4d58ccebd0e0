"""Gather the rungs of the audit and its boundaries into tables, the core study's among them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from stages.audit.judging.ladder_order import rungs
from stages.audit.judging.read_tables import BRACKET, CORE_NETWORKS, NETWORKS, TRIALS, read
from stages.audit.training.parameters import CORE, Audit
from stages.common.errors import run
from stages.common.parameters import Datasets, read_params
from stages.common.whole_files import whole_file

DIGITS = 6
"""Significant digits in the tables, as in those they are made of."""
REPRO = "dvc repro --force --single-item"


class LadderParams(BaseModel):
    """The part of params.yaml that the audit's tables read."""

    datasets: Datasets
    audit: Audit


def core_rung(networks: pd.DataFrame, dataset: str, seeds: Sequence[int]) -> pd.DataFrame:
    """Take the core study's networks with some seeds; the candidate's where it adds a rate."""
    rows = networks[(networks["dataset"] == dataset) & networks["seed"].isin(seeds)]
    rows = rows.sort_values("role", ascending=False, kind="stable")
    rows = rows.drop_duplicates(["learning_rate", "seed"])
    return rows.sort_values(["learning_rate", "seed"], kind="stable")


def ladder_table(declared: LadderParams, core: pd.DataFrame, measured: Path) -> pd.DataFrame:
    """Lay the rungs end to end, one row per dataset, rung, rate and seed.

    Recipes with rates of their own, which are no rungs, come last. The columns are those that the
    core study and all recipes have in common.

    Args:
        declared: Which datasets and recipes.
        core: The core study's networks.
        measured: Holds <dataset>/<recipe>.csv.

    Raises:
        UserError: A table is absent or damaged.
    """
    order = rungs(declared.audit)
    order += [name for name in declared.audit.ladder if name not in order]
    tables = []
    for dataset in declared.datasets:
        for name in order:
            if name == CORE:
                rows = core_rung(core, dataset, declared.audit.seeds)
            else:
                command = f"{REPRO} audit/dvc.yaml:measure@{dataset}-{name}"
                rows = read(measured / dataset / f"{name}.csv", NETWORKS, command)
            tables.append(rows.assign(dataset=dataset, rung=name))
    table = pd.concat(tables, ignore_index=True, join="inner")
    first = ["dataset", "rung", "learning_rate", "seed"]
    return table[[*first, *(name for name in table if name not in first)]]


def boundary_table(declared: LadderParams, searched: Path) -> pd.DataFrame:
    """Lay out the highest rate found to train and the next to fail, by dataset, recipe and seed.

    An end that was never tried is missing.

    Args:
        declared: Which datasets and recipes.
        searched: Holds <dataset>/boundary-<recipe>.csv.

    Raises:
        UserError: A table is absent or damaged.
    """
    tables = []
    for dataset in declared.datasets:
        for name in (CORE, *declared.audit.boundaries):
            stage = f"core_boundary@{dataset}" if name == CORE else f"boundary@{dataset}-{name}"
            path = searched / dataset / f"boundary-{name}.csv"
            trials = read(path, TRIALS, f"{REPRO} audit/dvc.yaml:{stage}")
            last = trials.drop_duplicates("seed", keep="last").sort_values("seed")
            tables.append(last[[*BRACKET]].assign(dataset=dataset, recipe=name))
    return pd.concat(tables, ignore_index=True)[["dataset", "recipe", *BRACKET]]


def main() -> None:
    """Read the tables of the rungs, write those of the ladder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", type=Path, help="the core study's networks, seeds.csv")
    parser.add_argument("rungs", type=Path, help="holds the tables <dataset>/<recipe>.csv")
    parser.add_argument("metrics", type=Path, help="folder to write the tables to")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = read_params(LadderParams, arguments.params)
    seeds = read(arguments.seeds, CORE_NETWORKS, "dvc repro --force --single-item aggregate")
    tables = {
        "ladder": ladder_table(declared, seeds, arguments.rungs),
        "boundary": boundary_table(declared, arguments.rungs),
    }
    for name, table in tables.items():
        with whole_file(arguments.metrics / f"{name}.csv") as draft:
            table.to_csv(draft, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


if __name__ == "__main__":
    run(main)
