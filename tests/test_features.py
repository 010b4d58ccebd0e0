"""Measures of hidden units, on activations whose answer is known."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from stages.diagnostics.features import (
    correlation,
    distinct,
    effective_rank,
    feature_sparsity,
    positive_share,
)


def columns(*units: list[float]) -> Tensor:
    """Make the activations of one network: one list per unit, one number per example."""
    return torch.tensor(units, dtype=torch.float32).T[None]


def activations_of(networks: int, examples: int, units: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(networks, examples, units, generator=generator).relu()


def test_positive_share_counts_examples_and_units_of_each_network() -> None:
    activations = torch.cat(
        [columns([1, 0, 0, 0], [1, 2, 0, 0]), columns([0] * 4, [0, 1e-30, 0, 0])]
    )
    assert positive_share(activations).tolist() == [3 / 8, 1 / 8]


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        pytest.param(([1, 1, 0, 0], [1, 0, 1, 0]), 4 / 8, id="nothing alike"),
        pytest.param(
            ([1, 1, 0, 0], [0, 0, 0, 0]), 2 / 8, id="a silent unit counts in the denominator"
        ),
        pytest.param(
            ([1, 2, 0, 0], [3, 6, 0, 0], [1, 0, 1, 0]), 4 / 12, id="a multiple is a duplicate"
        ),
        pytest.param(([1, 1, 0, 0], [0, 0, 1, 1]), 2 / 8, id="so is a mirror image"),
        pytest.param(([0, 0, 9, 9], [0, 1, 9, 9]), 2 / 8, id="the first is kept, firing less"),
        pytest.param(([0, 1, 9, 9], [0, 0, 9, 9]), 3 / 8, id="the first is kept, firing more"),
        pytest.param(([1, 2, 3, 0], [1, 2, 3, 0], [2, 4, 6, 0]), 3 / 12, id="one of three alike"),
        pytest.param(
            ([5, 5, 5, 5], [1, 1, 0, 0]), 6 / 8, id="a constant unit correlates with none"
        ),
    ],
)
def test_feature_sparsity_drops_duplicates(units: tuple[list[float], ...], expected: float) -> None:
    assert feature_sparsity(columns(*units)).tolist() == pytest.approx([expected])


def test_feature_sparsity_compares_a_unit_with_those_kept_alone() -> None:
    # Neighbours at 17° correlate by 0.956, the first and the last by cos 34° = 0.829.
    along, across = np.array([1, -1, 0]) / 2**0.5, np.array([1, 1, -2]) / 6**0.5
    turned = [
        (3 + math.cos(angle) * along + math.sin(angle) * across).tolist()
        for angle in np.radians([0, 17, 34])
    ]
    assert feature_sparsity(columns(*turned)).tolist() == pytest.approx([2 / 3])


def test_feature_sparsity_is_measured_network_by_network() -> None:
    activations = torch.cat([columns([1, 1, 0, 0], [2, 2, 0, 0]), columns([1, 1, 1, 0], [0] * 4)])
    assert feature_sparsity(activations).tolist() == pytest.approx([2 / 8, 3 / 8])


@pytest.mark.parametrize(
    ("alike", "kept"), [(0.95, [True, True]), (math.nextafter(0.95, 1), [True, False])]
)
def test_units_are_duplicates_above_the_bound(alike: float, kept: list[bool]) -> None:
    assert distinct(np.array([[1, alike], [alike, 1]])).tolist() == kept


def test_correlation_is_that_of_numpy() -> None:
    activations = activations_of(2, 30, 5)
    ours = correlation(activations).numpy()
    for network in range(2):
        theirs = np.corrcoef(activations[network].double().numpy().T)
        np.testing.assert_allclose(ours[network], theirs, atol=1e-12)


def test_a_constant_unit_has_no_correlation() -> None:
    assert correlation(columns([2, 2, 2], [1, 0, 0]))[0].tolist() == [[0, 0], [0, pytest.approx(1)]]


def test_effective_rank_counts_equal_directions() -> None:
    identity = torch.eye(6)[None]
    assert effective_rank(identity).tolist() == pytest.approx([6])
    assert effective_rank(columns([1, 2, 3], [2, 4, 6])).tolist() == pytest.approx([1], rel=1e-6)


def test_effective_rank_does_not_depend_on_scale() -> None:
    activations = activations_of(1, 50, 7)
    expected = float(effective_rank(activations))
    assert float(effective_rank(activations * 1e-4)) == pytest.approx(expected, rel=1e-6)
    assert float(effective_rank(activations * 1e30)) == pytest.approx(expected, rel=1e-6)


def test_effective_rank_of_silent_units_is_0() -> None:
    both = torch.stack([torch.zeros(4, 3), torch.eye(4)[:, :3]])
    assert effective_rank(both).tolist() == [0, pytest.approx(3)]


def test_effective_rank_is_the_exponential_of_the_entropy() -> None:
    values = torch.tensor([4.0, 2.0, 1.0])
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    activations = (torch.diag(values) @ rotation)[None]
    shares = [4 / 7, 2 / 7, 1 / 7]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert effective_rank(activations).tolist() == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize(("examples", "units"), [(50, 7), (6, 11)])
def test_effective_rank_is_that_of_numpys_singular_values(examples: int, units: int) -> None:
    activations = activations_of(3, examples, units)
    expected = [
        math.exp(stats.entropy(np.linalg.svd(each, compute_uv=False)))
        for each in activations.double().numpy()
    ]
    assert effective_rank(activations).tolist() == pytest.approx(expected, rel=1e-6)
