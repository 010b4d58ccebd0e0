"""What a training run leaves behind, epoch by epoch, laid out as tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.core.sgd import Pass
from stages.core.stack import Scores

LAST_NORMS = 5
CONDENSED: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda values: values.mean(dim=0),
    "median": lambda values: values.quantile(0.5, dim=0),
    "p95": lambda values: values.quantile(0.95, dim=0),
    "max": lambda values: values.amax(dim=0),
}


@dataclass(frozen=True)
class Steps:
    """What every step of one epoch was like; each (steps, networks) unless said otherwise."""

    loss: Tensor
    """Mean loss of the batch, in nats."""
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
            gradient_norm=gradient_norm,
            layer_gradient_norm=this.squared_norms.mT.clamp(min=0).sqrt().cpu(),
            example_gradient_norm=this.example_squared_norms.sqrt().cpu(),
            relative_update=(this.scales.cpu() * gradient_norm / this.parameter_norms()).float(),
        )

    def spread(self, running: Tensor) -> "Steps":
        """Give each network its place in a larger stack; NaN for the others.

        Args:
            running: (networks of the larger stack,), whether a network is among these.
        """
        return Steps(**{name: _spread(values, running) for name, values in vars(self).items()})

    def noise_scale(self, batch: int) -> Tensor:
        """Estimate tr(Σ)/‖G‖² over the epoch, (networks,): the batch at which noise equals signal.

        G is the gradient over all examples, Σ the covariance of one example's gradient. With
        batches of B, E‖g_B‖² = ‖G‖² + tr(Σ)/B and E‖g_1‖² = ‖G‖² + tr(Σ), which two means over the
        epoch's steps solve (McCandlish et al., "An Empirical Model of Large-Batch Training", 2018,
        appendix A.1). G moves during an epoch, so this is the epoch's average. Missing where the
        estimate of ‖G‖² is not positive, and with batches of one.
        """
        of_batch = self.gradient_norm.double().square().mean(dim=0)
        of_one = self.example_gradient_norm.double().square().mean(dim=0)
        if batch == 1:
            return torch.full_like(of_one, torch.nan)
        signal = (batch * of_batch - of_one) / (batch - 1)
        noise = (of_one - of_batch) / (1 - 1 / batch)
        return torch.where(signal > 0, noise / signal, torch.nan)


def _spread(by_step: Tensor, running: Tensor) -> Tensor:
    spread = by_step.new_full((len(by_step), len(running), *by_step.shape[2:]), torch.nan)
    spread[:, running] = by_step
    return spread


@dataclass(frozen=True)
class Epoch:
    """One pass over the training split, a value or a column a network."""

    train: Scores
    """Over the epoch's steps, each example scored just before the step it takes part in."""
    validation: Scores
    test: Scores
    learning_rates: Tensor
    """(networks,), in force at the last step."""
    steps: Steps
    noise_scale: Tensor
    """(networks,), as in `Steps.noise_scale`."""
    early: dict[int, Scores]
    """Steps of this epoch → validation scores after them."""


def history(epochs: Sequence[Epoch], seeds: Sequence[int]) -> pd.DataFrame:
    """Lay out a row a seed and epoch; the epochs are numbered from 1."""
    tables = []
    for number, epoch in enumerate(epochs, start=1):
        columns: dict[str, Any] = {
            "seed": list(seeds),
            "epoch": number,
            "step": number * len(epoch.steps.loss),
            "learning_rate": epoch.learning_rates.numpy(),
        }
        for split in ("train", "validation", "test"):
            for name, values in getattr(epoch, split)._asdict().items():
                columns[f"{split}_{name}"] = values.numpy()
        for quantity in ("gradient_norm", "relative_update"):
            by_step = getattr(epoch.steps, quantity).double()
            for name, condense in CONDENSED.items():
                columns[f"{quantity}_{name}"] = condense(by_step).numpy()
        columns["noise_scale"] = epoch.noise_scale.numpy()
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables).sort_values(["seed", "epoch"], kind="stable", ignore_index=True)


def validation_history(epochs: Sequence[Epoch], seeds: Sequence[int]) -> pd.DataFrame:
    """Lay out a row a seed and evaluation of the validation split, by steps taken so far."""
    tables = []
    before = 0
    for epoch in epochs:
        steps = len(epoch.steps.loss)
        for step, scores in {**epoch.early, steps: epoch.validation}.items():
            columns = {
                "seed": list(seeds),
                "step": before + step,
                "loss": scores.loss.numpy(),
                "accuracy": scores.accuracy.numpy(),
            }
            tables.append(pd.DataFrame(columns))
        before += steps
    table = pd.concat(tables)
    return table.sort_values(["seed", "step"], kind="stable", ignore_index=True)


def step_arrays(epochs: Sequence[Epoch]) -> dict[str, NDArray[np.float32]]:
    """Lay the steps of all epochs end to end, an array a quantity, as in `Steps`."""
    return {
        name: torch.cat([getattr(epoch.steps, name) for epoch in epochs]).numpy()
        for name in Steps.__dataclass_fields__
    }


def divergences(
    by_step: Mapping[str, NDArray[np.float32]], seeds: Sequence[int], steps: int
) -> list[dict[str, Any]]:
    """Find the first step at which each network's loss is not finite.

    Args:
        by_step: `loss` and `gradient_norm` among them, (steps of the run, networks).
        seeds: One a network.
        steps: Steps in an epoch.

    Returns:
        For each seed whether it diverged and, if so, at which epoch and step, both from 1, and the
        gradient norms of the last steps before, as far as they are finite.
    """
    found = []
    for network, seed in enumerate(seeds):
        finite = np.isfinite(by_step["loss"][:, network])
        entry: dict[str, Any] = {"seed": seed, "diverged": not finite.all()}
        if entry["diverged"]:
            first = int(np.argmin(finite))
            norms = by_step["gradient_norm"][max(0, first - LAST_NORMS) : first, network]
            entry |= {"epoch": first // steps + 1, "step": first + 1}
            entry["last_gradient_norms"] = norms[np.isfinite(norms)].tolist()
        found.append(entry)
    return found
