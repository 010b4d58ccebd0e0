"""An independent script: the p values of claims.csv from networks.csv, by scipy alone."""

import numpy as np
import pandas as pd
from scipy import stats


def sample(row: pd.Series, networks: pd.DataFrame, side: str) -> np.ndarray:
    """Take one side's networks, larger is better."""
    at = networks["dataset"] == row[f"{side}dataset"]
    at &= networks["recipe"] == row[f"{side}recipes"]
    cell = networks[at & (networks["learning_rate"] == float(row[f"{side}rates"]))]
    if row[f"{side}seeds"] == "upper half":
        cell = cell.sort_values("seed").iloc[len(cell) // 2 :]
    values = cell[row["quantity"]] * (-1 if row["better"] == "fewer" else 1)
    values = -np.log(-values) if row["unit"] == "factor" else 100 * values
    values = values.where(cell["outcome"] != "lost")
    return (values.fillna(-np.inf) if row["lost"] == "ranks last" else values.dropna()).to_numpy()


def p_values(row: pd.Series, networks: pd.DataFrame, draws: int) -> list[float]:
    """Test no difference, a gain and a loss as large as the margin; by drawn permutations."""
    ours, theirs = sample(row, networks, ""), sample(row, networks, "other_")
    margin, found = np.log(row["margin"]) if row["unit"] == "factor" else row["margin"], []
    for shift, tail in ((0, "two-sided"), (margin, "less"), (-margin, "greater")):
        ranks = stats.rankdata(np.concatenate([ours, theirs + shift]).round(9))
        halves = ranks[: len(ours)], ranks[len(ours) :]
        statistic = lambda x, y, axis: x.sum(axis=axis)  # noqa: E731
        test = stats.permutation_test(halves, statistic, n_resamples=draws, alternative=tail, rng=0)
        found.append(test.pvalue)
    return found
