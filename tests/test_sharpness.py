"""The sharpest curvature, against whole Hessians."""

import math

import pytest
import torch
from torch import Tensor

from stages.diagnostics.sharpness import hessian_operator, largest_eigenvalue
from stages.training.stack import Stack
from tests.hessian import whole_hessian

WIDTHS, SEEDS = (6, 5, 4, 10), (1, 2, 3)


def small(seed: int) -> tuple[Stack, Tensor, Tensor]:
    """Make a network, and examples of which most are of one class."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, WIDTHS[0], dtype=torch.float64, generator=generator)
    labels = torch.randint(10, (40,), generator=generator).clamp(min=6)
    return Stack.initialized(WIDTHS, [seed]).to(torch.float64), inputs, labels


def hessian_of(stack: Stack, inputs: Tensor, labels: Tensor) -> Tensor:
    return whole_hessian([*stack.weights, *stack.biases], inputs, labels)


def somewhere(size: int) -> Tensor:
    return torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("seed", SEEDS)
def test_products_are_those_of_the_whole_hessian(seed: int) -> None:
    stack, inputs, labels = small(seed)
    hessian = hessian_of(stack, inputs, labels)
    vector = somewhere(len(hessian))
    product = hessian_operator(stack, inputs, labels)(vector)
    torch.testing.assert_close(product, hessian @ vector, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian(seed: int) -> None:
    stack, inputs, labels = small(seed)
    hessian = hessian_of(stack, inputs, labels)
    multiply = hessian_operator(stack, inputs, labels)
    found = largest_eigenvalue(multiply, somewhere(len(hessian)), 1e-8, 200)
    assert found.value == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-8)


@pytest.mark.parametrize("products", [1, 2, 5])
def test_value_and_residual_are_those_of_the_best_vector_of_the_krylov_space(products: int) -> None:
    hessian = hessian_of(*small(1))
    start = somewhere(len(hessian))
    powers = [start]
    for _ in range(products - 1):
        powers.append(hessian @ powers[-1] / powers[-1].norm())
    space = torch.linalg.qr(torch.stack(powers, dim=1)).Q
    values, inside = torch.linalg.eigh(space.T @ hessian @ space)
    value, vector = values[-1], space @ inside[:, -1]
    residual = (hessian @ vector - value * vector).norm()
    assert residual > 0.01 * value
    found = largest_eigenvalue(lambda vector: hessian @ vector, start, 1e-12, products)
    assert found == pytest.approx((float(value), float(residual)), rel=1e-8)


@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
def test_the_search_stops_as_soon_as_the_residual_is_small_enough(tolerance: float) -> None:
    values = torch.linspace(-20, 10, 60, dtype=torch.float64)
    asked = []

    def multiply(vector: Tensor) -> Tensor:
        asked.append(vector)
        return values * vector

    start = torch.ones(60, dtype=torch.float64)
    found = largest_eigenvalue(multiply, start, tolerance, 60)
    assert found.residual <= tolerance * found.value
    assert float((values - found.value).abs().min()) <= found.residual + 1e-12
    sooner = largest_eigenvalue(lambda vector: values * vector, start, 1e-12, len(asked) - 1)
    assert sooner.residual > tolerance * sooner.value


def test_the_search_stops_when_the_matrix_is_known() -> None:
    values = torch.tensor([1.0, 5.0, 3.0], dtype=torch.float64)
    found = largest_eigenvalue(
        lambda vector: values * vector, torch.ones(3, dtype=torch.float64), 1e-300, 50
    )
    assert found.value == pytest.approx(5, rel=1e-12)
    assert found.residual == pytest.approx(0, abs=1e-12)


def test_a_negative_largest_eigenvalue_is_found_as_closely() -> None:
    values = torch.linspace(-20, -5, 60, dtype=torch.float64)
    start = torch.ones(60, dtype=torch.float64)
    found = largest_eigenvalue(lambda vector: values * vector, start, 0.01, 60)
    assert found.value == pytest.approx(-5, rel=0.01)
    assert found.residual <= 0.05


def test_a_start_that_is_an_eigenvector_needs_one_product() -> None:
    def multiply(vector: Tensor) -> Tensor:
        return 3 * vector

    assert largest_eigenvalue(multiply, torch.tensor([0.0, 4.0]), 0.1, 9) == (3, 0)


def test_rounding_brings_back_no_eigenvalue_already_found() -> None:
    """Without a second orthogonalization, float32 lets the largest of these appear twice."""
    values = 10 ** torch.linspace(-6, 3, 400)
    found = largest_eigenvalue(lambda vector: values * vector, torch.ones(400), 1e-300, 400)
    assert found.value == pytest.approx(1000, rel=1e-5)
    assert found.residual < 0.01


def test_squares_may_overflow_where_the_curvature_does_not() -> None:
    values = torch.linspace(1e20, 1e25, 30)
    found = largest_eigenvalue(lambda vector: values * vector, torch.ones(30), 1e-3, 30)
    assert found.value == pytest.approx(1e25, rel=1e-3)
    assert found.residual <= 1e22


@pytest.mark.parametrize("wrong", [math.inf, math.nan])
def test_an_overflowing_matrix_has_no_eigenvalue(wrong: float) -> None:
    values = torch.tensor([1.0, wrong, 2.0])
    found = largest_eigenvalue(lambda vector: values * vector, torch.ones(3), 0.01, 50)
    assert math.isnan(found.value)
    assert math.isnan(found.residual)
