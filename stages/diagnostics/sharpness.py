"""The largest eigenvalue of the Hessian of a network's mean loss."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.training.stack import Stack

Operator = Callable[[Tensor], Tensor]


class Eigenvalue(NamedTuple):
    """A Ritz value and its bound; NaN where the arithmetic overflowed."""

    value: float
    residual: float
    """‖Hv − λv‖ of the unit Ritz vector v: some eigenvalue lies within this of `value`."""


def hessian_operator(stack: Stack, inputs: Tensor, labels: Tensor) -> Operator:
    """Make the product of the Hessian with a vector.

    As in Pearlmutter, "Fast exact multiplication by the Hessian" (1994), by differentiating twice.

    Args:
        stack: One network.
        inputs: (examples, pixels): the mean cross-entropy over them is what is differentiated.
        labels: (examples,), int64.

    Returns:
        A function of a vector (parameters,), weights before biases, to the same.
    """
    parameters = [part.clone().requires_grad_() for part in (*stack.weights, *stack.biases)]
    depth = len(stack.weights)
    logits = Stack(parameters[:depth], parameters[depth:]).logits(inputs)[0]
    loss = torch.nn.functional.cross_entropy(logits, labels)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    sizes = [part.numel() for part in parameters]

    def multiply(vector: Tensor) -> Tensor:
        pieces = [
            piece.view_as(part)
            for piece, part in zip(torch.split(vector, sizes), parameters, strict=True)
        ]
        products = torch.autograd.grad(gradients, parameters, pieces, retain_graph=True)
        return torch.cat([product.flatten() for product in products])

    return multiply


def largest_eigenvalue(
    multiply: Operator, start: Tensor, tolerance: float, most_products: int
) -> Eigenvalue:
    """Find the largest eigenvalue of a symmetric matrix by Lanczos' method.

    Every new vector is made orthogonal to all earlier ones, twice. Otherwise rounding would bring
    back eigenvalues already found (Golub and Van Loan, "Matrix Computations", section 10.3).

    Args:
        multiply: Product of the matrix with a vector, (size,) to (size,).
        start: (size,), not zero.
        tolerance: Stop when the residual is at most this share of the value.
        most_products: Stop after so many products at the latest.
    """
    most = min(most_products, len(start))
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for done in range(1, most + 1):
        known = torch.stack(basis)
        vector = multiply(known[-1])
        diagonal.append(float(known[-1] @ vector))
        for _ in range(2):
            vector = vector - known.T @ (known @ vector)
        # Scaled, for squares overflow before the vector does.
        peak = vector.abs().max().clamp(min=torch.finfo(vector.dtype).tiny)
        norm = (vector / peak).norm() * peak
        beside.append(float(norm))
        found = _ritz(diagonal, beside)
        # NaN ends the search as well: nothing after an overflow is finite.
        if not found.residual > tolerance * abs(found.value) or done == most:
            break
        basis.append(vector / norm)
    return found


def _ritz(diagonal: list[float], beside: list[float]) -> Eigenvalue:
    """Compute the largest eigenvalue of the tridiagonal matrix, and its residual."""
    # Its lower triangle, which is all that eigh reads.
    matrix = np.diag(diagonal) + np.diag(beside[:-1], -1)
    if not np.isfinite(matrix).all():
        return Eigenvalue(math.nan, math.nan)
    values, vectors = np.linalg.eigh(matrix)
    return Eigenvalue(float(values[-1]), beside[-1] * abs(float(vectors[-1, -1])))
