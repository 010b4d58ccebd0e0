"""Gather what was measured of the audit's recipes in two tables: networks and epochs."""

import argparse
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from stages.audit.training.parameters import Audit
from stages.common.errors import reading, run
from stages.common.parameters import Datasets, read_params
from stages.common.tables import DIGITS, OUTCOMES, csv_text, read_table
from stages.common.whole_files import whole_file

COLUMNS = {
    "networks": {"learning_rate": "float64", "seed": "int64", "outcome": "str"},
    "epochs": {
        "learning_rate": "float64",
        "seed": "int64",
        "epoch": "int64",
        **dict.fromkeys(
            (
                *("train_loss", "test_accuracy", "validation_accuracy"),
                *("feature_sparsity", "effective_rank", "parameter_norm"),
            ),
            "float64",
        ),
    },
}
"""Table → the columns that it must have, with their types. Other columns are kept as they are."""
TEXTS = {"outcome", "lost_how"}
"""The columns that hold text; all others hold numbers."""


class GatherParams(BaseModel):
    """The part of params.yaml that gathering reads."""

    datasets: Datasets
    audit: Audit


def gathered(cells: Path, declared: GatherParams) -> dict[str, pd.DataFrame]:
    """Read the cells that params.yaml names, and no leftover ones.

    A cell is what was measured of one dataset, recipe and group.

    Args:
        cells: Holds <dataset>/<recipe>/<group>/networks.csv and epochs.csv.
        declared: Which datasets, recipes, groups and rates.

    Returns:
        `networks` and `epochs`, with the dataset and the recipe in front.

    Raises:
        UserError: A table is absent or damaged; the message names the command that recreates it.
    """
    audit = declared.audit
    named = [("measure", name, group) for name in audit.ladder for group in audit.groups]
    named += [("measure_apart", name, audit.groups[0]) for name in audit.apart]
    tables: dict[str, list[pd.DataFrame]] = {"networks": [], "epochs": []}
    for dataset in declared.datasets:
        for stage, name, group in named:
            folder = cells / dataset / name / str(group)
            target = f"audit/dvc.yaml:{stage}@{dataset}-{name}-{group}"
            kinds = ["networks", "epochs"] if audit.recipes[name].by_epoch else ["networks"]
            seeds = range(group, group + audit.networks)
            named_networks = {
                (f"{rate:.{DIGITS}g}", seed)
                for rate in audit.recipes[name].rates or audit.rates
                for seed in seeds
            }
            for kind in kinds:
                table = _read(folder / f"{kind}.csv", kind, named_networks, target)
                table.insert(0, "dataset", dataset)
                table.insert(1, "recipe", name)
                tables[kind].append(table)
    return {
        kind: pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["dataset", "recipe", *COLUMNS[kind]])
        for kind, parts in tables.items()
    }


Networks = set[tuple[str, int]]
"""Rate, as it is written, and seed of each network."""


def _read(path: Path, kind: str, networks: Networks, target: str) -> pd.DataFrame:
    with reading(path, f"dvc repro --force --single-item {target}"):
        return _checked(read_table(path, COLUMNS[kind], more=True), kind, networks)


def _checked(table: pd.DataFrame, kind: str, networks: Networks) -> pd.DataFrame:
    """Check a table's networks, outcomes and numbers, and that no row is there twice.

    Raises:
        ValueError: One of these is wrong.
    """
    for name in table:
        if name not in TEXTS and len(table) and table[name].dtype.kind not in "iuf":
            raise ValueError(f"{name} holds something that is not a number")
    keys = ["learning_rate", "seed", *["epoch"] * (kind == "epochs")]
    if table.duplicated(keys).any():
        raise ValueError("it holds a row twice")
    rates = table["learning_rate"].map(f"{{:.{DIGITS}g}}".format)
    found = {*zip(rates, table["seed"], strict=True)}
    # A network that explodes in its first epoch has no row in the table of epochs.
    if found - networks or (kind == "networks" and networks - found):
        raise ValueError("its networks are not those that params.yaml names")
    if kind == "networks" and not {*table["outcome"]} <= {*OUTCOMES}:
        raise ValueError(f"outcome is not one of {', '.join(OUTCOMES)}")
    return table


def main() -> None:
    """Read the cells, write the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", type=Path)
    parser.add_argument("target", type=Path, help="networks.csv and epochs.csv go here")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = read_params(GatherParams, arguments.params)
    for kind, table in gathered(arguments.cells, declared).items():
        with whole_file(arguments.target / f"{kind}.csv") as draft:
            draft.write_text(csv_text(table), encoding="utf-8")


if __name__ == "__main__":
    run(main)
