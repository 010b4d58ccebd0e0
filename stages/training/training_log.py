"""What a training run leaves behind, epoch by epoch, laid out as tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.training.run_files import SPLITS
from stages.training.sgd import Pass
from stages.training.stack import Scores

CONDENSED: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda values: values.mean(),
    "median": lambda values: values.quantile(0.5),
    "p95": lambda values: values.quantile(0.95),
    "max": lambda values: values.amax(),
}
"""Ending of a column's name → how the column summarizes the steps of one network."""


@dataclass(frozen=True)
class Steps:
    """What every step of one epoch was like; each (steps, networks) unless said otherwise."""

    loss: Tensor
    """Mean loss of the batch, in nats."""
    accuracy: Tensor
    """Share of the batch whose largest logit is the true class."""
    gradient_norm: Tensor
    """Global norm of the gradient of that loss, before any clipping."""
    layer_gradient_norm: Tensor
    """(steps, networks, layers): each layer's part of it."""
    example_gradient_norm: Tensor
    """Root mean square, over the batch, of the norm of one example's gradient."""
    relative_update: Tensor
    """Norm of the step over the norm of all parameters before it."""

    @classmethod
    def of(cls, this: Pass) -> "Steps":
        """Read a pass that is over."""
        gradient_norm = this.gradient_norms().cpu()
        return cls(
            loss=this.step_losses().cpu(),
            accuracy=this.step_accuracies().cpu(),
            gradient_norm=gradient_norm,
            layer_gradient_norm=this.layer_gradient_norms.mT.contiguous().cpu(),
            example_gradient_norm=this.example_norms().cpu(),
            relative_update=(this.scales.cpu() * gradient_norm / this.parameter_norms()).float(),
        )

    def spread(self, places: Tensor, size: int) -> "Steps":
        """Give each network its place in a larger stack; NaN for the others.

        Args:
            places: (networks,), each network's number in the larger stack.
            size: How many networks the larger stack has.
        """
        return Steps(**{name: _spread(values, places, size) for name, values in vars(self).items()})

    def noise_scale(self, batch: int) -> Tensor:
        """Estimate tr(Σ)/‖G‖², (networks,): the batch size at which noise equals signal.

        G is the gradient over all examples, Σ the covariance of one example's gradient. With
        batches of B, E‖g_B‖² = ‖G‖² + tr(Σ)/B and E‖g_1‖² = ‖G‖² + tr(Σ). Means over the epoch's
        steps estimate both expectations, and the two equations are solved for ‖G‖² and tr(Σ)
        (McCandlish et al., "An Empirical Model of Large-Batch Training", 2018, appendix A.1). G
        changes during an epoch, so the result is an average over it. NaN where the estimate of ‖G‖²
        is not positive, and for batches of one example.
        """
        of_batch = by_network(torch.mean, self.gradient_norm.double().square())
        of_one = by_network(torch.mean, self.example_gradient_norm.double().square())
        if batch == 1:
            return torch.full_like(of_one, torch.nan)
        signal = (batch * of_batch - of_one) / (batch - 1)
        noise = (of_one - of_batch) / (1 - 1 / batch)
        return torch.where(signal > 0, noise / signal, torch.nan)


def by_network(condense: Callable[[Tensor], Tensor], by_step: Tensor) -> Tensor:
    """Summarize the steps of each network separately: (steps, networks) to (networks,).

    A sum over the whole table would add in an order that depends on how many networks there are.
    """
    return torch.stack([condense(steps) for steps in by_step.T.contiguous()])


def _spread(by_step: Tensor, places: Tensor, size: int) -> Tensor:
    spread = by_step.new_full((len(by_step), size, *by_step.shape[2:]), torch.nan)
    spread[:, places] = by_step
    return spread


@dataclass(frozen=True)
class Epoch:
    """One pass over the training split, with one value or column per network."""

    train: Scores
    """Over the epoch's steps, each example scored just before the step it takes part in."""
    validation: Scores
    test: Scores
    learning_rates: Tensor
    """(networks,), in force at the last step."""
    steps: Steps
    noise_scale: Tensor
    """(networks,), as in `Steps.noise_scale`."""


def history(epochs: Sequence[Epoch], seeds: Sequence[int]) -> pd.DataFrame:
    """Lay out one row per seed and epoch, seed by seed as listed; epochs are numbered from 1."""
    tables = []
    for number, epoch in enumerate(epochs, start=1):
        columns: dict[str, Any] = {
            "seed": list(seeds),
            "epoch": number,
            "step": number * len(epoch.steps.loss),
            "learning_rate": epoch.learning_rates.numpy(),
        }
        for split in SPLITS:
            for name, values in getattr(epoch, split)._asdict().items():
                columns[f"{split}_{name}"] = values.numpy()
        for quantity in ("gradient_norm", "relative_update"):
            by_step = getattr(epoch.steps, quantity).double()
            for name, condense in CONDENSED.items():
                columns[f"{quantity}_{name}"] = by_network(condense, by_step).numpy()
        columns["noise_scale"] = epoch.noise_scale.numpy()
        tables.append(pd.DataFrame(columns))
    # Each table numbers its rows by network.
    return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)


def step_arrays(epochs: Sequence[Epoch]) -> dict[str, NDArray[np.float32]]:
    """Lay the steps of all epochs end to end, one array per quantity of `Steps`."""
    return {
        name: torch.cat([getattr(epoch.steps, name) for epoch in epochs]).numpy()
        for name in Steps.__dataclass_fields__
    }
