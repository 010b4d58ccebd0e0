"""Read the audit's tables."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common.errors import UserError

REPRO = "dvc repro audit/dvc.yaml"
"""What makes the tables."""

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
"""The columns that are read of the table of networks, with their types; it has others."""
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
NUMBERS = {"int64": "i", "float64": "iuf"}
"""Type of a column of numbers → the kinds of NumPy's types that it may be read as."""
KNOWN: Mapping[str, set[Any]] = {
    "outcome": {"trained", "undertrained", "lost"},
    "lost_how": {"exploded", "collapsed"},
    "began_with_burst": {0, 1},
}
"""What a column may hold, unless it is missing."""

ALWAYS = {*PLACE, "outcome"}
"""What no row of any table lacks."""


def networks(folder: Path) -> pd.DataFrame:
    """Read one row per network; `feature_sparsity` is added, that of the last hidden layer.

    Raises:
        UserError: The table is absent or damaged.
    """
    table = read(folder / "networks.csv", NETWORKS)
    return table.assign(feature_sparsity=table[last_layer(table)])


def epochs(folder: Path) -> pd.DataFrame:
    """Read one row per network of the mechanism recipes and epoch.

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
    try:
        return _checked(pd.read_csv(path), columns)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: make it with: {REPRO}") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is damaged ({reason}): remove it, then make it anew with: {REPRO}"
        ) from None


def _checked(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    if not table.index.equals(pd.RangeIndex(len(table))):
        raise ValueError("its rows have more values than its header has names")
    if absent := [name for name in columns if name not in table]:
        raise ValueError(f"it lacks the columns {', '.join(absent)}")
    if table.empty:  # It holds nothing that tells its types.
        return table.astype({**columns})
    layers = dict.fromkeys(_layers(table), "float64")
    for name, kind in {**columns, **layers}.items():
        if kind in NUMBERS and table[name].dtype.kind not in NUMBERS[kind]:
            raise ValueError(f"{name} holds what is no {kind}")
        if name in ALWAYS and table[name].isna().any():
            raise ValueError(f"{name} is missing in a row")
        if name in KNOWN and not set(table[name].dropna()) <= KNOWN[name]:
            raise ValueError(f"{name} is none of {', '.join(map(str, sorted(KNOWN[name])))}")
    keys = [name for name in (*PLACE, "epoch") if name in columns]
    if keys and table.duplicated(keys).any():
        raise ValueError("it holds a row twice")
    return table
