"""Measure the hidden units and the curvature of the networks that one training run kept."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel
from torch import Tensor
from tqdm import tqdm

from stages.core import features, params, runs
from stages.core.compute import device_named, make_deterministic
from stages.core.datasets import Prepared, load
from stages.core.diagnostics import FEATURES, SHARPNESS, Diagnostics, save
from stages.core.errors import run
from stages.core.examples import Examples, Splits
from stages.core.files import whole_directory
from stages.core.sharpness import hessian_operator, largest_eigenvalue
from stages.core.stack import Stack

CHUNK = 1000
MOST_PRODUCTS = 100


class DiagnoseParams(BaseModel):
    """The part of params.yaml that the diagnostics read."""

    normalization: params.Normalization
    compute: params.Compute
    diagnose: params.Diagnose


def chosen_epochs(epochs: int, every: int) -> list[int]:
    """List the epochs to measure after: 0 for the start, every so many, and the last."""
    return sorted({*range(0, epochs + 1, every), epochs})


def never_firing(stack: Stack, train: Examples) -> list[torch.Tensor]:
    """Compute the share of units that fire on no training example, (networks,) a hidden layer."""
    fired = [
        torch.zeros(stack.size, width, dtype=torch.bool, device=train.inputs.device)
        for width in stack.widths[1:-1]
    ]
    for start in range(0, len(train.inputs), CHUNK):
        inputs = train.inputs[start : start + CHUNK]
        for layer, activations in zip(fired, stack.activations(inputs), strict=False):
            layer.logical_or_((activations > 0).any(dim=1))
        if all(layer.all() for layer in fired):
            break
    return [(~layer.cpu()).double().mean(dim=1) for layer in fired]


def measure_features(stack: Stack, train: Examples, sample: Tensor) -> pd.DataFrame:
    """Lay out a row a network and hidden layer, numbered from 0 and 1.

    Args:
        stack: The networks.
        train: All training examples, to see which units ever fire.
        sample: (examples, pixels), inputs for the rest.
    """
    silent = never_firing(stack, train)
    tables = []
    # On the CPU, in float64, which MPS lacks.
    for layer, activations in enumerate(each.cpu() for each in stack.activations(sample)):
        if layer < len(silent):
            measured = {
                "positive_share": features.positive_share(activations),
                "never_firing_share": silent[layer],
                "feature_sparsity": features.feature_sparsity(activations),
                "effective_rank": features.effective_rank(activations),
            }
            columns: dict[str, Any] = {name: each.numpy() for name, each in measured.items()}
            tables.append(
                pd.DataFrame({"network": range(stack.size), "layer": layer + 1, **columns})
            )
    return pd.concat(tables, ignore_index=True)


def measure_sharpness(
    stack: Stack, inputs: Tensor, labels: Tensor, tolerance: float
) -> pd.DataFrame:
    """Lay out a row a network, numbered from 0: the Hessian's largest eigenvalue."""
    size = sum(part[0].numel() for part in (*stack.weights, *stack.biases))
    # One start for all: where Lanczos starts must not depend on who shares the stack.
    start = torch.randn(1, size, generator=torch.Generator().manual_seed(0))
    found = largest_eigenvalue(
        hessian_operator(stack, inputs, labels),
        start.expand(stack.size, -1).to(inputs.device),
        tolerance,
        MOST_PRODUCTS,
    )
    return pd.DataFrame(
        {
            "network": range(stack.size),
            "sharpness": found.value.numpy(),
            "residual": found.residual.numpy(),
        }
    )


def diagnose(
    parameters: Mapping[str, Any],
    seeds: Sequence[int],
    splits: Splits,
    declared: params.Diagnose,
) -> Iterator[Diagnostics]:
    """Measure a run's networks after the chosen epochs, those with finite parameters only.

    Args:
        parameters: As in `stages.core.runs.Run`.
        seeds: One a network.
        splits: The training split is measured on.
        declared: Size of the sample, epochs, tolerance.

    Yields:
        The measurements after each chosen epoch.
    """
    train = splits.train
    sample, truth = train.inputs[: declared.examples], train.labels[: declared.examples]
    epochs = len(parameters["weight_0"]) - 1
    for epoch in chosen_epochs(epochs, declared.every_epochs):
        stack = Stack.from_arrays({name: values[epoch] for name, values in parameters.items()})
        stack = stack.to(train.inputs.device)
        alive = stack.squared_norms().isfinite()
        places = {"seed": np.array(seeds)[alive.cpu().numpy()], "epoch": epoch}
        if not alive.any():
            continue
        stack = stack.only(alive)
        with torch.inference_mode():
            by_layer = measure_features(stack, train, sample)
        yield Diagnostics(
            features=_placed(by_layer, places)[list(FEATURES)],
            sharpness=_placed(measure_sharpness(stack, sample, truth, declared.tolerance), places)[
                list(SHARPNESS)
            ],
        )


def _placed(table: pd.DataFrame, places: Mapping[str, Any]) -> pd.DataFrame:
    """Name the seed and the epoch of each network."""
    return table.assign(seed=places["seed"][table["network"]], epoch=places["epoch"])


def main() -> None:
    """Read a run, write its diagnostics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("diagnostics", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = params.load(DiagnoseParams, arguments.params)
    facts = runs.load_tables(arguments.run).facts
    seeds = [network["seed"] for network in facts["networks"]]
    make_deterministic(0, declared.compute)
    prepared = load(Prepared, arguments.prepared, f"preprocess@{arguments.prepared.stem}")
    device = device_named(declared.compute.device)
    splits = Splits.of(prepared, declared.normalization, device)
    measured = diagnose(runs.load_parameters(arguments.run), seeds, splits, declared.diagnose)
    epochs = chosen_epochs(facts["epochs"], declared.diagnose.every_epochs)
    title = f"{facts['dataset']} at {facts['learning_rate']:g}"
    parts = list(tqdm(measured, total=len(epochs), desc=title, unit="epoch", disable=None))
    print(f"{title}: measured after {len(epochs)} epochs", file=sys.stderr)
    with whole_directory(arguments.diagnostics) as draft:
        save(Diagnostics.joined(parts), draft)


if __name__ == "__main__":
    run(main)
