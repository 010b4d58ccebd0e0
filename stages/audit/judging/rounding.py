"""How much of the spread between networks is rounding.

The recipe `core_permuted` trains the same seeds as `core`, with the hidden units in another order
at initialization. Both networks of a seed start as the same function, and in exact arithmetic they
would end as the same one. They differ only by rounding, which training amplifies.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ORDERS = ("core", "core_permuted")
"""The recipes whose networks differ in nothing but the order of the units."""
QUANTITIES = {
    "test_accuracy": "test accuracy",
    "steps_to_threshold": "the steps to the threshold",
    "feature_sparsity": "active features",
}
"""What is compared → its name in a sentence."""
CELL = ["dataset", "learning_rate"]


def rounding(networks: pd.DataFrame) -> pd.DataFrame:
    """Compare the spread within a seed, between its two orders of units, with that between seeds.

    Args:
        networks: The audit's, as `stages.audit.judging.read_tables.networks` reads them.

    Returns:
        One row per dataset, learning_rate and quantity (test_accuracy, steps_to_threshold, and
        feature_sparsity, the active features of the last hidden layer):
        seeds: how many ran in both orders; same_outcome: of these, how many ended the same way;
        pairs: how many have the value in both orders, lost networks aside;
        within: standard deviation between the orders of a seed, from the pairs' differences;
        between: standard deviation between the seeds' networks of the same order;
        ratio: within / between. A ratio of about 1 means that the seed matters no more than
        rounding. The last three columns are missing with fewer than two pairs; the ratio is also
        missing if all seeds agree.
    """
    first, second = (networks[networks["recipe"] == recipe] for recipe in ORDERS)
    rows = []
    for cell, pairs in first.merge(second, on=[*CELL, "seed"]).groupby(CELL, sort=False):
        kept = pairs[(pairs["outcome_x"] != "lost") & (pairs["outcome_y"] != "lost")]
        same = int((pairs["outcome_x"] == pairs["outcome_y"]).sum())
        for name in QUANTITIES:
            values = kept[[f"{name}_x", f"{name}_y"]].dropna().to_numpy(dtype=float)
            rows.append([*cell, name, len(pairs), same, len(values), *spreads(values)])
    columns = [*CELL, "quantity", "seeds", "same_outcome", "pairs", "within", "between", "ratio"]
    return pd.DataFrame(rows, columns=columns)


def spreads(pairs: NDArray[np.float64]) -> tuple[float, float, float]:
    """Compute the standard deviations within pairs and between them, and their ratio.

    Args:
        pairs: (pairs, 2).
    """
    if len(pairs) < 2:
        return np.nan, np.nan, np.nan
    # The variance of one value is half that of the difference of two.
    within = float(np.sqrt(np.mean(np.diff(pairs, axis=1) ** 2) / 2))
    between = float(np.sqrt(np.mean(np.var(pairs, axis=0, ddof=1))))
    return within, between, within / between if between else np.nan


def sentence(table: pd.DataFrame) -> str:
    """Say what a table of `rounding` shows.

    Args:
        table: As `rounding` returns it.
    """
    if table.empty:
        return "No network was trained in two orders of its hidden units."
    cells = table.drop_duplicates(CELL)
    agree = f"{cells['same_outcome'].sum()} of {cells['seeds'].sum()}"
    told = f"{agree} networks end the same way in both orders of their hidden units."
    ratios = table.dropna(subset="ratio").groupby("quantity")["ratio"].agg(["min", "max"])
    ranges = [
        f"{said} {low:.1f} to {high:.1f}"
        for name, said in QUANTITIES.items()
        for low, high in ratios[ratios.index == name].to_numpy(dtype=float)
    ]
    if ranges:
        told += (
            " Another order changes nothing but rounding. The spread that it causes, "
            f"as a multiple of that between seeds: {', '.join(ranges)}."
        )
    return told
