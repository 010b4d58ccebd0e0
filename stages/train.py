"""Train one learning rate: a network for every seed, all at once, as one stack."""

import argparse
import math
import os
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel
from torch import Tensor
from tqdm import tqdm

from stages.core import params, runs
from stages.core.datasets import CLASSES, Images, Labels, Prepared, load
from stages.core.errors import UserError, run
from stages.core.files import whole_directory
from stages.core.schedule import factors
from stages.core.sgd import Pass, StochasticGradientDescent
from stages.core.stack import Scores, Stack, score


class TrainParams(BaseModel):
    """The part of params.yaml that training a rate of the grid reads."""

    seeds: tuple[params.Seed, ...]
    network: params.Network
    normalization: params.Normalization
    training: params.Training
    early_validation: params.EarlyValidation
    compute: params.Compute


class CandidateParams(TrainParams):
    """The part of params.yaml that training the candidate reads."""

    lr: params.Rate


@dataclass(frozen=True)
class Examples:
    """One split, ready to train on."""

    inputs: Tensor
    """(examples, 784), normalized."""
    labels: Tensor
    """(examples,), int64."""

    @classmethod
    def normalized(
        cls, images: Images, labels: Labels, mean: float, deviation: float, device: torch.device
    ) -> "Examples":
        """Scale pixels to 0–1, then centre and divide them."""
        pixels = torch.from_numpy(images).to(device).flatten(start_dim=1).float()
        return cls(
            inputs=pixels.div_(255).sub_(mean).div_(deviation),
            labels=torch.from_numpy(labels).to(device).long(),
        )

    def scores_of(self, stack: Stack) -> Scores:
        """Score every network of a stack."""
        return stack.evaluate(self.inputs, self.labels)


@dataclass(frozen=True)
class Splits:
    """The three splits; nothing is ever chosen by the last."""

    train: Examples
    validation: Examples
    test: Examples


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training split left behind, a value or a column a network."""

    train: Scores
    """Over the epoch's steps, each example scored just before the step it takes part in."""
    validation: Scores
    test: Scores
    learning_rates: Tensor
    """(networks,), in force at the last step."""
    step_losses: Tensor
    """(steps, networks): mean loss of each batch."""
    gradient_norms: Tensor
    """(steps, networks): global norm of the gradient, before any clipping."""
    early: list[tuple[int, Scores]]
    """Validation scores after so many steps of this epoch."""


def orders(seeds: Sequence[int], examples: int) -> Iterator[Tensor]:
    """Shuffle the examples anew for every epoch, each network by its own seed alone.

    Yields:
        (networks, examples), int64: which example network r sees as its n-th.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        yield torch.stack([torch.randperm(examples, generator=each) for each in generators])


def train(stack: Stack, splits: Splits, rates: Tensor, declared: TrainParams) -> Iterator[Epoch]:
    """Train a stack in place.

    Args:
        stack: The networks at their start, one for each seed of `declared`.
        splits: What they learn from and are scored on, on the same device.
        rates: (networks,), float64, the learning rate of each network before any schedule.
        declared: Seeds, recipe and evaluation interval.

    Yields:
        Each epoch as it ends.
    """
    recipe, early = declared.training, declared.early_validation
    inputs, labels = splits.train.inputs, splits.train.labels
    steps = math.ceil(len(labels) / recipe.batch_size)
    curve = factors(recipe.schedule, recipe.epochs, steps)
    descent = StochasticGradientDescent(stack, recipe.clip_norm)
    shuffles = orders(declared.seeds, len(labels))
    for epoch in range(recipe.epochs):
        order = next(shuffles).to(labels.device)
        rates_now = curve[epoch][:, None] * rates
        this = Pass(inputs, labels[order], order, rates_now.to(inputs), recipe.batch_size)
        this.start(stack)
        early_scores = []
        for step in range(steps):
            descent.step(this, step)
            if epoch < early.epochs and (step + 1) % early.every_steps == 0:
                early_scores.append((step + 1, splits.validation.scores_of(stack)))
        yield Epoch(
            train=score(this.log_likelihood, this.correct),
            validation=splits.validation.scores_of(stack),
            test=splits.test.scores_of(stack),
            learning_rates=rates_now[-1],
            step_losses=this.step_losses().cpu(),
            gradient_norms=this.gradient_norms().cpu(),
            early=early_scores,
        )


def history(epochs: Sequence[Epoch], seeds: Sequence[int]) -> pd.DataFrame:
    """Lay out a row a seed and epoch; the epochs are numbered from 1."""
    tables = []
    for number, epoch in enumerate(epochs, start=1):
        columns: dict[str, Any] = {
            "seed": list(seeds),
            "epoch": number,
            "step": number * len(epoch.step_losses),
            "learning_rate": epoch.learning_rates.numpy(),
        }
        for split in ("train", "validation", "test"):
            for name, values in getattr(epoch, split)._asdict().items():
                columns[f"{split}_{name}"] = values.numpy()
        columns["gradient_norm_mean"] = epoch.gradient_norms.double().mean(dim=0).numpy()
        columns["gradient_norm_max"] = epoch.gradient_norms.double().amax(dim=0).numpy()
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables).sort_values(["seed", "epoch"], kind="stable", ignore_index=True)


def validation_history(epochs: Sequence[Epoch], seeds: Sequence[int]) -> pd.DataFrame:
    """Lay out a row a seed and evaluation of the validation split, by steps taken so far."""
    tables = []
    before = 0
    for epoch in epochs:
        steps = len(epoch.step_losses)
        for step, scores in [*epoch.early, (steps, epoch.validation)]:
            columns = {
                "seed": list(seeds),
                "step": before + step,
                "loss": scores.loss.numpy(),
                "accuracy": scores.accuracy.numpy(),
            }
            tables.append(pd.DataFrame(columns))
        before += steps
    table = pd.concat(tables).drop_duplicates(["seed", "step"], ignore_index=True)
    return table.sort_values(["seed", "step"], kind="stable", ignore_index=True)


def divergences(epochs: Sequence[Epoch], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Find the first step, both numbered from 1, at which each network's loss is not finite."""
    finite = torch.cat([epoch.step_losses for epoch in epochs]).isfinite()
    steps = len(epochs[0].step_losses)
    found = []
    for seed, losses_finite in zip(seeds, finite.T, strict=True):
        entry: dict[str, Any] = {"seed": seed, "diverged": not bool(losses_finite.all())}
        if entry["diverged"]:
            first = int((~losses_finite).int().argmax())
            entry |= {"epoch": first // steps + 1, "step": first + 1}
        found.append(entry)
    return found


def device_named(name: str) -> torch.device:
    """Choose the device that params.yaml names.

    Raises:
        UserError: This machine has no such device.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, here in present.items() if here))
    if not present[name]:
        here = ", ".join(kind for kind, found in present.items() if found)
        raise UserError(
            f"params.yaml: compute.device = {name}: this machine has none; "
            f"give auto or one of: {here}"
        )
    return torch.device(name)


def make_deterministic(seed: int, compute: params.Compute) -> None:
    """Seed every global generator and have PyTorch refuse what differs from run to run.

    No draw of the study uses a global generator; this is for whoever adds one.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(compute.threads)


def splits_of(
    prepared: Prepared, normalization: params.Normalization, device: torch.device
) -> Splits:
    """Normalize the three splits alike, by the training split's statistics or the fixed ones."""
    mean, deviation = normalization.mean, normalization.deviation
    if mean is None or deviation is None:
        mean, deviation = float(prepared.mean), float(prepared.deviation)

    def ready(images: Images, labels: Labels) -> Examples:
        return Examples.normalized(images, labels, mean, deviation, device)

    return Splits(
        train=ready(prepared.train_images, prepared.train_labels),
        validation=ready(prepared.validation_images, prepared.validation_labels),
        test=ready(prepared.test_images, prepared.test_labels),
    )


def main() -> None:
    """Train the rate of the command line, or the candidate, and write its run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--lr", help="a rate of the grid; without it, params.yaml's candidate")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    if arguments.lr is None:
        candidate = params.load(CandidateParams, arguments.params)
        declared: TrainParams = candidate
        rate = float(candidate.lr)
    else:
        declared = params.load(TrainParams, arguments.params)
        rate = float(arguments.lr)
    seeds, recipe = declared.seeds, declared.training
    make_deterministic(seeds[0], declared.compute)
    device = device_named(declared.compute.device)
    prepared = load(Prepared, arguments.prepared, f"preprocess@{arguments.prepared.stem}")
    splits = splits_of(prepared, declared.normalization, device)
    widths = (splits.train.inputs.shape[1], *declared.network.hidden, CLASSES)
    stack = Stack.initialized(widths, seeds).to(device)
    rates = torch.full((len(seeds),), rate, dtype=torch.float64)
    title = f"{arguments.prepared.stem} at {rate:g}"
    if arguments.lr is None:
        title += " (candidate)"
    epochs = []
    progress = tqdm(total=recipe.epochs, desc=title, unit="epoch", disable=None)
    with progress, torch.inference_mode():
        for epoch in train(stack, splits, rates, declared):
            epochs.append(epoch)
            progress.update()
            if progress.disable:
                print(f"{title}: {report(epoch, len(epochs), recipe.epochs)}", file=sys.stderr)
    facts = {
        "dataset": arguments.prepared.stem,
        "learning_rate": rate,
        "epochs": recipe.epochs,
        "steps_per_epoch": len(epochs[0].step_losses),
        "networks": divergences(epochs, seeds),
    }
    finished = runs.Run(
        facts, history(epochs, seeds), validation_history(epochs, seeds), stack.arrays()
    )
    with whole_directory(arguments.run) as draft:
        runs.save(finished, draft)


def report(epoch: Epoch, number: int, total: int) -> str:
    """Sum up an epoch in one line, for where no progress bar can be drawn."""
    diverged = int((~epoch.train.loss.isfinite()).sum())
    return (
        f"epoch {number}/{total}, test accuracy "
        f"{epoch.test.accuracy.min():.4f} to {epoch.test.accuracy.max():.4f}, "
        f"{diverged} of {len(epoch.train.loss)} networks diverged"
    )


if __name__ == "__main__":
    run(main)
