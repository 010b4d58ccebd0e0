"""Train one recipe of the audit at all its rates, one network per seed of a group."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple

import torch

from stages.audit.training.parameters import Recipe
from stages.audit.training.recipes import RecipeParams
from stages.common.datasets import Prepared, load_prepared
from stages.common.errors import run
from stages.common.parameters import Rate, read_params
from stages.common.whole_files import whole_directory
from stages.training import run_files
from stages.training.device import device_named, make_deterministic
from stages.training.loop import starting_stack, train_run
from stages.training.parameters import TrainParams
from stages.training.splits import Splits
from stages.training.stack import Stack
from stages.training.workers import in_blocks


class Chain(NamedTuple):
    """One network and the rates that it is trained at: a single rate, or one after another."""

    rates: tuple[Rate, ...]
    seed: int


def chains(recipe: Recipe, rates: Sequence[Rate], seeds: Sequence[int]) -> list[Chain]:
    """List what a recipe trains, seed by seed, so that every block gets some of each rate."""
    if recipe.start == "carried":
        return [Chain(tuple(rates), seed) for seed in seeds]
    return [Chain((rate,), seed) for seed in seeds for rate in rates]


def train_chains(
    block: Sequence[Chain], *, recipe: Recipe, prepared: Prepared, declared: TrainParams, name: str
) -> list[run_files.Run]:
    """Train some chains; those of the same rates as one stack.

    Args:
        block: The chains.
        recipe: Its units, and whether it keeps the parameters of every epoch.
        prepared: What the networks learn from and are scored on.
        declared: How they are trained; its seeds are replaced.
        name: The dataset's name.
    """
    splits = Splits.of(prepared, declared.normalization, device_named(declared.device))
    runs = []
    for rates, alike in groupby(sorted(block), key=lambda each: each.rates):
        seeds = tuple(each.seed for each in alike)
        training = declared.model_copy(update={"seeds": seeds})
        stack = starting_stack(splits, training)
        if recipe.units == "permuted":
            permute_units(stack, seeds)
        for rate in rates:
            ended = train_run(stack, splits, float(rate), training, dataset=name)
            runs.append(ended if recipe.by_epoch else at_end(ended))
    return runs


def permute_units(stack: Stack, seeds: Sequence[int]) -> None:
    """Put the hidden units of each network in another order, in place.

    The network computes the same function, by sums that round differently.
    """
    for network, seed in enumerate(seeds):
        generator = torch.Generator().manual_seed(seed)
        for layer in range(len(stack.weights) - 1):
            weight, bias, above = (
                stack.weights[layer],
                stack.biases[layer],
                stack.weights[layer + 1],
            )
            order = torch.randperm(weight.shape[2], generator=generator).to(weight.device)
            weight[network] = weight[network][:, order]
            bias[network] = bias[network][:, order]
            above[network] = above[network][order]


def at_end(ended: run_files.Run) -> run_files.Run:
    """Keep only the parameters at the end of a run."""
    return replace(
        ended, parameters={name: kept[-1:].copy() for name, kept in ended.parameters.items()}
    )


def by_rate(blocks: Sequence[Sequence[run_files.Run]]) -> list[run_files.Run]:
    """Put the runs of each rate side by side, in the order of their seeds."""
    runs: dict[float, list[run_files.Run]] = {}
    for ended in chain.from_iterable(blocks):
        runs.setdefault(ended.facts["learning_rate"], []).append(ended)
    return [run_files.joined(alike) for alike in runs.values()]


def main() -> None:
    """Train a recipe, write a run for each of its rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds processed/; the runs go to audit/")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--recipe", required=True, help="one of audit.recipes")
    parser.add_argument("--group", type=int, required=True, help="one of audit.groups")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    dataset = arguments.dataset
    declared = read_params(RecipeParams, arguments.params)
    recipe, seeds = declared.recipe(arguments.recipe), declared.seeds_of(arguments.group)
    training, rates = declared.applied(recipe, dataset, seeds), declared.rates_of(recipe)
    make_deterministic()
    prepared = load_prepared(arguments.data, dataset)
    blocks = in_blocks(
        partial(train_chains, recipe=recipe, prepared=prepared, declared=training, name=dataset),
        chains(recipe, rates, seeds),
        title=f"{dataset}, {arguments.recipe}",
        total=len(seeds) * len(rates) * training.training.epochs,
        unit="network epoch",
        alone=device_named(training.device).type != "cpu",
    )
    place = Path(dataset, arguments.recipe, str(arguments.group))
    with whole_directory(arguments.data / "audit" / place) as draft:
        for ended in by_rate(blocks):
            folder = draft / f"{ended.facts['learning_rate']:g}"
            folder.mkdir()
            run_files.save(ended, folder)


if __name__ == "__main__":
    run(main)
