"""The largest eigenvalue of the Hessian of the mean loss, for every network of a stack at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stages.core.stack import Stack

Operator = Callable[[Tensor], Tensor]


class Eigenvalue(NamedTuple):
    """A Ritz value and its bound, one a network, float64 on the CPU."""

    value: Tensor
    residual: Tensor
    """‖Hv − λv‖ of the unit Ritz vector v: some eigenvalue lies within this of `value`."""


def hessian_operator(stack: Stack, inputs: Tensor, labels: Tensor) -> Operator:
    """Make the product of each network's Hessian with a vector of its own.

    Args:
        stack: The networks.
        inputs: (examples, pixels): the mean cross-entropy over them is what is differentiated.
        labels: (examples,), int64.

    Returns:
        A function of vectors (networks, parameters), weights before biases, to the same.
    """
    parameters = [part.clone().requires_grad_() for part in (*stack.weights, *stack.biases)]
    depth = len(stack.weights)
    logits = Stack(parameters[:depth], parameters[depth:]).logits(inputs)
    log_probability = logits.log_softmax(dim=2)
    truth = labels.expand(stack.size, -1)[..., None]
    # The sum over networks: none of them enters another's loss, so neither their gradients mix.
    loss = -log_probability.gather(2, truth).mean(dim=(1, 2)).sum()
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    sizes = [part[0].numel() for part in parameters]

    def multiply(vectors: Tensor) -> Tensor:
        pieces = [
            piece.view_as(part)
            for piece, part in zip(torch.split(vectors, sizes, dim=1), parameters, strict=True)
        ]
        products = torch.autograd.grad(gradients, parameters, pieces, retain_graph=True)
        return torch.cat([product.flatten(start_dim=1) for product in products], dim=1)

    return multiply


def largest_eigenvalue(
    multiply: Operator, start: Tensor, tolerance: float, most_steps: int
) -> Eigenvalue:
    """Find the largest eigenvalue of symmetric matrices by Lanczos' method.

    Every vector is made orthogonal to all before it, twice, so that rounding brings back no
    eigenvalue already found (Golub and Van Loan, "Matrix Computations", section 10.3).

    Args:
        multiply: Product of each matrix with its vector, (matrices, size) to the same.
        start: (matrices, size), not zero.
        tolerance: Stop when every residual is at most this share of its value.
        most_steps: Stop after so many products at the latest.
    """
    basis = [start / start.norm(dim=1, keepdim=True)]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    while True:
        vector = multiply(basis[-1])
        diagonal.append((vector * basis[-1]).sum(dim=1).double().cpu())
        for _ in range(2):
            for known in basis:
                vector = vector - (vector * known).sum(dim=1, keepdim=True) * known
        norm = vector.norm(dim=1, keepdim=True)
        beside.append(norm[:, 0].double().cpu())
        found = _ritz(diagonal, beside)
        settled = ~(found.residual > tolerance * found.value.abs()).any()
        if settled or len(diagonal) == min(most_steps, start.shape[1]):
            return found
        basis.append(vector / norm.clamp(min=torch.finfo(norm.dtype).tiny))


def _ritz(diagonal: list[Tensor], beside: list[Tensor]) -> Eigenvalue:
    """Take the largest eigenvalue of the tridiagonal matrices, and what is missing to the true."""
    matrices = torch.diag_embed(torch.stack(diagonal, dim=1))
    if len(diagonal) > 1:
        off = torch.stack(beside[:-1], dim=1)
        matrices = matrices + torch.diag_embed(off, offset=1) + torch.diag_embed(off, offset=-1)
    # A network about to diverge may overflow; its eigenvalue is missing, the others' are not.
    finite = matrices.isfinite().all(dim=(1, 2))
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], matrices, 0))
    value = torch.where(finite, values[:, -1], torch.nan)
    return Eigenvalue(value, beside[-1] * vectors[:, -1, -1].abs())
