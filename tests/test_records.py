"""Per-step records, condensed."""

import math

import pytest
import torch

from stages.core.records import Steps, divergences


def steps(batch_norms: torch.Tensor, example_norms: torch.Tensor) -> Steps:
    """Make the record of an epoch of one network, of which only the gradients matter."""
    rest = torch.ones_like(batch_norms)
    return Steps(rest, batch_norms, rest[..., None], example_norms, rest)


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
    found = steps(batch_norms, example_norms).noise_scale(batch)
    assert found.shape == (1,)
    assert float(found) == pytest.approx(50 * 9 / 4, rel=0.02)


def test_noise_scale_is_missing_where_no_signal_is_seen() -> None:
    norms = torch.full((7, 1), 1.0)
    assert math.isnan(float(steps(norms / math.sqrt(33), norms).noise_scale(32)))
    assert math.isnan(float(steps(norms, norms).noise_scale(1)))


def test_divergence_is_told_with_the_norms_before_it() -> None:
    losses = torch.ones(12, 3)
    losses[7:, 1] = math.inf
    losses[0, 2] = math.nan
    norms = torch.arange(36.0).view(12, 3)
    norms[6, 1] = math.inf
    by_step = {"loss": losses.numpy(), "gradient_norm": norms.numpy()}
    assert divergences(by_step, [4, 5, 6], steps=5) == [
        {"seed": 4, "diverged": False},
        {
            "seed": 5,
            "diverged": True,
            "epoch": 2,
            "step": 8,
            "last_gradient_norms": [7.0, 10.0, 13.0, 16.0],
        },
        {"seed": 6, "diverged": True, "epoch": 1, "step": 1, "last_gradient_norms": []},
    ]
