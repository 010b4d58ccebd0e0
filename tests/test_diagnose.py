"""Measurements of kept networks, against computing them by hand."""

import numpy as np
import pytest
import torch

from stages.core.examples import Examples, Splits
from stages.core.features import effective_rank, feature_sparsity
from stages.core.params import Diagnose
from stages.core.pixels import Pixels
from stages.core.stack import Stack
from stages.diagnose import chosen_epochs, diagnose, never_firing

WIDTHS = (12, 8, 6, 10)
SEEDS = (4, 5, 6)


@pytest.fixture
def splits() -> Splits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 12), dtype=torch.uint8, generator=generator)
    pixels = Pixels(images, scale=1 / 74, shift=torch.tensor([-1.7]))
    train = Examples(pixels, torch.randint(10, (60,), generator=generator))
    return Splits(train, train, train)


def parameters(epochs: int) -> dict[str, np.ndarray]:
    """Make a run's parameters, each epoch's twice those of the one before."""
    start = Stack.initialized(WIDTHS, SEEDS).arrays()
    return {
        name: np.stack([values * 2**k for k in range(epochs + 1)]) for name, values in start.items()
    }


@pytest.mark.parametrize(
    ("epochs", "every", "expected"),
    [(3, 1, [0, 1, 2, 3]), (5, 2, [0, 2, 4, 5]), (4, 10, [0, 4])],
)
def test_start_and_end_are_always_measured(epochs: int, every: int, expected: list[int]) -> None:
    assert chosen_epochs(epochs, every) == expected


def test_a_row_a_seed_epoch_and_layer_measured_on_the_sample(splits: Splits) -> None:
    declared = Diagnose(examples=40, every_epochs=2, tolerance=0.01)
    measured = list(diagnose(parameters(2), SEEDS, splits, declared))
    assert [part.sharpness["epoch"].unique().tolist() for part in measured] == [[0], [2]]
    start = measured[0].features
    assert start[["seed", "layer"]].to_numpy().tolist() == [
        [seed, layer] for layer in (1, 2) for seed in SEEDS
    ]
    stack = Stack.initialized(WIDTHS, SEEDS)
    first, second, _ = stack.activations(splits.train.inputs[:40])
    for layer, activations in ((1, first), (2, second)):
        rows = start[start["layer"] == layer]
        assert rows["feature_sparsity"].tolist() == feature_sparsity(activations).tolist()
        assert rows["effective_rank"].tolist() == effective_rank(activations).tolist()


def test_a_silent_unit_is_one_that_no_training_example_wakes(splits: Splits) -> None:
    stack = Stack.initialized(WIDTHS, SEEDS)
    stack.biases[0][1, 0, :2] = -1000
    first, second = never_firing(stack, splits.train)
    assert first.tolist() == [0, 2 / 8, 0]
    for network, seed in enumerate(SEEDS):
        alone = Stack.initialized(WIDTHS, [seed])
        if seed == SEEDS[1]:
            alone.biases[0][0, 0, :2] = -1000
        _, hidden, _ = alone.activations(splits.train.inputs[:])
        silent = sum(float(hidden[0, :, unit].max()) == 0 for unit in range(6))
        assert float(second[network]) == pytest.approx(silent / 6)


def test_a_network_without_finite_parameters_is_left_out(splits: Splits) -> None:
    run = parameters(1)
    run["weight_1"][1, 2, 0, 0] = np.nan
    declared = Diagnose(examples=40, every_epochs=1, tolerance=0.01)
    whole = list(diagnose(parameters(1), SEEDS, splits, declared))
    start, end = diagnose(run, SEEDS, splits, declared)
    assert start.sharpness["seed"].tolist() == list(SEEDS)
    assert end.sharpness["seed"].tolist() == [4, 5]
    assert end.sharpness["sharpness"].tolist() == pytest.approx(
        whole[1].sharpness["sharpness"].tolist()[:2], rel=1e-4
    )


def test_a_run_that_diverged_whole_is_measured_at_its_start_alone(splits: Splits) -> None:
    run = parameters(2)
    run["bias_0"][1:] = np.inf
    declared = Diagnose(examples=40, every_epochs=1, tolerance=0.01)
    assert [
        part.sharpness["epoch"].unique().tolist() for part in diagnose(run, SEEDS, splits, declared)
    ] == [[0]]
