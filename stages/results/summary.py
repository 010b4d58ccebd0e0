"""Two summaries: the main columns in Markdown, and the numbers that `dvc metrics diff` compares."""

from collections.abc import Mapping
from numbers import Integral

import numpy as np
import pandas as pd

from stages.common.tables import OUTCOMES, last_layer, written

MEAN = "_mean"
BEST_OF_GRID = {
    "learning_rate": "learning_rate",
    "seeds_trained": "seeds_trained",
    "validation_accuracy_of_trained": "validation_accuracy_mean",
    "test_accuracy_of_trained": "test_accuracy_mean",
}
CANDIDATE = {
    "learning_rate": "learning_rate",
    "seeds": "seeds",
    **{f"seeds_{outcome}": f"seeds_{outcome}" for outcome in OUTCOMES},
    "test_accuracy_of_trained": "test_accuracy_mean",
    "validation_accuracy_of_trained": "validation_accuracy_mean",
    "test_loss_of_trained": "test_loss_mean",
}
"""Key of the summary → column of the grid's table."""


def readable(grid: pd.DataFrame) -> str:
    """Write the main columns as a Markdown table: means, ± half the width of their 95 % intervals.

    Args:
        grid: As `stages.results.tables.grid_table` makes it.
    """
    sparsity = sparsity_of_last_layer(grid)
    rows = []
    for dataset, rates in grid.groupby("dataset", sort=False):
        for _, row in rates.sort_values("learning_rate", kind="stable").iterrows():
            counts = ", ".join(str(row[f"seeds_{outcome}"]) for outcome in OUTCOMES)
            rows.append(
                {
                    "dataset": dataset,
                    "rate": f"{row['learning_rate']:g}"
                    + " (candidate)" * (row["role"] == "candidate"),
                    f"seeds: {', '.join(OUTCOMES)}": counts,
                    "test accuracy of trained seeds (%)": mean_text(row, "test_accuracy", 2, 100),
                    "training loss (nats)": mean_text(row, "train_loss", 4),
                    "steps to threshold": mean_text(row, "steps_to_threshold", 0),
                    "active features, last hidden layer (%)": mean_text(row, sparsity, 1, 100),
                }
            )
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True) + "\n"


def sparsity_of_last_layer(grid: pd.DataFrame) -> str:
    """Name the last hidden layer's active features, without the ending of a column (_mean)."""
    return last_layer(grid, "feature_sparsity", MEAN).removesuffix(MEAN)


def mean_text(row: pd.Series, quantity: str, decimals: int, unit: float = 1) -> str:
    """Write a mean, ± half the width of its 95 % interval; a dash if there is none.

    Args:
        row: A row of the grid's table.
        quantity: The name of its columns without the ending (_mean, _high).
        decimals: Decimals of the numbers.
        unit: What the numbers are multiplied by.
    """
    mean, high = row[f"{quantity}_mean"], row[f"{quantity}_high"]
    if np.isnan(mean):
        return "–"
    shown = f"{mean * unit:.{decimals}f}"
    return shown if np.isnan(high) else f"{shown} ± {(high - mean) * unit:.{decimals}f}"


def summary(grid: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Choose, for each dataset, the few numbers that `dvc metrics diff` compares.

    The best of the grid has the highest validation accuracy among the rates at which the most
    seeds trained. What does not exist is left out: the scores of trained seeds where none trained,
    the best of the grid where no seed trained or nothing is held out for validation.

    Args:
        grid: As `stages.results.tables.grid_table` makes it.
    """
    chosen = {}
    for dataset, rows in grid.groupby("dataset", sort=False):
        candidate = rows[rows["role"] == "candidate"].iloc[0]
        chosen[str(dataset)] = {"candidate": _numbers(candidate, CANDIDATE)}
        rates = rows[rows["role"] == "grid"]
        surest = rates[rates["seeds_trained"] == rates["seeds_trained"].max()]
        accuracies = surest["validation_accuracy_mean"].dropna()
        if len(accuracies):
            best = surest.loc[accuracies.idxmax()]
            chosen[str(dataset)]["best_of_grid"] = _numbers(best, BEST_OF_GRID)
    return chosen


def _numbers(row: pd.Series, columns: Mapping[str, str]) -> dict[str, float]:
    """Pick the columns that have a value."""
    picked = {name: row[column] for name, column in columns.items() if pd.notna(row[column])}
    return {
        name: int(value) if isinstance(value, Integral) else float(written(value))
        for name, value in picked.items()
    }
