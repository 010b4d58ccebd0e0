"""A small audit's tables, as far as the report shows them."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

FASTER = {
    "claim": "faster",
    "statement": "Larger rates converge faster.",
    "comparison": "0.3 against 0.1 (MNIST)",
    "dataset": "mnist",
    "recipe": "core",
    "headline": 1,
    "unit": "factor",
    "among": "all",
    "quantity": "steps_to_threshold",
    **{"effect": 0.85, "effect_low": 0.8, "effect_high": 0.9},
    **{"gain": 1.7, "gain_low": 1.1, "gain_high": 2.3},
    "result": "better",
    "decides": 0,
    "verdict": "undecided",
    **{"lower_half": "undecided", "upper_half": "refuted"},
}
CLAIMS = (
    FASTER,
    FASTER
    | {"quantity": "steps_to_lower_threshold", "result": "open", "decides": 1}
    | {"effect": 1.1, "effect_low": 0.7, "effect_high": np.inf}
    | {"gain": -1.0, "gain_low": -np.inf, "gain_high": 3.0},
    FASTER
    | {"recipe": "clipped", "headline": 0, "verdict": None}
    | {"effect": 0.7, "effect_low": 0.6, "effect_high": 0.8},
    {
        "claim": "unstable",
        "statement": "0.6 is unstable.",
        "comparison": "0.6 (Fashion-MNIST)",
        **{"dataset": "fashion_mnist", "recipe": "core", "headline": 1},
        **{"unit": "share", "quantity": "lost", "among": "all", "bound": 0.25},
        **{"effect": 70.0, "effect_low": 50.0, "effect_high": 75.0},
        **{"gain": 3.5, "gain_low": 2.5, "gain_high": 3.75, "decides": 1},
        **{"result": "above", "verdict": "supported"},
        **{"lower_half": "supported", "upper_half": "supported"},
    },
    {
        "claim": "printed",
        "statement": "The printed numbers are the notebook's.",
        **{"recipe": "core", "headline": 1, "comparison": "printed and the notebook's"},
        **{"result": "not so", "decides": 1, "verdict": "refuted"},
    },
)
"""Two comparisons that decide a claim, one of them open without a bound; claims without gains."""
RUNGS = ("as_published", "core", "clipped")
ARMS = {"small": 0.1, "large_5": 0.3, "large": 0.3, "small_batch": 0.1}
"""Arm → the rate it begins with."""
DATASETS, RATES, SEEDS = ("mnist", "fashion_mnist"), (0.1, 0.6), (1000, 1001, 1002)
EPOCHS = 4


def networks() -> pd.DataFrame:
    """Lose every network at 0.6 but the clipped, and one of an arm; train the others."""
    rows = []
    for dataset, recipe, rate, seed in product(DATASETS, RUNGS, RATES, SEEDS):
        is_lost = rate == 0.6 and recipe != "clipped"
        exploded = is_lost and seed == 1000
        accuracy = 0.098 if exploded else 0.1 if is_lost else 0.98 - 0.02 * rate
        how = ("exploded" if exploded else "collapsed") if is_lost else None
        rows.append([dataset, recipe, rate, seed, "lost" if is_lost else "trained", how, accuracy])
    for dataset, arm, seed in product(DATASETS, ARMS, SEEDS):
        end = "lost" if (arm, seed) == ("large", 1002) else "trained"
        how = "collapsed" if end == "lost" else None
        rows.append([dataset, arm, ARMS[arm], seed, end, how, 0.97])
    columns = ["dataset", "recipe", "learning_rate", "seed", "outcome", "lost_how", "test_accuracy"]
    return pd.DataFrame(rows, columns=columns)


def epochs() -> pd.DataFrame:
    """Give every arm losses and features of its own."""
    rows = [
        {
            **{"dataset": dataset, "recipe": arm, "learning_rate": rate, "seed": seed},
            "epoch": epoch,
            "train_loss": 2.3 * (0.1 + 0.1 * number) ** epoch + 1e-4 * (seed - 1000),
            "feature_sparsity": 0.5 - 0.1 * number - 0.01 * epoch,
            "effective_rank": 50 + number + epoch,
            "test_accuracy": 0.9 + 0.01 * epoch,
        }
        for dataset, (number, (arm, rate)), seed, epoch in product(
            DATASETS, enumerate(ARMS.items()), SEEDS, range(EPOCHS + 1)
        )
    ]
    return pd.DataFrame(rows)


def failure() -> dict[str, pd.DataFrame]:
    """Make the tables of the share of networks lost: core's can be fitted, clipped's cannot."""
    places = list(product(DATASETS, ("core", "clipped")))
    shares = {0.1: 0.0, 0.6: 0.75}
    rates = {"rate_10": 0.4, "rate_50": 0.5, "rate_90": 0.6}
    summary = []
    for dataset, recipe in places:
        row = {"dataset": dataset, "recipe": recipe, "networks": 40, "lost": 15, "state": "fitted"}
        for name, rate in rates.items():
            row |= {name: rate, f"{name}_low": 0.9 * rate, f"{name}_high": 1.1 * rate}
        if recipe == "clipped":
            row |= {"lost": 0, "state": "none lost"} | dict.fromkeys(rates, np.nan)
            row |= {f"{name}_high": np.nan for name in rates}
            row |= {f"{name}_low": 0.6 for name in rates}
        summary.append(row)
    seen = [
        [dataset, recipe, rate, 20, 20 * share, share, max(0, share - 0.2), min(1, share + 0.2)]
        for (dataset, recipe), (rate, share) in product(places, shares.items())
    ]
    curves = [
        [dataset, recipe, rate, rate, 0.8 * rate, 1.2 * rate]
        for (dataset, recipe), rate in product(places, np.linspace(0.1, 0.6, 6))
    ]
    place, ends = ["dataset", "recipe", "learning_rate"], ["share", "low", "high"]
    return {
        "failure": pd.DataFrame(summary),
        "failure_shares": pd.DataFrame(seen, columns=[*place, "networks", "lost", *ends]),
        "failure_curves": pd.DataFrame(curves, columns=[*place, *ends]),
    }


def write(metrics: Path) -> None:
    """Write all of them where the report looks for them."""
    folder = metrics / "audit"
    folder.mkdir()
    pd.DataFrame(CLAIMS).to_csv(metrics / "claims.csv", index=False)
    for name, table in {"networks": networks(), "epochs": epochs(), **failure()}.items():
        table.to_csv(folder / f"{name}.csv", index=False)
