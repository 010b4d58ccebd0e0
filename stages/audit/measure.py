"""Measure the networks of one recipe: how each ended, what it scored, what its units do."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from stages.audit.training.parameters import Recipe
from stages.audit.training.recipes import RecipeParams
from stages.common.datasets import Prepared, load_prepared
from stages.common.errors import run
from stages.common.parameters import read_params
from stages.common.tables import csv_text
from stages.common.whole_files import whole_directory
from stages.diagnostics import features
from stages.diagnostics.outcomes import burst_steps, outcomes
from stages.diagnostics.parameters import Diagnose, Outcome
from stages.training import run_files, workers
from stages.training.device import device_named, make_deterministic
from stages.training.parameters import Normalization
from stages.training.splits import Splits
from stages.training.stack import Stack

LAST_EPOCH = {
    "validation_accuracy": "validation_accuracy",
    "test_accuracy": "test_accuracy",
    "train_accuracy": "train_accuracy",
    "test_loss": "test_loss",
    "train_loss": "train_loss",
    "gradient_norm_mean": "gradient_norm",
}
"""Column of the history → column of the table, which has the last epoch's value."""
NETWORK = ["learning_rate", "seed"]
NETWORK_EPOCH = [*NETWORK, "epoch"]
LOSS_AND_NORM = ("train_loss", "parameter_norm")
SCORES = ["test_accuracy", "validation_accuracy"]
"""Columns of the history that stand in the table of epochs."""
QUANTITIES = (features.feature_sparsity, features.effective_rank)
"""What is measured of a hidden layer on the sample, by the names of its columns."""


class MeasureParams(RecipeParams):
    """The part of params.yaml that measuring a recipe reads."""

    diagnose: Diagnose
    outcome: Outcome


def networks_table(ended: run_files.Run, declared: MeasureParams) -> pd.DataFrame:
    """Summarize the networks of one learning rate, one row per seed, without their hidden units.

    Args:
        ended: A run of a recipe.
        declared: How it is judged how a network ended, and the lower thresholds.
    """
    facts, rule = ended.facts, declared.outcome
    lower = {"threshold_accuracy": declared.audit.lower_threshold_accuracy}
    table = outcomes(ended, rule).set_index("seed")
    table["steps_to_lower_threshold"] = outcomes(ended, rule.model_copy(update=lower)).set_index(
        "seed"
    )["steps_to_threshold"]
    table["began_with_burst"] = began_with_burst(ended, table["lost_step"], rule)
    table["chance_accuracy"] = facts["chance_accuracy"]
    history = ended.history.set_index("seed")
    first, last = history[history["epoch"] == 1], history[history["epoch"] == facts["epochs"]]
    table["first_epoch_accuracy"] = first["validation_accuracy"]
    table = table.join(last[list(LAST_EPOCH)].rename(columns=LAST_EPOCH)).reset_index()
    table.insert(0, "learning_rate", facts["learning_rate"])
    return table


def began_with_burst(ended: run_files.Run, lost_step: pd.Series, rule: Outcome) -> pd.Series:
    """Tell of each lost network whether a burst began its breakdown: 1 or 0, missing for others.

    Args:
        ended: The run.
        lost_step: By seed, from 1; missing where a network was not lost.
        rule: What counts as a burst.
    """
    burst = burst_steps(ended, rule)
    told = [
        pd.NA if pd.isna(step) else int(burst[int(step) - 1, network])
        for network, step in enumerate(lost_step)
    ]
    return pd.Series(told, index=lost_step.index, dtype="Int64")


def measure_block(
    seeds: Sequence[int],
    *,
    runs: Sequence[run_files.Run],
    prepared: Prepared,
    declared: MeasureParams,
    normalization: Normalization,
    by_epoch: bool,
) -> list[dict[str, float]]:
    """Measure some seeds' networks at the end of every run, or after each of its epochs.

    Each network is measured alone: nothing that is measured of it can depend on which others are
    in its block, not even by a bit.

    Args:
        seeds: Which networks.
        runs: Their facts and parameters are read.
        prepared: The dataset.
        declared: The size of the sample.
        normalization: What the networks were trained with.
        by_epoch: Whether to measure after every epoch, then also the loss and the parameter norm.

    Returns:
        One row per network and epoch, as long as its parameters are finite.
    """
    splits = Splits.of(prepared, normalization, device_named(declared.device))
    sample = splits.train.inputs[: declared.diagnose.examples]
    rows = []
    for ended in runs:
        last = ended.facts["epochs"]
        for seed in seeds:
            network = ended.facts["seeds"].index(seed)
            for epoch in range(1, last + 1) if by_epoch else [last]:
                stack = Stack.from_arrays(ended.network(network, epoch))
                if stack.finite().all():
                    stack = stack.to(sample.device)
                    row = {"learning_rate": ended.facts["learning_rate"], "seed": seed}
                    loss = loss_and_norm(stack, splits) if by_epoch else {}
                    rows.append(row | {"epoch": epoch} | loss | units_of(stack, sample))
                workers.advance(1)
    return rows


def units_of(stack: Stack, sample: torch.Tensor) -> dict[str, float]:
    """Measure each hidden layer of one network on a sample; missing where that overflows."""
    measured = {}
    with torch.inference_mode():
        *hidden, _ = stack.activations(sample)
        for layer, units in enumerate(hidden, start=1):
            for name, value in features.measured(units, QUANTITIES).items():
                measured[f"{name}_{layer}"] = value
    return measured


def loss_and_norm(stack: Stack, splits: Splits) -> dict[str, float]:
    """Measure one network's loss on all training examples, and the norm of its parameters."""
    with torch.inference_mode():
        loss = float(splits.train.scores_of(stack).loss)
        return {"train_loss": loss, "parameter_norm": float(stack.norms())}


def tables_of(
    runs: Sequence[run_files.Run],
    prepared: Prepared,
    declared: MeasureParams,
    recipe: Recipe,
) -> dict[str, pd.DataFrame]:
    """Measure a recipe.

    Args:
        runs: One for each of its rates.
        prepared: The dataset that they were trained on.
        declared: How it is measured.
        recipe: The recipe.

    Returns:
        `networks`, one row per network. For a recipe that keeps every epoch, also `epochs`, one row
        per network and epoch, with the last hidden layer only.
    """
    facts = runs[0].facts
    seeds, dataset, last = facts["seeds"], facts["dataset"], facts["epochs"]
    blocks = workers.in_blocks(
        partial(
            measure_block,
            runs=runs,
            prepared=prepared,
            declared=declared,
            normalization=declared.applied(recipe, dataset, seeds).normalization,
            by_epoch=recipe.by_epoch,
        ),
        seeds,
        title=f"measuring {dataset}",
        total=len(seeds) * len(runs) * (last if recipe.by_epoch else 1),
        unit="network epoch",
        alone=device_named(declared.device).type != "cpu",
    )
    depth = len(declared.network.hidden)
    units = [
        f"{quantity.__name__}_{layer}" for quantity in QUANTITIES for layer in range(1, depth + 1)
    ]
    columns = [*NETWORK_EPOCH, *(LOSS_AND_NORM if recipe.by_epoch else ()), *units]
    measured = pd.DataFrame([row for rows in blocks for row in rows], columns=columns)
    networks = pd.concat([networks_table(each, declared) for each in runs], ignore_index=True)
    ends = measured.loc[measured["epoch"] == last, [*NETWORK, *units]]
    tables = {"networks": networks.merge(ends, on=NETWORK, how="left")}
    if recipe.by_epoch:
        history = pd.concat(
            [each.history.assign(learning_rate=each.facts["learning_rate"]) for each in runs]
        )
        scores = history[[*NETWORK_EPOCH, *SCORES]]
        epochs = measured.merge(scores, on=NETWORK_EPOCH, how="left")
        names = {f"{quantity.__name__}_{depth}": quantity.__name__ for quantity in QUANTITIES}
        epochs = epochs.rename(columns=names).sort_values(NETWORK_EPOCH)
        tables["epochs"] = epochs[
            [*NETWORK_EPOCH, "train_loss", *SCORES, *names.values(), "parameter_norm"]
        ]
    return tables


def main() -> None:
    """Read a recipe's runs; write the table of networks and, if epochs are kept, that of epochs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds processed/ and audit/")
    parser.add_argument("cells", type=Path, help="the tables go to <dataset>/<recipe>/<group>/")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--recipe", required=True, help="one of audit.recipes")
    parser.add_argument("--group", type=int, required=True, help="one of audit.groups")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    dataset, name, group = arguments.dataset, arguments.recipe, arguments.group
    declared = read_params(MeasureParams, arguments.params)
    recipe = declared.recipe(name)
    declared.seeds_of(group)  # refuses a group that is not one
    make_deterministic()
    prepared = load_prepared(arguments.data, dataset)
    place = Path(dataset, name, str(group))
    stage = "train" if name in declared.audit.ladder else "train_apart"
    command = f"dvc repro --force --single-item audit/dvc.yaml:{stage}@{dataset}-{name}-{group}"
    folder = arguments.data / "audit" / place
    runs = [
        run_files.load(folder / f"{rate:g}", dataset, command, by_epoch=recipe.by_epoch)
        for rate in declared.rates_of(recipe)
    ]
    tables = tables_of(runs, prepared, declared, recipe)
    with whole_directory(arguments.cells / place) as draft:
        for kind, table in tables.items():
            finite = table.replace([np.inf, -np.inf], np.nan)
            (draft / f"{kind}.csv").write_text(csv_text(finite), encoding="utf-8")


if __name__ == "__main__":
    run(main)
