"""Gather what was measured of the audit's recipes in two tables: networks and epochs."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from stages.audit.training.parameters import Audit
from stages.common.errors import reading, run
from stages.common.parameters import Datasets, read_params
from stages.common.tables import OUTCOMES, check_numbers, csv_text, read_table, written
from stages.common.whole_files import whole_file
from stages.training.parameters import Training

COLUMNS = {
    "networks": {
        "learning_rate": "float64",
        "seed": "int64",
        "outcome": "str",
        "lost_how": "str",
    },
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
KEYS = ["learning_rate", "seed", "epoch"]
"""What tells the rows of a table apart, where it has these columns."""
TEXTS = {"outcome", "lost_how"}
"""The columns that hold text; all others hold numbers."""


class GatherParams(BaseModel):
    """The part of params.yaml that gathering reads."""

    datasets: Datasets
    audit: Audit
    training: Training


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
            command = (
                f"dvc repro --force --single-item audit/dvc.yaml:{stage}@{dataset}-{name}-{group}"
            )
            recipe = audit.recipes[name]
            rates = recipe.rates or audit.rates
            seeds = range(group, group + audit.networks)
            last = (recipe.epochs or declared.training.epochs) if recipe.by_epoch else None
            for kind, table in _cell(folder, command, rates, seeds, last):
                table.insert(0, "dataset", dataset)
                table.insert(1, "recipe", name)
                tables[kind].append(table)
    return {
        kind: pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["dataset", "recipe", *COLUMNS[kind]])
        for kind, parts in tables.items()
    }


def _cell(
    folder: Path, command: str, rates: Sequence[float], seeds: Sequence[int], last: int | None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Read the tables of a cell, each with its name.

    Args:
        folder: Holds networks.csv, and epochs.csv where epochs are measured.
        command: The command that recreates the cell.
        rates: The learning rates that it must have.
        seeds: The seeds that each rate must have.
        last: The last epoch, where epochs are measured.

    Raises:
        UserError: A table is absent or damaged.
    """
    with reading(folder / "networks.csv", command):
        networks = _read(folder / "networks.csv", COLUMNS["networks"])
        if not {*networks["outcome"]} <= {*OUTCOMES}:
            raise ValueError(f"outcome is not one of {', '.join(OUTCOMES)}")
        found = {*zip(networks["learning_rate"].map(written), networks["seed"], strict=True)}
        if found != {*product(map(written, rates), seeds)}:
            raise ValueError("its networks are not those that params.yaml names")
    yield "networks", networks
    if last:
        with reading(folder / "epochs.csv", command):
            epochs = _read(folder / "epochs.csv", COLUMNS["epochs"])
            _check_epochs(epochs, networks, last)
        yield "epochs", epochs


def _read(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a table; check that it holds numbers where they belong, and no row twice.

    Raises:
        OSError: It is absent or cannot be read.
        ValueError: It is damaged.
    """
    table = read_table(path, columns, more=True)
    check_numbers(table, TEXTS)
    if table.duplicated([name for name in KEYS if name in columns]).any():
        raise ValueError("it holds a row twice")
    return table


def _check_epochs(epochs: pd.DataFrame, networks: pd.DataFrame, last: int) -> None:
    """Check that every epoch is there. A network has none from the one on in which it explodes.

    Raises:
        ValueError: An epoch or a network is missing or too many.
    """
    known = epochs.groupby(KEYS[:2])["epoch"].agg(["min", "max", "size"])
    exploded = networks.set_index(KEYS[:2])["lost_how"] == "exploded"
    if not {*known.index} <= {*exploded.index}:
        raise ValueError("its networks are not those that params.yaml names")
    lasted = known["max"].reindex(exploded.index[~exploded])
    in_turn = (known["min"] == 1) & (known["max"] == known["size"])
    if (known["max"] > last).any():
        raise ValueError(f"it has epochs after the last, {last}")
    if not in_turn.all() or (lasted != last).any():
        raise ValueError("it lacks rows")


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
