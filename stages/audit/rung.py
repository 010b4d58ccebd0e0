"""Train one recipe of the audit at all its rates, a network for every seed."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from stages.audit.training.parameters import Recipe
from stages.audit.training.recipes import RungParams
from stages.common.datasets import Prepared, load
from stages.common.errors import run
from stages.common.parameters import read_params
from stages.common.whole_files import whole_directory
from stages.training import run_files
from stages.training.device import device_named, make_deterministic
from stages.training.loop import starting_stack, train_run
from stages.training.splits import Splits
from stages.training.workers import in_blocks


def climb(
    seeds: Sequence[int],
    *,
    recipe: Recipe,
    prepared: Prepared,
    declared: RungParams,
    dataset: str,
) -> list[run_files.Run]:
    """Train some seeds of a recipe, one learning rate after the other.

    A carried start is the seed's own: no seed depends on the others.

    Args:
        seeds: One network each.
        recipe: What to change of the core study's recipe, and where each rate starts.
        prepared: What the networks learn from and are scored on.
        declared: The core study's recipe.
        dataset: Its name.

    Returns:
        A run for each rate, whose parameters are those at its end alone.
    """
    training = declared.applied(recipe, dataset).model_copy(update={"seeds": tuple(seeds)})
    make_deterministic(seeds[0])
    splits = Splits.of(prepared, training.normalization, device_named(training.device))
    stack = starting_stack(splits, training)
    runs = []
    for rate in declared.rates(recipe):
        if recipe.start == "fresh":
            stack = starting_stack(splits, training)
        ended = train_run(stack, splits, float(rate), training, dataset=dataset)
        last = {name: values[-1:].copy() for name, values in ended.parameters.items()}
        runs.append(replace(ended, parameters=last))
    return runs


def main() -> None:
    """Train a recipe, write a run for each of its rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds processed/; the runs go to audit/rungs/")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--recipe", required=True, help="one of audit.recipes")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    dataset = arguments.dataset
    declared = read_params(RungParams, arguments.params)
    recipe = declared.recipe(arguments.recipe)
    prepared = load(
        Prepared, arguments.data / "processed" / f"{dataset}.npz", f"preprocess@{dataset}"
    )
    rates = declared.rates(recipe)
    blocks = in_blocks(
        partial(climb, recipe=recipe, prepared=prepared, declared=declared, dataset=dataset),
        declared.seeds,
        title=f"{dataset}, {arguments.recipe}",
        total=len(declared.seeds) * len(rates) * declared.training.epochs,
        unit="network epoch",
        alone=device_named(declared.device).type != "cpu",
    )
    with whole_directory(arguments.data / "audit" / "rungs" / dataset / arguments.recipe) as draft:
        for rate, runs in zip(rates, zip(*blocks, strict=True), strict=True):
            folder = draft / f"{rate:g}"
            folder.mkdir()
            run_files.save(run_files.joined(runs), folder)


if __name__ == "__main__":
    run(main)
