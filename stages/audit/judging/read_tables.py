"""Read the audit's tables."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common.errors import reading
from stages.common.tables import OUTCOMES, read_table

REPRO = "dvc repro audit/dvc.yaml"
"""The command that recreates the tables."""

PLACE = {"dataset": "str", "recipe": "str", "learning_rate": "float64", "seed": "int64"}
NETWORKS = {
    **PLACE,
    "outcome": "str",
    "lost_epoch": "float64",
    "lost_step": "float64",
    "lost_how": "str",
    "began_with_burst": "float64",
    "steps_to_threshold": "float64",
    "steps_to_lower_threshold": "float64",
    "peak_gradient_norm": "float64",
    "first_epoch_accuracy": "float64",
    "validation_accuracy": "float64",
    "test_accuracy": "float64",
    "feature_sparsity_1": "float64",
}
"""Required columns of networks.csv, with their types. The file has other columns too."""
EPOCHS = {
    **PLACE,
    "epoch": "int64",
    "train_loss": "float64",
    "test_accuracy": "float64",
    "validation_accuracy": "float64",
    "feature_sparsity": "float64",
    "effective_rank": "float64",
    "parameter_norm": "float64",
}
FAILURE = {
    "dataset": "str",
    "recipe": "str",
    "networks": "int64",
    "lost": "int64",
    "largest_rate": "float64",
    **{
        f"{name}{end}": "float64"
        for name in ("rate_10", "rate_50", "rate_90", "times_core")
        for end in ("", "_low", "_high")
    },
}
KNOWN: Mapping[str, Sequence[Any]] = {
    "outcome": OUTCOMES,
    "lost_how": ("exploded", "collapsed"),
    "began_with_burst": (0, 1),
}
"""What a column may hold, unless it is missing."""

ALWAYS = {*PLACE, "outcome"}
"""Columns in which no value may be missing."""


def networks(folder: Path) -> pd.DataFrame:
    """Read networks.csv, one row per network; add the last hidden layer's `feature_sparsity`.

    Raises:
        UserError: The table is absent or damaged.
    """
    table = read(folder / "networks.csv", NETWORKS)
    return table.assign(feature_sparsity=table[last_layer(table)])


def epochs(folder: Path) -> pd.DataFrame:
    """Read epochs.csv: one row per network and epoch, for the recipes of the mechanism.

    Raises:
        UserError: The table is absent or damaged.
    """
    return read(folder / "epochs.csv", EPOCHS)


def failure(folder: Path) -> pd.DataFrame:
    """Read the rates at which networks are lost, one row per dataset and recipe.

    Raises:
        UserError: The table is absent or damaged.
    """
    return read(folder / "failure.csv", FAILURE)


def last_layer(table: pd.DataFrame) -> str:
    """Name the column with the active features of the last hidden layer."""
    return max(_layers(table), key=lambda name: int(name.rpartition("_")[2]))


def _layers(table: pd.DataFrame) -> list[str]:
    """Name the columns with active features, a layer each."""
    return [name for name in map(str, table) if re.fullmatch(r"feature_sparsity_\d+", name)]


def read(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a table.

    Args:
        path: A CSV file.
        columns: What it must have, with their types.

    Raises:
        UserError: It is absent or damaged, lacks a column, or holds a row twice.
    """
    with reading(path, REPRO):
        return checked(read_table(path, columns, more=True), columns)


def checked(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Check a table's outcomes, and that each row is there once.

    Args:
        table: The table, with columns of these types.
        columns: Those of its columns to check, with their types.

    Raises:
        ValueError: A value is missing or unknown, or a row is there twice.
    """
    table = table.astype(dict.fromkeys(_layers(table), "float64"))
    for name in columns:
        if name in ALWAYS and table[name].isna().any():
            raise ValueError(f"{name} is missing in a row")
        if name in KNOWN and not {*table[name].dropna()} <= {*KNOWN[name]}:
            raise ValueError(f"{name} is not one of {', '.join(map(str, KNOWN[name]))}")
    keys = [name for name in (*PLACE, "epoch") if name in columns]
    if keys and table.duplicated(keys).any():
        raise ValueError("it holds a row twice")
    return table
