"""Tables of an audit, drawn from distributions that a test chooses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.audit.judging.claims import CLAIMS, Claim
from stages.audit.judging.evidence import Evidence, Favourite
from stages.audit.judging.mechanism import ARMS

RATES = (0.1, 0.2, 0.3, 0.384, 0.48, 0.6)
LADDER = ("as_published", "fresh_start", "standardized", "core", "clipped", "warmup_cosine")
APART: Mapping[str, tuple[float, ...]] = {
    "core_steep": (0.44, 0.52, 0.56),
    "conventional": (1e-5,),
    "core_permuted": (0.1, 0.384, 0.48),
}
BY_KEY: Mapping[str, Claim] = {claim.key: claim for claim in CLAIMS}
USUAL: dict[str, Any] = {
    "test_accuracy": 0.97,
    "validation_accuracy": 0.97,
    "first_epoch_accuracy": 0.94,
    "steps_to_threshold": 800.0,
    "steps_to_lower_threshold": 400.0,
    "feature_sparsity_2": 0.3,
    "spread": 1.0,
    "lost": 0,
    "undertrained": 0,
    "burst": 1.0,
    "peak": 5.0,
}
"""What a cell is like, unless told: means, how many times the usual spread, how many of its
networks were lost or undertrained, the share of losses that began with a burst, the largest
gradient norm of the others."""
SPREAD = {
    "test_accuracy": 0.0008,
    "validation_accuracy": 0.0008,
    "first_epoch_accuracy": 0.0008,
    "steps_to_threshold": 30.0,
    "steps_to_lower_threshold": 15.0,
    "feature_sparsity_2": 0.005,
}

Place = tuple[str, str, float]
"""Dataset, recipe and rate of a cell."""
Told = Mapping[Place, Mapping[str, Any]]
"""Cell → what differs from `USUAL`; the recipe "*" stands for every one."""
Arms = Mapping[tuple[str, str], Mapping[str, float]]
"""Dataset and arm → feature_sparsity and test_accuracy, of every epoch."""


def every_cell() -> list[Place]:
    """List the cells of the real audit, the arms of the mechanism aside."""
    recipes = {**dict.fromkeys(LADDER, RATES), **APART}
    return [
        (dataset, recipe, rate)
        for dataset in ("mnist", "fashion_mnist")
        for recipe, rates in recipes.items()
        for rate in rates
    ]


def cells_of(claim: Claim) -> list[Place]:
    """List the cells that a claim names, those of core alone, and of arms with the rate 0.1."""
    found = {}
    for comparison in claim.comparisons:
        for side in comparison.sides:
            for cell in side:
                rates = cell.rate.rates if isinstance(cell.rate, Favourite) else (cell.rate or 0.1,)
                found |= {(cell.dataset, cell.recipe, rate): None for rate in rates}
    return list(found)


def evidence(
    told: Told | None = None,
    arms: Arms | None = None,
    *,
    cells: Sequence[Place] | None = None,
    seeds: int = 20,
    seed: int = 0,
) -> Evidence:
    """Draw an audit.

    Args:
        told: What differs from `USUAL`.
        arms: What differs in the mechanism.
        cells: Which cells were run; all of the real audit, unless told.
        seeds: Networks of a cell of the ladder; others have at most ten.
        seed: Of the scatter.
    """
    generator = np.random.default_rng(seed)
    if cells is None:
        cells = [*every_cell(), *((d, a, 0.1) for d in ("mnist", "fashion_mnist") for a in ARMS)]
    told, arms = told or {}, arms or {}
    place = {"dataset": "", "recipe": "", "learning_rate": 0.0}
    tables, epochs = [networks(USUAL, 0, generator).assign(**place)], [course({}, 0, generator)]
    for dataset, recipe, rate in cells:
        size = seeds if recipe in LADDER else min(seeds, 10)
        usual = told.get((dataset, "*", rate), {})
        here = {**USUAL, **told.get((dataset, recipe, rate), usual)}
        table = networks(here, size, generator)
        tables.append(table.assign(dataset=dataset, recipe=recipe, learning_rate=rate))
        if recipe in ARMS:
            table = course(arms.get((dataset, recipe), {}), size, generator)
            epochs.append(table.assign(dataset=dataset, recipe=recipe, learning_rate=rate))
    return Evidence(pd.concat(tables, ignore_index=True), pd.concat(epochs, ignore_index=True))


def networks(here: Mapping[str, Any], size: int, generator: np.random.Generator) -> pd.DataFrame:
    """Draw the networks of a cell; the lost ones are spread evenly over its seeds."""
    table = pd.DataFrame({"seed": 1000 + np.arange(size)})
    for name, spread in SPREAD.items():
        table[name] = here[name] + here["spread"] * spread * generator.standard_normal(size)
    steps = ["steps_to_threshold", "steps_to_lower_threshold"]
    table[steps] = table[steps].clip(lower=1).round()
    place = np.arange(size)
    lost = np.isin(place, np.linspace(0, size - 1, here["lost"]).astype(int))
    slow = ~lost & (place < here["undertrained"])
    burst = lost & (np.cumsum(lost) <= round(here["burst"] * lost.sum()))
    table["outcome"] = np.select([lost, slow], ["lost", "undertrained"], "trained")
    table.loc[slow, steps] = np.nan
    table["lost_epoch"] = np.where(lost, 2.0, np.nan)
    table["lost_step"] = np.where(lost, 2000.0, np.nan)
    table["lost_how"] = np.where(lost, "exploded", None)
    table["began_with_burst"] = np.where(lost, burst.astype(float), np.nan)
    table["peak_gradient_norm"] = np.where(burst, 400.0, here["peak"])
    table["feature_sparsity_1"] = 0.5
    table["feature_sparsity"] = table["feature_sparsity_2"]
    return table


def course(told: Mapping[str, float], size: int, generator: np.random.Generator) -> pd.DataFrame:
    """Draw the networks of an arm, epoch by epoch: the loss halves in each."""
    seeds, epochs = np.meshgrid(1000 + np.arange(size), np.arange(21), indexing="ij")
    spread = told.get("spread", 1.0) * np.repeat(generator.standard_normal((2, size)), 21, axis=1)
    return pd.DataFrame(
        {
            "dataset": "",
            "recipe": "",
            "learning_rate": 0.0,
            "seed": seeds.ravel(),
            "epoch": epochs.ravel(),
            "train_loss": 0.5 ** epochs.ravel(),
            "feature_sparsity": told.get("feature_sparsity", 0.5) + 0.005 * spread[0],
            "test_accuracy": told.get("test_accuracy", 0.98) + 0.0005 * spread[1],
            "validation_accuracy": 0.98,
            "effective_rank": 50.0,
            "parameter_norm": 20.0,
        }
    )
