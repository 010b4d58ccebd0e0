"""Train one learning rate: a network for every seed, all at once, as one stack."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor
from tqdm import tqdm

from stages.core import params, records, runs
from stages.core.compute import device_named, make_deterministic
from stages.core.datasets import CLASSES, Prepared, load
from stages.core.errors import run
from stages.core.examples import Splits
from stages.core.files import whole_directory
from stages.core.schedule import factors
from stages.core.sgd import Pass, StochasticGradientDescent
from stages.core.stack import Stack, score


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


def orders(seeds: Sequence[int], examples: int) -> Iterator[Tensor]:
    """Shuffle the examples anew for every epoch, each network by its own seed alone.

    Yields:
        (networks, examples), int64: which example network r sees as its n-th.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        yield torch.stack([torch.randperm(examples, generator=each) for each in generators])


def starting_stack(splits: Splits, declared: TrainParams) -> Stack:
    """Make a network for every seed, as its seed alone decides, where the examples are."""
    inputs = splits.train.inputs
    widths = (inputs.width, *declared.network.hidden, CLASSES)
    return Stack.initialized(widths, declared.seeds).to(inputs.device)


@torch.inference_mode()
def train(
    stack: Stack, splits: Splits, rates: Tensor, declared: TrainParams
) -> Iterator[records.Epoch]:
    """Train a stack in place.

    A network whose parameters are not all finite when an epoch begins takes no more steps: nothing
    it could do would bring it back.

    Args:
        stack: The networks at their start, one for each seed of `declared`.
        splits: What they learn from and are scored on, on the same device.
        rates: (networks,), float64, the learning rate of each network before any schedule.
        declared: Seeds, recipe and evaluation interval.

    Yields:
        Each epoch as it ends, when the stack is as the epoch has left it.
    """
    recipe, early = declared.training, declared.early_validation
    inputs, labels = splits.train.inputs, splits.train.labels
    steps = math.ceil(len(labels) / recipe.batch_size)
    curve = factors(recipe.schedule, recipe.epochs, steps)
    shuffles = orders(declared.seeds, len(labels))
    like = stack.weights[0]
    for epoch in range(recipe.epochs):
        running = stack.finite().cpu()
        order = next(shuffles)[running].to(labels.device)
        rates_now = curve[epoch][:, None] * rates
        this = Pass(inputs, labels[order], order, rates_now[:, running].to(like), recipe.batch_size)
        moving = stack.only(running)
        this.start(moving)
        descent = StochasticGradientDescent(moving, recipe.clip_norm)
        early_predictions = {}
        for step in range(steps if moving.size else 0):
            descent.step(this, step)
            if epoch < early.epochs and (step + 1) % early.every_steps == 0:
                stack.put(running, moving)
                early_predictions[step + 1] = splits.validation.predictions_of(stack)
        stack.put(running, moving)
        by_step = records.Steps.of(this).spread(running)
        one_class = float((labels == 0).double().mean())
        yield records.Epoch(
            train=score(this.predictions).spread(running, one_class),
            validation=splits.validation.scores_of(stack),
            test=splits.test.scores_of(stack),
            learning_rates=rates_now[-1],
            steps=by_step,
            noise_scale=by_step.noise_scale(recipe.batch_size),
            early={step: score(each) for step, each in early_predictions.items()},
        )


def train_run(
    stack: Stack, splits: Splits, rate: float, declared: TrainParams, *, dataset: str, title: str
) -> runs.Run:
    """Train a stack in place, a network for every seed, at one rate, and gather the run.

    Args:
        stack: The networks at their start.
        splits: What they learn from and are scored on.
        rate: The learning rate before any schedule.
        declared: Seeds, recipe and evaluation interval.
        dataset: Its name.
        title: What the progress is called.
    """
    seeds, recipe = declared.seeds, declared.training
    parameters = {
        name: np.stack([start] * (recipe.epochs + 1)) for name, start in stack.arrays().items()
    }
    rates = torch.full((len(seeds),), rate, dtype=torch.float64)
    epochs = []
    for epoch in shown(train(stack, splits, rates, declared), recipe.epochs, title):
        epochs.append(epoch)
        for name, now in stack.arrays().items():
            parameters[name][len(epochs)] = now
    by_step = records.step_arrays(epochs)
    steps = len(epochs[0].steps.loss)
    facts = {
        "dataset": dataset,
        "learning_rate": rate,
        "epochs": recipe.epochs,
        "steps_per_epoch": steps,
        "chance_accuracy": chance_accuracy(splits.test.labels),
        "networks": records.divergences(by_step, seeds, steps),
    }
    return runs.Run(
        runs.Tables(
            facts, records.history(epochs, seeds), records.validation_history(epochs, seeds)
        ),
        steps=by_step,
        parameters=parameters,
    )


def shown(epochs: Iterator[records.Epoch], total: int, title: str) -> Iterator[records.Epoch]:
    """Pass epochs on as they end, with a progress bar on a terminal and a line each elsewhere."""
    with tqdm(total=total, desc=title, unit="epoch", disable=None) as progress:
        for number, epoch in enumerate(epochs, start=1):
            progress.update()
            if progress.disable:
                print(f"{title}: {report(epoch, number, total)}", file=sys.stderr)
            yield epoch


def chance_accuracy(labels: Tensor) -> float:
    """Compute the best accuracy of a network that ignores its input."""
    return int(labels.bincount().max()) / len(labels)


def report(epoch: records.Epoch, number: int, total: int) -> str:
    """Sum up an epoch in one line, for where no progress bar can be drawn."""
    diverged = int((~epoch.train.loss.isfinite()).sum())
    return (
        f"epoch {number}/{total}, test accuracy "
        f"{epoch.test.accuracy.min():.4f} to {epoch.test.accuracy.max():.4f}, "
        f"{diverged} of {len(epoch.train.loss)} networks diverged"
    )


def main() -> None:
    """Train the rate of the command line, or the candidate, and write its run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--lr", type=float, help="a rate of the grid; without it, params.yaml's candidate"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    dataset = arguments.prepared.stem
    if arguments.lr is None:
        candidate = params.load(CandidateParams, arguments.params)
        declared: TrainParams = candidate
        rate = float(candidate.lr)
        title = f"{dataset} at {rate:g} (candidate)"
    else:
        declared = params.load(TrainParams, arguments.params)
        rate = arguments.lr
        title = f"{dataset} at {rate:g}"
    make_deterministic(declared.seeds[0], declared.compute)
    device = device_named(declared.compute.device)
    splits = Splits.of(
        load(Prepared, arguments.prepared, f"preprocess@{dataset}"), declared.normalization, device
    )
    stack = starting_stack(splits, declared)
    finished = train_run(stack, splits, rate, declared, dataset=dataset, title=title)
    with whole_directory(arguments.run) as draft:
        runs.save(finished, draft)


if __name__ == "__main__":
    run(main)
