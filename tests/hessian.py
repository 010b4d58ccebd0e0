"""The whole Hessian of a small network, by differentiating twice."""

from collections.abc import Sequence

import torch
from torch import Tensor


def whole_hessian(parts: Sequence[Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """Differentiate a network's mean loss twice by all its parameters.

    Args:
        parts: The weights (1, inputs, outputs) of each layer, then the biases (1, 1, outputs).
        inputs: (examples, pixels).
        labels: (examples,), int64.

    Returns:
        (parameters, parameters).
    """
    sizes = [part.numel() for part in parts]
    depth = len(parts) // 2

    def loss(vector: Tensor) -> Tensor:
        pieces = [
            piece.view(part.shape[1:])
            for piece, part in zip(torch.split(vector, sizes), parts, strict=True)
        ]
        *hidden_layers, (last_weight, last_bias) = zip(pieces[:depth], pieces[depth:], strict=True)
        hidden = inputs
        for weight, bias in hidden_layers:
            hidden = (hidden @ weight + bias).relu()
        return torch.nn.functional.cross_entropy(hidden @ last_weight + last_bias, labels)

    hessian = torch.autograd.functional.hessian(loss, torch.cat([part.flatten() for part in parts]))
    assert isinstance(hessian, Tensor)
    return hessian
