"""Read the audit's tables."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common.errors import reading
from stages.common.tables import OUTCOMES, last_layer, read_table

REPRO = "dvc repro audit/dvc.yaml"
"""The command that recreates the tables."""


def texts(*names: str) -> dict[str, str]:
    """Name columns of text, for `read`."""
    return dict.fromkeys(names, "str")


def numbers(*names: str) -> dict[str, str]:
    """Name columns of numbers that may be missing, for `read`."""
    return dict.fromkeys(names, "float64")


def with_ends(*names: str) -> dict[str, str]:
    """Name columns of values, each followed by the ends of its interval."""
    return numbers(*(f"{name}{end}" for name in names for end in ("", "_low", "_high")))


PLACE = texts("dataset", "recipe") | numbers("learning_rate")
NETWORK = PLACE | {"seed": "int64"}
NETWORKS = (
    NETWORK
    | texts("outcome")
    | numbers("lost_epoch")
    | texts("lost_how")
    | numbers("began_with_burst", "steps_to_threshold", "steps_to_lower_threshold")
    | numbers("peak_gradient_norm", "first_epoch_accuracy", "validation_accuracy")
    | numbers("test_accuracy", "feature_sparsity_1")
)
"""Required columns of networks.csv, with their types. The file has other columns too."""
EPOCHS = (
    NETWORK
    | {"epoch": "int64"}
    | numbers("train_loss", "test_accuracy")
    | numbers("feature_sparsity", "effective_rank", "parameter_norm")
)
FAILURE = (
    texts("dataset", "recipe")
    | {"networks": "int64", "lost": "int64"}
    | numbers("largest_rate")
    | with_ends("rate_10", "rate_50", "rate_90", "times_core")
)
KNOWN: Mapping[str, Sequence[Any]] = {
    "outcome": OUTCOMES,
    "lost_how": ("exploded", "collapsed"),
    "began_with_burst": (0, 1),
}
"""What a column may hold, unless it is missing."""

ALWAYS = {*NETWORK, "outcome"}
"""Columns in which no value may be missing."""


def networks(folder: Path) -> pd.DataFrame:
    """Read networks.csv, one row per network; add the last hidden layer's `feature_sparsity`.

    Raises:
        UserError: The table is absent or damaged.
    """
    table = read(folder / "networks.csv", NETWORKS)
    return table.assign(feature_sparsity=table[last_layer(table, "feature_sparsity")])


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
    keys = [name for name in (*NETWORK, "epoch") if name in columns]
    if table.duplicated(keys or None).any():
        raise ValueError("it holds a row twice")
    return table
