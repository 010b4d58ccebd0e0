"""Read from metrics/ what the page shows: the study, and the tables of the audit that exist."""

from pathlib import Path

import pandas as pd

from stages.audit.judging.read_tables import checked
from stages.common.errors import reading
from stages.common.tables import read_table
from stages.figures.read_study import study_tables
from stages.figures.study import Study


def _numbers(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "float64")


def _texts(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "str")


ENDS = ("", "_low", "_high")
PLACE = _texts("dataset", "recipe") | _numbers("learning_rate")
NETWORK = PLACE | {"seed": "int64"}
COLUMNS = {
    "claims.csv": _texts(
        *("claim", "statement", "dataset", "recipe", "quantity", "comparison", "unit", "result"),
        *("verdict", "lower_half", "upper_half"),
    )
    | {"headline": "int64"}
    | _numbers(
        "bound", "decides", *(f"{name}{end}" for name in ("effect", "gain") for end in ENDS)
    ),
    "audit/networks.csv": NETWORK | _texts("outcome", "lost_how") | _numbers("test_accuracy"),
    "audit/epochs.csv": NETWORK
    | {"epoch": "int64"}
    | _numbers("train_loss", "feature_sparsity", "effective_rank", "test_accuracy"),
    "audit/failure.csv": _texts("dataset", "recipe", "state")
    | {"networks": "int64", "lost": "int64"}
    | _numbers(*(f"rate_{share}{end}" for share in (10, 50, 90) for end in ENDS)),
    "audit/failure_shares.csv": PLACE
    | {"networks": "int64", "lost": "int64"}
    | _numbers("share", "low", "high"),
    "audit/failure_curves.csv": PLACE | _numbers("share", "low", "high"),
}
"""Table → the columns that are shown, with their types."""


def read_study(metrics: Path) -> Study:
    """Read the study's tables, without the steps of its runs: the page shows none.

    Raises:
        UserError: A table is absent, damaged or lacks a column.
    """
    return Study(**study_tables(metrics), steps={})


def read_audit(metrics: Path) -> dict[str, pd.DataFrame]:
    """Read those of the audit's tables that exist, by their names in `COLUMNS`.

    Raises:
        UserError: A table is damaged or lacks a column.
    """
    found = {}
    for name, columns in COLUMNS.items():
        path = metrics / name
        if path.exists():
            with reading(path, "make audit"):
                table = read_table(path, columns, more=True)
                # A row of claims.csv is a comparison, and may leave open what it compares.
                found[name] = table if name == "claims.csv" else checked(table, columns)
    return found
