"""Train one recipe of the audit at all its rates, a network for every seed."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from stages.audit.applied import RecipeParams, recipe_named
from stages.core import features, params, runs
from stages.core.compute import device_named, make_deterministic
from stages.core.datasets import Prepared, load
from stages.core.errors import run
from stages.core.examples import Splits
from stages.core.files import whole_directory
from stages.core.params import Recipe
from stages.core.stack import Stack
from stages.train import TrainParams, starting_stack, train_run


class Step(NamedTuple):
    """One rate of a recipe."""

    rate: float
    tables: runs.Tables
    features: pd.DataFrame
    """A row a network with finite parameters and hidden layer: learning_rate, seed, layer,
    feature_sparsity."""


def climb(
    recipe: Recipe,
    splits: Splits,
    declared: TrainParams,
    examples: int,
    *,
    dataset: str,
    title: str,
) -> Iterator[Step]:
    """Train a recipe rate by rate.

    Args:
        recipe: Its rates (not null) and where each starts.
        splits: What the networks learn from and are scored on, normalized as the recipe says.
        declared: The recipe's training, with the seeds.
        examples: How many training examples, from the first, the features are measured on.
        dataset: Its name.
        title: What the progress is called.
    """
    stack = starting_stack(splits, declared)
    for rate in recipe.rates or ():
        if recipe.start == "fresh":
            stack = starting_stack(splits, declared)
        here = f"{title} at {rate:g}"
        ended = train_run(stack, splits, float(rate), declared, dataset=dataset, title=here)
        sparsity = feature_sparsity(stack, splits.train.inputs[:examples], declared.seeds)
        yield Step(float(rate), ended.tables, sparsity.assign(learning_rate=float(rate)))


def feature_sparsity(stack: Stack, inputs: torch.Tensor, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Measure the hidden layers of the networks with finite parameters, a row each."""
    alive = stack.finite().cpu()
    living = [seed for seed, lives in zip(seeds, alive, strict=True) if lives]
    tables = [pd.DataFrame(columns=["seed", "layer", "feature_sparsity"])]
    if living:
        with torch.inference_mode():
            # On the CPU, in float64, which MPS lacks.
            *hidden, _ = (each.cpu() for each in stack.only(alive).activations(inputs))
            tables = [
                pd.DataFrame(
                    {
                        "seed": living,
                        "layer": layer,
                        "feature_sparsity": features.feature_sparsity(activations).numpy(),
                    }
                )
                for layer, activations in enumerate(hidden, start=1)
            ]
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    """Train a recipe, write its tables, a folder a rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("rung", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = params.load(RecipeParams, arguments.params)
    recipe = recipe_named(arguments.recipe, declared)
    make_deterministic(declared.seeds[0], declared.compute)
    dataset = arguments.prepared.stem
    training = declared.applied(recipe, dataset)
    splits = Splits.of(
        load(Prepared, arguments.prepared, f"preprocess@{dataset}"),
        training.normalization,
        device_named(declared.compute.device),
    )
    steps = climb(
        recipe,
        splits,
        training,
        declared.diagnose.examples,
        dataset=dataset,
        title=f"{dataset}, {arguments.recipe}",
    )
    with whole_directory(arguments.rung) as draft:
        sparsity = []
        for step in steps:
            place = draft / f"{step.rate:g}"
            place.mkdir()
            runs.save_tables(step.tables, place)
            sparsity.append(step.features)
        pd.concat(sparsity, ignore_index=True).to_csv(
            draft / "features.csv", index=False, lineterminator="\n"
        )


if __name__ == "__main__":
    run(main)
