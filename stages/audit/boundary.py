"""Find, for every seed, the learning rate at which it stops being trained."""

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from stages.audit.applied import RecipeParams, recipe_named
from stages.core import params
from stages.core.compute import device_named, make_deterministic
from stages.core.datasets import Prepared, load
from stages.core.errors import run
from stages.core.examples import Splits
from stages.core.files import whole_directory
from stages.core.params import CORE
from stages.train import TrainParams, starting_stack, train

MOST_ROUNDS = 24
WIDENING = 2
"""Factor by which an assumption that proved wrong is moved."""
DIGITS = 6
"""Significant digits of the rates tried, so that the tables name them exactly."""

Trial = Callable[[Mapping[int, float]], Mapping[int, bool]]
"""Seed → rate to seed → whether it ends trained."""


@dataclass(frozen=True)
class Bracket:
    """What is known of one seed's boundary: it is trained at `low`, it fails at `high`."""

    low: float
    high: float
    low_tried: bool = False
    """Whether `low` was tried, rather than only assumed to train."""
    high_tried: bool = False
    """Whether `high` was tried, rather than only assumed to fail."""
    mistaken: bool = False
    """Whether an assumption has proved wrong: the next one is tried at once."""

    def settled(self, resolution: float) -> bool:
        """Tell whether both ends were tried and are close enough."""
        return self.low_tried and self.high_tried and self._close(resolution)

    def next_rate(self, resolution: float) -> float:
        """Choose the rate to try: the middle on a logarithmic axis, or an untried end."""
        both_tried = self.low_tried and self.high_tried
        if both_tried or not (self.mistaken or self._close(resolution)):
            return float(f"{math.sqrt(self.low * self.high):.{DIGITS}g}")
        return self.high if self.low_tried else self.low

    def after(self, rate: float, trained: bool) -> "Bracket":
        """Take a trial into account."""
        if trained and rate >= self.high:
            return replace(self, low=rate, low_tried=True, high=rate * WIDENING, mistaken=True)
        if trained:
            return replace(self, low=rate, low_tried=True)
        if rate <= self.low:
            return replace(self, high=rate, high_tried=True, low=rate / WIDENING, mistaken=True)
        return replace(self, high=rate, high_tried=True)

    def _close(self, resolution: float) -> bool:
        return self.high / self.low <= resolution


def search(seeds: Sequence[int], declared: params.Search, trial: Trial) -> pd.DataFrame:
    """Bisect the logarithm of every seed's rate, all seeds side by side.

    Between a rate that trains and one that fails there is a boundary; where there are several, this
    finds one of them.

    Args:
        seeds: One network each.
        declared: Where to begin and when to end.
        trial: Trains seeds, each at a rate of its own.

    Returns:
        A row a seed and round: seed, round (from 1), learning_rate, trained, and the bracket after
        it, low and high, missing where an end was only assumed.
    """
    brackets = {seed: Bracket(declared.low, declared.high) for seed in seeds}
    rows = []
    for number in range(1, MOST_ROUNDS + 1):
        open_seeds = [s for s in seeds if not brackets[s].settled(declared.resolution)]
        if not open_seeds:
            break
        rates = {seed: brackets[seed].next_rate(declared.resolution) for seed in open_seeds}
        for seed, trained in trial(rates).items():
            bracket = brackets[seed] = brackets[seed].after(rates[seed], trained)
            low = bracket.low if bracket.low_tried else math.nan
            high = bracket.high if bracket.high_tried else math.nan
            rows.append([seed, number, rates[seed], trained, low, high])
    columns = ["seed", "round", "learning_rate", "trained", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def ends_trained(
    rates: Mapping[int, float],
    splits: Splits,
    declared: TrainParams,
    trained_accuracy: float,
) -> dict[int, bool]:
    """Train seeds as one stack, each at a rate of its own; tell which end trained.

    Args:
        rates: Seed → rate.
        splits: What the networks learn from.
        declared: The recipe; its seeds are replaced.
        trained_accuracy: As in `stages.core.endings.outcomes`, whose rule this is.
    """
    chosen = declared.model_copy(update={"seeds": tuple(rates)})
    stack = starting_stack(splits, chosen)
    finite = torch.ones(stack.size, dtype=torch.bool)
    accurate = finite
    per_network = torch.tensor(list(rates.values()), dtype=torch.float64)
    for epoch in train(stack, splits, per_network, chosen):
        finite = finite & epoch.steps.loss.isfinite().all(dim=0)
        accurate = epoch.train.accuracy >= trained_accuracy
        if not finite.any():
            break
    return dict(zip(rates, (finite & accurate).tolist(), strict=True))


def main() -> None:
    """Search for the boundary of a recipe, or of the core study's; write every trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("boundary", type=Path)
    parser.add_argument("--recipe", help="one of audit.recipes; without it, the core study's")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = params.load(RecipeParams, arguments.params)
    make_deterministic(declared.seeds[0], declared.compute)
    dataset = arguments.prepared.stem
    if arguments.recipe is None:
        training = declared.core()
    else:
        training = declared.applied(recipe_named(arguments.recipe, declared), dataset)
    # Only the end of training counts here.
    early = declared.early_validation.model_copy(update={"epochs": 0})
    training = training.model_copy(update={"early_validation": early})
    splits = Splits.of(
        load(Prepared, arguments.prepared, f"preprocess@{dataset}"),
        training.normalization,
        device_named(declared.compute.device),
    ).training_only()

    def trial(rates: Mapping[int, float]) -> dict[int, bool]:
        found = ends_trained(rates, splits, training, declared.aggregate.trained_accuracy)
        tried = ", ".join(f"{rate:g} {'✓' if found[s] else '✗'}" for s, rate in rates.items())
        print(f"{dataset}, {arguments.recipe or CORE}: {tried}", file=sys.stderr)
        return found

    table = search(declared.seeds, declared.audit.search, trial)
    with whole_directory(arguments.boundary) as draft:
        table.to_csv(draft / "trials.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    run(main)
