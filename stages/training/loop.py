"""Train a stack of networks, one per seed, and gather what its run leaves behind."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stages.common.datasets import CLASSES, Prepared
from stages.training import run_files, training_log, workers
from stages.training.device import device_named
from stages.training.parameters import Training, TrainParams
from stages.training.schedule import factors
from stages.training.sgd import Pass, StochasticGradientDescent
from stages.training.splits import Splits
from stages.training.stack import Stack, score


def orders(seeds: Sequence[int], examples: int) -> Iterator[Tensor]:
    """Shuffle the examples before every epoch, for each network by its own seed alone.

    Yields:
        (networks, examples), int64: entry (r, n) numbers the n-th example that network r sees.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    while True:
        yield torch.stack([torch.randperm(examples, generator=each) for each in generators])


def starting_stack(splits: Splits, declared: TrainParams) -> Stack:
    """Initialize one network per seed, by that seed alone, on the device of the examples."""
    inputs = splits.train.inputs
    widths = (inputs.width, *declared.network.hidden, CLASSES)
    return Stack.initialized(widths, declared.seeds).to(inputs.device)


def train(
    stack: Stack, splits: Splits, rates: Tensor, declared: TrainParams
) -> Iterator[training_log.Epoch]:
    """Train a stack in place.

    A network whose parameters are not all finite when an epoch begins takes no more steps: nothing
    it could do would bring it back.

    Args:
        stack: The networks at their start, one for each seed of `declared`.
        splits: What they learn from and are scored on, on the same device.
        rates: (networks,), float64, the learning rate of each network before any schedule.
        declared: Seeds and recipe.

    Yields:
        Each epoch as it ends. The stack then holds the parameters at the end of that epoch.
    """
    recipe, examples = declared.training, len(splits.train.labels)
    curve = factors(recipe.schedule, recipe.epochs, math.ceil(examples / recipe.batch_size))
    for factor, order in zip(curve, orders(declared.seeds, examples), strict=False):
        with torch.inference_mode():
            epoch = _train_epoch(stack, splits, order, factor[:, None] * rates, recipe)
        yield epoch


def _train_epoch(
    stack: Stack, splits: Splits, order: Tensor, rates: Tensor, recipe: Training
) -> training_log.Epoch:
    """Move a stack by one pass over the training split, and score it.

    Args:
        stack: The networks.
        splits: As in `train`.
        order: (networks, examples), int64.
        rates: (steps, networks), float64.
        recipe: Batch size and clipping.
    """
    train = splits.train
    running = moving_networks(stack, len(train.labels), recipe.batch_size)
    moving = stack.only(running)
    order = order[running].to(train.labels.device)
    this = Pass(
        train.inputs,
        train.labels[order],
        order,
        rates[:, running].to(stack.weights[0]),
        recipe.batch_size,
    )
    this.start(moving)
    descent = StochasticGradientDescent(moving, recipe.clip_norm)
    for step in range(len(rates) if moving.size else 0):
        descent.step(this, step)
    stack.put(running, moving)
    by_step = training_log.Steps.of(this).spread(running, stack.size)
    # Where all logits are NaN, argmax returns class 0: a network that no longer takes steps gets
    # that class's share as its accuracy.
    first_class = float((train.labels == 0).cpu().double().mean())
    return training_log.Epoch(
        train=score(this.predictions).spread(running, stack.size, first_class),
        validation=splits.validation.scores_of(stack),
        test=splits.test.scores_of(stack),
        learning_rates=rates[-1],
        steps=by_step,
        noise_scale=by_step.noise_scale(min(recipe.batch_size, len(train.labels))),
    )


def moving_networks(stack: Stack, examples: int, batch: int) -> Tensor:
    """List the numbers of the networks with finite parameters; a single one may be listed twice.

    For one example and one network, another routine computes the matrix product, and it rounds
    differently. So if a batch has one example and only one network is left, that network is
    computed twice.
    """
    running = stack.finite().cpu().nonzero()[:, 0]
    if len(running) == 1 and 1 in (batch, examples % batch):
        return running.repeat(2)
    return running


def train_block(
    seeds: Sequence[int], *, prepared: Prepared, rate: float, declared: TrainParams, dataset: str
) -> run_files.Run:
    """Train one network per seed at one rate, each from its own initial weights.

    Args:
        seeds: One per network.
        prepared: What the networks learn from and are scored on.
        rate: The learning rate before any schedule.
        declared: The recipe; its seeds are replaced.
        dataset: Its name.
    """
    chosen = declared.model_copy(update={"seeds": tuple(seeds)})
    splits = Splits.of(prepared, chosen.normalization, device_named(chosen.device))
    return train_run(starting_stack(splits, chosen), splits, rate, chosen, dataset=dataset)


def train_run(
    stack: Stack, splits: Splits, rate: float, declared: TrainParams, *, dataset: str
) -> run_files.Run:
    """Train a stack in place, one network per seed, at one rate, and gather the run.

    Args:
        stack: The networks at their start.
        splits: What they learn from and are scored on.
        rate: The learning rate before any schedule.
        declared: Seeds and recipe.
        dataset: Its name.
    """
    seeds, recipe = declared.seeds, declared.training
    parameters = {
        name: np.stack([start] * (recipe.epochs + 1)) for name, start in stack.arrays().items()
    }
    rates = torch.full((len(seeds),), rate, dtype=torch.float64)
    epochs = []
    for epoch in train(stack, splits, rates, declared):
        epochs.append(epoch)
        for name, now in stack.arrays().items():
            parameters[name][len(epochs)] = now
        workers.advance(stack.size)
    facts = {
        "dataset": dataset,
        "learning_rate": rate,
        "seeds": list(seeds),
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "steps_per_epoch": len(epochs[0].steps.loss),
        "chance_accuracy": chance_accuracy(splits.test.labels),
    }
    return run_files.Run(
        facts,
        history=training_log.history(epochs, seeds),
        steps=training_log.step_arrays(epochs),
        parameters=parameters,
    )


def chance_accuracy(labels: Tensor) -> float:
    """Compute the best accuracy of a network that ignores its input."""
    return int(labels.bincount().max()) / len(labels)
