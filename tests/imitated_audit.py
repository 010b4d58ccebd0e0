"""Tables like the audit's, with magnitudes like those of real networks, made of random numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

GRID = (0.1, 0.2, 0.3, 0.384, 0.48, 0.6)
STEEP = {
    "core": (0.44, 0.52, 0.56),
    "clipped": (1.2, 1.6, 2.0, 2.4),
    "warmup_cosine": (0.54, 0.66, 0.72),
}
LADDER = ("as_published", "fresh_start", "standardized", "core", "clipped", "warmup_cosine")
EPOCHS, MECHANISM_EPOCHS = 10, 20
STEPS = 1688
"""In an epoch."""


class Risk(NamedTuple):
    """A hazard: its power of the rate, where half are lost, and each period's share of it."""

    slope: float
    half: float
    shares: tuple[float, float, float] = (0.5, 0.2, 0.3)

    def by_epoch(self, rate: float) -> Any:
        """Compute the probability to be lost in each epoch, and last the one never to be."""
        total = np.log(2) * (rate / self.half) ** self.slope
        hazard = total * np.array(
            [self.shares[0], *[self.shares[1] / 2] * 2, *[self.shares[2] / 7] * 7]
        )
        alive = np.exp(-np.cumsum([0, *hazard]))
        return np.append(-np.diff(alive), alive[-1])


RISKS = {
    ("mnist", "as_published"): Risk(9, 0.36),
    ("mnist", "fresh_start"): Risk(14, 0.56),
    ("mnist", "standardized"): Risk(15, 0.55),
    ("mnist", "core"): Risk(18, 0.545),
    ("mnist", "clipped"): Risk(16, 2.1),
    ("mnist", "warmup_cosine"): Risk(9, 0.57, (0.2, 0.5, 0.3)),
    ("fashion_mnist", "as_published"): Risk(9, 0.3),
    ("fashion_mnist", "fresh_start"): Risk(12, 0.44),
    ("fashion_mnist", "standardized"): Risk(14, 0.52),
    ("fashion_mnist", "core"): Risk(15, 0.49),
    ("fashion_mnist", "clipped"): Risk(17, 1.4),
    ("fashion_mnist", "warmup_cosine"): Risk(8, 0.53, (0.2, 0.5, 0.3)),
}
BEST = {"mnist": 0.984, "fashion_mnist": 0.882}


def networks(
    seeds: Sequence[int] = range(1000, 1020),
    datasets: Sequence[str] = ("mnist", "fashion_mnist"),
    risks: Mapping[tuple[str, str], Risk] = RISKS,
) -> pd.DataFrame:
    """Make a table like networks.csv, as it is read; the recipes apart have the first ten seeds."""
    generator = np.random.default_rng(7)
    rows = []
    for dataset in datasets:
        for recipe in LADDER:
            runs = [(recipe, GRID, seeds), (f"{recipe}_steep", STEEP.get(recipe, ()), seeds[:10])]
            if recipe == "core":
                runs.append(("core_permuted", (0.1, 0.384, 0.48), seeds[:10]))
                runs.append(("conventional", (1e-5,), seeds[:10]))
            for name, rates, chosen in runs:
                for rate in rates:
                    shares = risks[dataset, recipe].by_epoch(rate)
                    for seed in chosen:
                        epoch = int(generator.choice(EPOCHS + 1, p=shares)) + 1
                        network = [dataset, name, rate, seed]
                        rows.append(_network(network, recipe, epoch, generator))
        for arm, rate in ARMS.items():
            for seed in seeds[:10]:
                network = [dataset, arm, rate, seed]
                rows.append(_network(network, "core", EPOCHS + 1, generator))
    table = pd.DataFrame(rows)
    return table.assign(feature_sparsity=table["feature_sparsity_2"])


def _network(
    network: list[Any], recipe: str, epoch: int, generator: np.random.Generator
) -> dict[str, Any]:
    dataset, name, rate, _ = network
    noise = generator.normal(size=4)
    gentle = {"clipped": 0.3, "warmup_cosine": 0.15}.get(recipe, 1.0)
    error = (1 - BEST[dataset]) * (1 + gentle * 5 * rate**2) * np.exp(0.05 * noise[0])
    active = 0.45 * (rate / 0.1) ** (-0.8) * np.exp(0.08 * noise[1])
    steps = round(650 * (1 + gentle * 8 * max(0, rate - 0.2) ** 2) * np.exp(0.1 * noise[2]))
    row = {
        **dict(zip(("dataset", "recipe", "learning_rate", "seed"), network, strict=True)),
        "outcome": "trained",
        "lost_epoch": np.nan,
        "lost_step": np.nan,
        "lost_how": None,
        "began_with_burst": np.nan,
        "steps_to_threshold": steps,
        "steps_to_lower_threshold": steps // 2,
        "peak_gradient_norm": 5 + 10 * rate,
        "first_epoch_accuracy": 1 - 2 * error * np.exp(0.05 * noise[3]),
        "validation_accuracy": 1 - error,
        "test_accuracy": round(1 - error, 4),
        "feature_sparsity_1": 0.7 * active,
        "feature_sparsity_2": active,
    }
    if name == "conventional":
        never = dict.fromkeys(("steps_to_threshold", "steps_to_lower_threshold"), np.nan)
        return row | never | {"outcome": "undertrained", "test_accuracy": 0.25}
    if epoch > EPOCHS:
        return row
    exploded = bool(generator.random() < 0.6)
    chance = 0.098 if dataset == "mnist" else 0.1
    features = dict.fromkeys(
        ("feature_sparsity_1", "feature_sparsity_2"), np.nan if exploded else 0.0
    )
    return (
        row
        | features
        | {
            "outcome": "lost",
            "lost_epoch": epoch,
            "lost_step": (epoch - 1) * STEPS + int(generator.integers(1, STEPS)),
            "lost_how": "exploded" if exploded else "collapsed",
            "began_with_burst": 1,
            "peak_gradient_norm": 1e4,
            "validation_accuracy": chance,
            "test_accuracy": chance,
        }
    )


ARMS = {
    "small": 0.1,
    "large_1": 0.384,
    "large_5": 0.384,
    "large_10": 0.384,
    "large": 0.384,
    "smallest": 0.02,
    "large_batch": 0.384,
    "small_batch": 0.1,
}
LARGE_EPOCHS = {"large_1": 1, "large_5": 5, "large_10": 10, "large": 20}
FASHION_LOSSES = {"first": 0.42, "pace": 0.90, "large": 0.30, "least": 0.02}
LOSSES = {"mnist": {"first": 0.16, "pace": 0.66, "large": 0.11, "least": 2e-4}}
"""Training loss after the first epoch, its factor per epoch at the small rate, where it stays at
the large one, and the least."""
PACES = {"smallest": 1.12, "large_batch": 0.95, "small_batch": 1.1}
"""How much slower the training loss of an arm falls, as a power of its pace."""
ACTIVE = {"smallest": 0.71, "small_batch": 0.11, "large_batch": 0.36}
"""Where an arm's active features go; those of the others are by the rate of the moment."""


def epochs(
    seeds: Sequence[int] = range(1000, 1010), datasets: Sequence[str] = ("mnist", "fashion_mnist")
) -> pd.DataFrame:
    """Make a table like epochs.csv."""
    generator = np.random.default_rng(8)
    rows = []
    for dataset in datasets:
        for arm, rate in ARMS.items():
            for seed in seeds:
                losses = LOSSES.get(dataset, FASHION_LOSSES)
                curve = _training(arm, losses, generator)
                for epoch, (loss, active) in enumerate(curve):
                    accuracy = BEST[dataset] - 0.15 * loss + 0.001 * generator.normal()
                    row = [dataset, arm, rate, seed, epoch, loss, accuracy, accuracy, active]
                    rows.append([*row, 80 - 60 * active, 20 + 0.5 * epoch])
    columns = ["dataset", "recipe", "learning_rate", "seed", "epoch", "train_loss", "test_accuracy"]
    columns += ["validation_accuracy", "feature_sparsity", "effective_rank", "parameter_norm"]
    return pd.DataFrame(rows, columns=columns)


def _training(
    arm: str, losses: Mapping[str, float], generator: np.random.Generator
) -> list[tuple[float, float]]:
    """Make training loss and active features by epoch, from the initial weights on."""
    smooth, active, curve = losses["first"], 0.5, [(2.35, 0.5)]
    luck = generator.normal()
    for epoch in range(1, MECHANISM_EPOCHS + 1):
        large = epoch <= LARGE_EPOCHS.get(arm, 0)
        decayed = epoch == LARGE_EPOCHS.get(arm, 0) + 1 and epoch > 1
        pace = losses["pace"] ** (1 / PACES.get(arm, 1)) * np.exp(0.01 * luck)
        if epoch > 1:
            smooth = max(smooth * (0.3 if decayed else pace), losses["large" if large else "least"])
        if arm == "small_batch":
            smooth = max(smooth, 0.6 * losses["large"])
        loss = smooth * np.exp(0.12 * generator.normal())
        target = ACTIVE.get(arm, 0.06 if large else 0.45)
        speed = 0.3 if large or arm in ACTIVE else 0.12 * (arm == "small")
        active += speed * (target - active) + 0.004 * generator.normal() + 0.001 * luck
        curve.append((float(loss), float(active)))
    return curve
