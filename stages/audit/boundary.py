"""Find, for every seed, the learning rate at which it stops being trained."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from stages.audit.training.parameters import CORE, Search
from stages.audit.training.recipes import BoundaryParams
from stages.common.datasets import Prepared, load
from stages.common.errors import run
from stages.common.parameters import read_params
from stages.common.whole_files import whole_file
from stages.training.device import device_named, make_deterministic
from stages.training.loop import starting_stack, train
from stages.training.parameters import TrainParams
from stages.training.splits import Splits
from stages.training.workers import advance, in_blocks

MOST_ROUNDS = 24
WIDENING = 2
"""Factor by which an assumption that proved wrong is moved."""
DIGITS = 6
"""Significant digits of the rates tried, so that the tables name them exactly."""
JUDGED_EXAMPLES = 1600
"""The last examples of training, on which the accuracy is judged: as many as the core study's."""

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


def search(seeds: Sequence[int], declared: Search, trial: Trial) -> pd.DataFrame:
    """Bisect the logarithm of every seed's rate, all seeds side by side.

    Between a rate that trains and one that fails there is a boundary; where there are several, this
    finds one of them.

    Args:
        seeds: One network each.
        declared: Where to begin and when to end.
        trial: Trains seeds, each at a rate of its own.

    Returns:
        One row per seed and round: seed, round (from 1), learning_rate, trained, and the bracket
        after it, low and high, missing where an end was only assumed.
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
            advance(int(bracket.settled(declared.resolution)))
    columns = ["seed", "round", "learning_rate", "trained", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def ends_trained(
    rates: Mapping[int, float],
    splits: Splits,
    declared: TrainParams,
    trained_accuracy: float,
) -> dict[int, bool]:
    """Train seeds as one stack, each at a rate of its own; tell which end trained.

    A network ends trained if its parameters are finite at the end and it classified enough of the
    last 1,600 examples correctly, each just before the step it took part in.

    Args:
        rates: Seed → rate.
        splits: What the networks learn from.
        declared: The recipe; its seeds are replaced.
        trained_accuracy: The share, 0 to 1, that is enough.
    """
    chosen = declared.model_copy(update={"seeds": tuple(rates)})
    stack = starting_stack(splits, chosen)
    per_network = torch.tensor(list(rates.values()), dtype=torch.float64)
    for epoch in train(stack, splits, per_network, chosen):
        accuracy = epoch.steps.accuracy
        if not stack.finite().any():
            break
    window = max(1, min(round(JUDGED_EXAMPLES / declared.training.batch_size), len(accuracy)))
    accurate = accuracy[-window:].double().mean(dim=0).round(decimals=6) >= trained_accuracy
    trained = stack.finite().cpu() & accurate
    return dict(zip(rates, trained.tolist(), strict=True))


def search_seeds(
    seeds: Sequence[int],
    *,
    prepared: Prepared,
    training: TrainParams,
    declared: Search,
    trained_accuracy: float,
) -> pd.DataFrame:
    """Search for the boundary of some seeds by training them.

    Args:
        seeds: One network each.
        prepared: What the networks learn from.
        training: The recipe.
        declared: Where to begin and when to end.
        trained_accuracy: As in `ends_trained`.

    Returns:
        As `search`.
    """
    make_deterministic(seeds[0])
    device = device_named(training.device)
    splits = Splits.of(prepared, training.normalization, device).training_only()
    return search(
        seeds, declared, lambda rates: ends_trained(rates, splits, training, trained_accuracy)
    )


def main() -> None:
    """Search for the boundary of a recipe, or of the core study's; write every trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds processed/")
    parser.add_argument("tables", type=Path, help="for <dataset>/boundary-<recipe>.csv")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--recipe", help="one of audit.recipes; without it, the core study's")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    dataset, name = arguments.dataset, arguments.recipe or CORE
    declared = read_params(BoundaryParams, arguments.params)
    if arguments.recipe is None:
        training = declared.core()
    else:
        training = declared.applied(declared.recipe(name), dataset)
    source = arguments.data / "processed" / f"{dataset}.npz"
    work = partial(
        search_seeds,
        prepared=load(Prepared, source, f"preprocess@{dataset}"),
        training=training,
        declared=declared.audit.search,
        trained_accuracy=declared.outcome.trained_accuracy,
    )
    blocks = in_blocks(
        work,
        declared.seeds,
        title=f"{dataset}, boundary of {name}",
        total=len(declared.seeds),
        unit="seed",
        alone=device_named(declared.device).type != "cpu",
    )
    trials = pd.concat(blocks).sort_values(["seed", "round"])
    with whole_file(arguments.tables / dataset / f"boundary-{name}.csv") as draft:
        trials.to_csv(draft, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


if __name__ == "__main__":
    run(main)
