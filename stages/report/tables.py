"""Read what the page shows from metrics/: the study, and of the audit what has been made."""

from pathlib import Path

import pandas as pd

from stages.figures.read_study import read_table, study_tables
from stages.figures.study import Study

PLACE = ("dataset", "recipe", "learning_rate")
COLUMNS = {
    "claims.csv": (
        *("claim", "statement", "dataset", "recipe", "quantity", "headline", "comparison"),
        *("bound", "unit", "result", "decides", "verdict", "lower_half", "upper_half"),
        *(f"{name}{end}" for name in ("effect", "gain") for end in ("", "_low", "_high")),
    ),
    "audit/networks.csv": (*PLACE, "seed", "outcome", "test_accuracy"),
    "audit/epochs.csv": (
        *(*PLACE, "seed", "epoch"),
        *("train_loss", "feature_sparsity", "effective_rank", "test_accuracy"),
    ),
    "audit/failure.csv": (
        *("dataset", "recipe", "networks", "lost", "state"),
        *(f"rate_{share}{end}" for share in (10, 50, 90) for end in ("", "_low", "_high")),
    ),
    "audit/failure_shares.csv": (*PLACE, "networks", "lost", "share", "low", "high"),
    "audit/failure_curves.csv": (*PLACE, "share", "low", "high"),
}
"""Table → the columns that are shown."""


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
    return {
        name: read_table(metrics / name, columns, "make audit")
        for name, columns in COLUMNS.items()
        if (metrics / name).is_file()
    }
