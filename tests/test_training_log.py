"""What every step was like, condensed by epoch."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from stages.training import run_files
from stages.training.stack import Scores
from stages.training.training_log import Epoch, Steps, history, step_arrays


def gradients_only(batch_norms: Tensor, example_norms: Tensor) -> Steps:
    """Make the record of an epoch of one network, of which only the gradients matter."""
    rest = torch.ones_like(batch_norms)
    return Steps(rest, rest, batch_norms, rest[..., None], example_norms, rest)


def epoch(steps: int, seed: int, networks: int = 3) -> Epoch:
    """Make an epoch in which no two numbers are equal."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def scores() -> Scores:
        return Scores(*drawn(3, networks).double())

    by_step = [drawn(steps, networks) for _ in range(5)]
    return Epoch(
        train=scores(),
        validation=scores(),
        test=scores(),
        learning_rates=drawn(networks).double(),
        steps=Steps(*by_step[:3], drawn(steps, networks, 2), *by_step[3:]),
        noise_scale=drawn(networks).double(),
    )


def test_noise_scale_recovers_a_known_covariance() -> None:
    """Gradients drawn with ‖G‖² = 4 and tr(Σ) = 50·9 have the noise scale 112.5."""
    generator = torch.Generator().manual_seed(0)
    size, batch, draws = 50, 32, 20_000
    signal = torch.zeros(size, dtype=torch.float64)
    signal[0] = 2
    noise = torch.randn(draws, batch, size, dtype=torch.float64, generator=generator) * 3
    examples = signal + noise
    batch_norms = examples.mean(dim=1).norm(dim=1)[:, None]
    example_norms = examples.square().sum(dim=2).mean(dim=1).sqrt()[:, None]
    found = gradients_only(batch_norms, example_norms).noise_scale(batch)
    assert found.shape == (1,)
    assert float(found) == pytest.approx(50 * 9 / 4, rel=0.02)


def test_noise_scale_is_that_of_two_means() -> None:
    """Mean squares of 6.5 and 50 with batches of 8: ‖G‖² = 2/7, tr(Σ) = 43.5·8/7."""
    squares = torch.tensor([[[4.0], [9.0]], [[1.0], [99.0]]], dtype=torch.float64)
    found = gradients_only(*squares.sqrt()).noise_scale(8)
    assert float(found) == pytest.approx((43.5 * 8 / 7) / (2 / 7))
    squares[1] = 10
    found = gradients_only(*squares.sqrt()).noise_scale(2)
    assert float(found) == pytest.approx((3.5 * 2) / 3)


def test_noise_scale_is_missing_where_no_signal_is_seen() -> None:
    """With batches of 16, 1 and 4 leave a signal of exactly nothing."""
    batch_norms = torch.tensor([[0.9, 1.0, 1.1]]).expand(7, -1)
    found = gradients_only(batch_norms, torch.full((7, 3), 4.0)).noise_scale(16)
    assert found.isnan().tolist() == [True, True, False]


def test_noise_scale_is_missing_with_batches_of_one() -> None:
    norms = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert gradients_only(norms, norms).noise_scale(1).isnan().tolist() == [True, True]


def test_history_has_one_row_per_seed_and_epoch_in_the_order_of_the_seeds() -> None:
    epochs = [epoch(21, 0), epoch(21, 1)]
    table = history(epochs, seeds=[8, 3, 5])
    assert tuple(table.columns) == tuple(run_files.HISTORY)
    assert table[["seed", "epoch", "step"]].to_numpy().tolist() == [
        [8, 1, 21],
        [8, 2, 42],
        [3, 1, 21],
        [3, 2, 42],
        [5, 1, 21],
        [5, 2, 42],
    ]
    for _, row in table.iterrows():
        here, network = epochs[int(row["epoch"]) - 1], [8, 3, 5].index(int(row["seed"]))
        expected = {
            f"{split}_{name}": float(getattr(getattr(here, split), name)[network])
            for split in ("train", "validation", "test")
            for name in ("loss", "accuracy", "mape")
        }
        for quantity in ("gradient_norm", "relative_update"):
            values = getattr(here.steps, quantity)[:, network].double().numpy()
            expected |= {
                f"{quantity}_mean": values.mean(),
                f"{quantity}_median": np.median(values),
                f"{quantity}_p95": np.quantile(values, 0.95),
                f"{quantity}_max": values.max(),
            }
        expected["learning_rate"] = float(here.learning_rates[network])
        expected["noise_scale"] = float(here.noise_scale[network])
        assert row.drop(["seed", "epoch", "step"]).to_dict() == pytest.approx(expected, rel=1e-12)


def test_history_of_a_network_is_the_same_alone_and_beside_others() -> None:
    """A thousand steps: enough for sums that add in another order to differ."""
    whole = epoch(1_003, 4, networks=7)
    steps = {name: values[:, 2:3].clone() for name, values in vars(whole.steps).items()}

    def alone(scores: Scores) -> Scores:
        return Scores(*(values[2:3] for values in scores))

    part = Epoch(
        train=alone(whole.train),
        validation=alone(whole.validation),
        test=alone(whole.test),
        learning_rates=whole.learning_rates[2:3],
        steps=Steps(**steps),
        noise_scale=whole.noise_scale[2:3],
    )
    beside = history([whole], range(7)).query("seed == 2").reset_index(drop=True)
    pd.testing.assert_frame_equal(history([part], [2]), beside, check_exact=True)
    assert torch.equal(part.steps.noise_scale(32), whole.steps.noise_scale(32)[2:3])


def test_what_is_not_finite_is_seen_in_history() -> None:
    wild = epoch(21, 0)
    wild.steps.gradient_norm[4, 1] = math.inf
    wild.steps.relative_update[4, 2] = math.nan
    table = history([wild], seeds=[8, 3, 5])
    assert table["gradient_norm_max"].map(math.isfinite).tolist() == [True, False, True]
    assert table["relative_update_median"].isna().tolist() == [False, False, True]


def test_steps_of_all_epochs_lie_end_to_end() -> None:
    first, second = epoch(5, 0), epoch(7, 1)
    arrays = step_arrays([first, second])
    assert tuple(arrays) == run_files.STEPS
    assert arrays["layer_gradient_norm"].shape == (12, 3, 2)
    for name, array in arrays.items():
        assert array.dtype == np.float32
        assert np.array_equal(array[:5], getattr(first.steps, name).numpy())
        assert np.array_equal(array[5:], getattr(second.steps, name).numpy())


def test_steps_find_their_places_in_a_larger_stack() -> None:
    steps = epoch(5, 0, networks=2).steps
    spread = steps.spread(torch.tensor([0, 3]), 4)
    assert spread.layer_gradient_norm.shape == (5, 4, 2)
    for name, values in vars(spread).items():
        assert torch.equal(values[:, [0, 3]], getattr(steps, name))
        assert values[:, [1, 2]].isnan().all()
