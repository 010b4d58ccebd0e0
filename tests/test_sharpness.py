"""The sharpest curvature, against whole Hessians."""

import math

import pytest
import torch
from torch import Tensor

from stages.core.sharpness import hessian_operator, largest_eigenvalue
from stages.core.stack import Stack

WIDTHS, SEEDS = (6, 5, 4, 10), (1, 2, 3)


def small() -> tuple[Stack, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, WIDTHS[0], dtype=torch.float64, generator=generator)
    labels = torch.randint(10, (40,), generator=generator)
    return Stack.initialized(WIDTHS, SEEDS).to(torch.float64), inputs, labels


def whole_hessian(stack: Stack, network: int, inputs: Tensor, labels: Tensor) -> Tensor:
    """Differentiate one network's loss twice by all its parameters."""
    parts = [part[network] for part in (*stack.weights, *stack.biases)]
    sizes = [part.numel() for part in parts]

    def loss(vector: Tensor) -> Tensor:
        pieces = [
            piece.view_as(part)
            for piece, part in zip(torch.split(vector, sizes), parts, strict=True)
        ]
        hidden = inputs
        for weight, bias in zip(pieces[:2], pieces[3:5], strict=True):
            hidden = (hidden @ weight + bias).relu()
        logits = hidden @ pieces[2] + pieces[5]
        return torch.nn.functional.cross_entropy(logits, labels)

    hessian = torch.autograd.functional.hessian(loss, torch.cat([part.flatten() for part in parts]))
    assert isinstance(hessian, Tensor)
    return hessian


def start(stack: Stack) -> Tensor:
    size = sum(part[0].numel() for part in (*stack.weights, *stack.biases))
    generator = torch.Generator().manual_seed(5)
    return torch.randn(stack.size, size, dtype=torch.float64, generator=generator)


def test_products_are_those_of_the_whole_hessian() -> None:
    stack, inputs, labels = small()
    vectors = start(stack)
    products = hessian_operator(stack, inputs, labels)(vectors)
    for network in range(stack.size):
        expected = whole_hessian(stack, network, inputs, labels) @ vectors[network]
        torch.testing.assert_close(products[network], expected, rtol=1e-9, atol=1e-12)


def test_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian() -> None:
    stack, inputs, labels = small()
    found = largest_eigenvalue(hessian_operator(stack, inputs, labels), start(stack), 1e-8, 200)
    for network in range(stack.size):
        exact = torch.linalg.eigvalsh(whole_hessian(stack, network, inputs, labels))[-1]
        assert float(found.value[network]) == pytest.approx(float(exact), rel=1e-8)


@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
def test_the_residual_bounds_the_error(tolerance: float) -> None:
    values = torch.linspace(-20, 10, 60, dtype=torch.float64)[None]
    found = largest_eigenvalue(
        lambda vectors: values * vectors, torch.ones(1, 60, dtype=torch.float64), tolerance, 60
    )
    assert float(found.residual) <= tolerance * float(found.value)
    assert (values - found.value).abs().min() <= found.residual + 1e-12


def test_a_matrix_smaller_than_the_steps_is_solved_exactly() -> None:
    values = torch.tensor([[1.0, 5.0, 3.0]], dtype=torch.float64)
    found = largest_eigenvalue(
        lambda vectors: values * vectors, torch.ones(1, 3, dtype=torch.float64), 1e-12, 50
    )
    assert float(found.value) == pytest.approx(5, rel=1e-12)


def test_an_overflowing_matrix_leaves_the_others_alone() -> None:
    values = torch.tensor([[1.0, 5.0], [math.inf, 1.0]], dtype=torch.float64)
    found = largest_eigenvalue(
        lambda vectors: values * vectors, torch.ones(2, 2, dtype=torch.float64), 1e-9, 2
    )
    assert float(found.value[0]) == pytest.approx(5)
    assert math.isnan(float(found.value[1]))
