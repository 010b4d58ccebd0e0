"""Measures of hidden units, on activations whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.core.features import correlation, effective_rank, feature_sparsity, positive_share


def columns(*units: list[float]) -> Tensor:
    """Make the activations of one network from what each unit does, an example an entry."""
    return torch.tensor(units, dtype=torch.float32).T[None]


def test_positive_share_counts_examples_and_units() -> None:
    assert positive_share(columns([1, 0, 0, 0], [1, 2, 0, 0])).tolist() == [3 / 8]


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        # nothing alike: 2 + 2 of 8
        (([1, 1, 0, 0], [1, 0, 1, 0]), 4 / 8),
        # a silent unit counts in the denominator alone
        (([1, 1, 0, 0], [0, 0, 0, 0]), 2 / 8),
        # a multiple is a duplicate: the first counts
        (([1, 2, 0, 0], [3, 6, 0, 0], [1, 0, 1, 0]), 4 / 12),
        # so is a mirror image
        (([1, 1, 0, 0], [0, 0, 1, 1]), 2 / 8),
        # three alike leave one
        (([1, 2, 3, 0], [1, 2, 3, 0], [2, 4, 6, 0]), 3 / 12),
        # a constant unit correlates with none
        (([5, 5, 5, 5], [1, 1, 0, 0]), 6 / 8),
    ],
)
def test_feature_sparsity_drops_duplicates(units: tuple[list[float], ...], expected: float) -> None:
    assert feature_sparsity(columns(*units)).tolist() == pytest.approx([expected])


def test_correlation_is_that_of_numpy() -> None:
    activations = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0)).relu()
    ours = correlation(activations).numpy()
    for network in range(2):
        theirs = np.corrcoef(activations[network].double().numpy().T)
        np.testing.assert_allclose(ours[network], theirs, atol=1e-12)


def test_effective_rank_counts_equal_directions() -> None:
    identity = torch.eye(6)[None]
    assert effective_rank(identity).tolist() == pytest.approx([6])
    assert effective_rank(columns([1, 2, 3], [2, 4, 6])).tolist() == pytest.approx([1], rel=1e-6)
    assert effective_rank(torch.zeros(1, 4, 3)).tolist() == [0]


def test_effective_rank_is_the_exponential_of_the_entropy() -> None:
    values = torch.tensor([4.0, 2.0, 1.0])
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    activations = (torch.diag(values) @ rotation)[None]
    shares = [4 / 7, 2 / 7, 1 / 7]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert effective_rank(activations).tolist() == pytest.approx([expected], rel=1e-6)
