"""Read the audit's tables."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from stages.common.errors import UserError

LADDER_STAGE = "dvc repro --force --single-item audit/dvc.yaml:ladder"

NETWORKS = {
    "learning_rate": "float64",
    "seed": "int64",
    "outcome": "str",
    "lost_step": "float64",
    "lost_how": "str",
    "chance_accuracy": "float64",
    "validation_accuracy": "float64",
    "test_accuracy": "float64",
    "steps_to_threshold": "float64",
    "peak_gradient_norm": "float64",
    "feature_sparsity_1": "float64",
}
"""The columns that are read of a table of networks, with their types; it may have others."""
CORE_NETWORKS = {"dataset": "str", "role": "str", **NETWORKS}
LADDER = {"dataset": "str", "rung": "str", **NETWORKS}
BRACKET = {"seed": "int64", "low": "float64", "high": "float64"}
TRIALS = {"round": "int64", **BRACKET}
BOUNDARY = {"dataset": "str", "recipe": "str", **BRACKET}
NUMBERS = {"int64": "i", "float64": "iuf"}
"""Type of a column of numbers → the kinds of NumPy's types that it may be read as."""
KNOWN = {
    "outcome": {"trained", "undertrained", "lost"},
    "lost_how": {"exploded", "collapsed"},
}
"""What a column of text may hold, unless it is missing."""
PLACE = ("dataset", "role", "rung", "recipe", "learning_rate", "seed", "round")
"""Columns that together tell the rows of a table apart, where it has them."""


def read(path: Path, columns: Mapping[str, str], command: str = LADDER_STAGE) -> pd.DataFrame:
    """Read a table.

    Args:
        path: A CSV file.
        columns: What it must have, with their types.
        command: What makes it anew, for the remedy.

    Raises:
        UserError: It is absent or damaged, lacks a column, or holds a row twice.
    """
    try:
        return _checked(pd.read_csv(path), columns)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: make it with: {command}") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): make it anew with: {command}") from None


def _checked(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    if absent := [name for name in columns if name not in table]:
        raise ValueError(f"it lacks the columns {', '.join(absent)}")
    names = map(str, table)
    layers = {name: "float64" for name in names if name.startswith("feature_sparsity_")}
    for name, kind in {**columns, **layers}.items():
        if kind in NUMBERS and table[name].dtype.kind not in NUMBERS[kind]:
            raise ValueError(f"{name} holds what is no {kind}")
        if name in KNOWN and not set(table[name].dropna()) <= KNOWN[name]:
            raise ValueError(f"{name} is none of {', '.join(sorted(KNOWN[name]))}")
    if table.duplicated([name for name in PLACE if name in columns]).any():
        raise ValueError("it holds a row twice")
    return table
