"""Measure the hidden units and the curvature of the networks that a training run kept."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import pandas as pd
import torch
from torch import Tensor

from stages.common.datasets import Prepared
from stages.diagnostics import features
from stages.diagnostics.diagnostics_files import FEATURES, SHARPNESS
from stages.diagnostics.parameters import MOST_PRODUCTS, Diagnose, DiagnoseParams
from stages.diagnostics.sharpness import hessian_operator, largest_eigenvalue
from stages.training.device import device_named
from stages.training.pixels import Pixels
from stages.training.run_files import Run
from stages.training.splits import Examples, Splits
from stages.training.stack import Stack
from stages.training.workers import advance

CHUNK = 1000
QUANTITIES = (features.positive_share, features.feature_sparsity, features.effective_rank)
"""What is measured of a hidden layer on the sample, by the names of its columns."""


class Measurements(NamedTuple):
    """What was measured of some networks, in their order."""

    features: pd.DataFrame
    """As in `stages.diagnostics.diagnostics_files.Measured`."""
    sharpness: pd.DataFrame
    """Likewise."""

    @classmethod
    def of(cls, features: list[dict[str, Any]], sharpness: list[dict[str, Any]]) -> Self:
        """Lay out rows as tables, which may be empty."""
        return cls(
            pd.DataFrame(features, columns=list(FEATURES)).astype(FEATURES),
            pd.DataFrame(sharpness, columns=list(SHARPNESS)).astype(SHARPNESS),
        )

    @classmethod
    def joined(cls, parts: Sequence["Measurements"]) -> Self:
        """Lay measurements end to end."""
        return cls(*(pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)))


def chosen_epochs(epochs: int, every: int) -> list[int]:
    """List the epochs to measure after: 0 (the start), each multiple of `every`, and the last."""
    return sorted({*range(0, epochs + 1, every), epochs})


def measure_block(
    seeds: Sequence[int], run: Run, prepared: Prepared, declared: DiagnoseParams
) -> Measurements:
    """Measure some of a run's networks after the chosen epochs, while their parameters are finite.

    Each network is measured alone: nothing that is measured of it can depend on which others are
    in its block, not even by a bit.

    Args:
        seeds: Which networks.
        run: Its facts and parameters are read.
        prepared: The dataset, whose training split is measured on.
        declared: Normalization, device, size of the sample, epochs, tolerance.
    """
    train = Splits.of(prepared, declared.normalization, device_named(declared.device)).train
    by_layer: list[dict[str, Any]] = []
    curvature: list[dict[str, Any]] = []
    for seed in seeds:
        network = run.facts["seeds"].index(seed)
        for epoch in chosen_epochs(run.facts["epochs"], declared.diagnose.every_epochs):
            stack = Stack.from_arrays(run.network(network, epoch))
            if stack.finite().all():
                place = {"seed": seed, "epoch": epoch}
                layers, sharpness = measure(stack.to(train.inputs.device), train, declared.diagnose)
                by_layer += [place | layer for layer in layers]
                curvature.append(place | sharpness)
            advance(1)
    return Measurements.of(by_layer, curvature)


def measure(
    stack: Stack, train: Examples, declared: Diagnose
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Measure one network.

    Args:
        stack: The network.
        train: The training split; its first examples are the sample.
        declared: Size of the sample, tolerance.

    Returns:
        One row per hidden layer, and the curvature.
    """
    sample = train.first(declared.examples)
    inputs = sample.inputs[:]
    with torch.inference_mode():
        by_layer = measure_features(stack, train.inputs, inputs)
    return by_layer, measure_sharpness(stack, inputs, sample.labels, declared.tolerance)


def measure_features(stack: Stack, train: Pixels, sample: Tensor) -> list[dict[str, float]]:
    """Measure one network's hidden units, one row per layer, from 1.

    Args:
        stack: The network.
        train: All training examples, to see which units ever fire.
        sample: (examples, pixels), inputs for the other quantities, which are NaN for a layer
            whose activations overflow.
    """
    *hidden, _ = stack.activations(sample)
    rows = []
    for layer, (units, silent) in enumerate(
        zip(hidden, never_firing(stack, train), strict=True), start=1
    ):
        measured = features.measured(units, QUANTITIES)
        rows.append({"layer": layer, "never_firing_share": silent} | measured)
    return rows


def never_firing(stack: Stack, train: Pixels) -> list[float]:
    """Compute the share of one network's units that fire on no training example, by layer."""
    fired = [
        torch.zeros(width, dtype=torch.bool, device=train.device) for width in stack.widths[1:-1]
    ]
    for start in range(0, len(train), CHUNK):
        *hidden, _ = stack.activations(train[start : start + CHUNK])
        for layer, activations in zip(fired, hidden, strict=True):
            layer.logical_or_((activations[0] > 0).any(dim=0))
        if all(layer.all() for layer in fired):
            break
    return [float((~layer.cpu()).double().mean()) for layer in fired]


def measure_sharpness(
    stack: Stack, inputs: Tensor, labels: Tensor, tolerance: float
) -> dict[str, float]:
    """Measure the largest eigenvalue of one network's Hessian on some examples.

    Args:
        stack: The network.
        inputs: (examples, pixels).
        labels: (examples,), int64.
        tolerance: Relative error at which the search for the eigenvalue stops.
    """
    size = sum(part.numel() for part in (*stack.weights, *stack.biases))
    start = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(inputs.device)
    multiply = hessian_operator(stack, inputs, labels)
    found = largest_eigenvalue(multiply, start, tolerance, MOST_PRODUCTS)
    return {"sharpness": found.value, "residual": found.residual}
