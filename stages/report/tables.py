"""Read from metrics/ what the page shows: the study, and the tables of the audit that exist."""

from pathlib import Path

import pandas as pd

from stages.audit.judging.read_tables import NETWORK, PLACE, checked, numbers, texts, with_ends
from stages.common.errors import reading
from stages.common.tables import read_table
from stages.figures.read_study import study_tables
from stages.figures.study import Study

CLAIMS = (
    texts("claim", "statement", "recipe", "quantity", "comparison", "among", "unit", "result")
    | texts("verdict", "lower_half", "upper_half")
    | {"headline": "int64"}
    | numbers("bound", "decides")
    | with_ends("effect", "gain")
)
COUNTS = {"networks": "int64", "lost": "int64"}
SHARE = numbers("share", "low", "high")
COLUMNS = {
    "claims.csv": CLAIMS,
    "audit/networks.csv": NETWORK | texts("outcome", "lost_how") | numbers("test_accuracy"),
    "audit/epochs.csv": NETWORK
    | {"epoch": "int64"}
    | numbers("train_loss", "feature_sparsity", "effective_rank", "test_accuracy"),
    "audit/failure.csv": texts("dataset", "recipe", "state")
    | COUNTS
    | with_ends("rate_10", "rate_50", "rate_90"),
    "audit/failure_shares.csv": PLACE | COUNTS | SHARE,
    "audit/failure_curves.csv": PLACE | SHARE,
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
        with reading(path, "make audit"):
            if path.exists():
                table = read_table(path, columns, more=True)
                # A row of claims.csv is a comparison, and may leave open what it compares.
                keys = {} if name == "claims.csv" else columns
                found[name] = checked(table, keys)
    return found
