"""One step of plain stochastic gradient descent for a whole stack, its backward pass written out.

The update rides in the matrix product that makes the gradient, so no gradient is ever stored; its
norm comes from products of examples instead (Goodfellow, "Efficient per-example gradient
computations", 2015). Every buffer is allocated once: at this size, fresh memory a step costs more
than the arithmetic.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from stages.core.stack import Predictions, Stack


@dataclass
class Pass:
    """One pass over the training examples: what its steps read, and what they leave behind.

    Step t takes the examples t·batch up to (t + 1)·batch of each network's own order; the last
    step takes what is left. Nothing here is read back before the pass is over.
    """

    inputs: Tensor
    """(examples, pixels)."""
    labels: Tensor
    """(networks, examples), int64, in each network's order."""
    order: Tensor
    """(networks, examples), int64: which example network r sees as its n-th."""
    rates: Tensor
    """(steps, networks): the learning rates."""
    batch: int
    """Examples a step, for each network."""
    predictions: Predictions = field(init=False)
    """What each network said, in order, just before the step that the example took part in."""
    squared_norms: Tensor = field(init=False)
    """(steps, layers, networks): squared norm of each layer's part of the gradient of the mean
    loss, weights and biases together, before any clipping."""
    example_squared_norms: Tensor = field(init=False)
    """(steps, networks): squared norm of one example's own gradient, mean over the batch."""
    projections: Tensor = field(init=False)
    """(steps, networks): scalar product of the gradient of the mean loss and the parameters."""
    scales: Tensor = field(init=False)
    """(steps, networks): what the gradient was multiplied by, learning rate times clipping."""
    start_squared_norms: Tensor = field(init=False)
    """(networks,): squared norm of the parameters before the first step."""

    def start(self, stack: Stack) -> None:
        """Make room for what the steps leave behind."""
        like = stack.weights[0]
        self.predictions = Predictions(
            log_likelihood=like.new_empty(self.order.shape),
            correct=torch.empty(self.order.shape, dtype=torch.bool, device=like.device),
        )
        self.squared_norms = like.new_empty(len(self.rates), len(stack.weights), stack.size)
        self.example_squared_norms = torch.empty_like(self.rates)
        self.projections = torch.empty_like(self.rates)
        self.scales = torch.empty_like(self.rates)
        self.start_squared_norms = stack.squared_norms()

    def examples_of(self, step: int) -> slice:
        """Say which columns of `order` a step takes."""
        return slice(step * self.batch, min((step + 1) * self.batch, self.order.shape[1]))

    def step_losses(self) -> Tensor:
        """Compute the mean loss of each batch, (steps, networks)."""
        batches = torch.split(self.predictions.log_likelihood, self.batch, dim=1)
        return -torch.stack([batch.mean(dim=1) for batch in batches])

    def gradient_norms(self) -> Tensor:
        """Compute the global norm of each step's gradient, (steps, networks)."""
        return self.squared_norms.sum(dim=1).clamp(min=0).sqrt()

    def parameter_norms(self) -> Tensor:
        """Compute the norm of all parameters before each step, (steps, networks).

        ‖θ − s·g‖² = ‖θ‖² − 2s⟨θ, g⟩ + s²‖g‖², step by step from the norm at the start.
        """
        # On the CPU: MPS has no float64.
        scales, squared_norms, projections, start = (
            values.cpu().double()
            for values in (
                self.scales,
                self.squared_norms.sum(dim=1),
                self.projections,
                self.start_squared_norms,
            )
        )
        growth = scales.square() * squared_norms - 2 * scales * projections
        before = growth.cumsum(dim=0) - growth
        return (start + before).clamp(min=0).sqrt()


class _Buffers:
    """Memory for one step with batches of one size."""

    def __init__(self, stack: Stack, batch: int) -> None:
        like = stack.weights[0]
        rows = (stack.size, batch)
        self.activations = [like.new_empty(*rows, width) for width in stack.widths]
        self.deltas = [torch.empty_like(activation) for activation in self.activations[1:]]
        self.scratch = [torch.empty_like(delta) for delta in self.deltas]
        self.log_probabilities = torch.empty_like(self.activations[-1])
        self.predicted = torch.empty(rows, dtype=torch.int64, device=like.device)
        self.minus_one = like.new_full((*rows, 1), -1.0)
        depth = len(stack.weights)
        self.input_products = like.new_empty(depth, *rows, batch)
        self.delta_products = like.new_empty(depth, *rows, batch)
        self.projections = like.new_empty(depth, stack.size)


class StochasticGradientDescent:
    """Takes steps on a stack, in place.

    Network r moves by `−rate_r · c_r · g_r`, where g_r is the gradient of the mean cross-entropy
    over its own batch and c_r = min(1, bound / (‖g_r‖ + 1e-6)), as in
    `torch.nn.utils.clip_grad_norm_`; c_r = 1 without a bound.
    """

    def __init__(self, stack: Stack, clip_norm: float | None = None) -> None:
        """Set up steps on a stack.

        Args:
            stack: The networks to move.
            clip_norm: Bound on the global norm of each network's gradient; None leaves it alone.
        """
        self.stack = stack
        self.clip_norm = clip_norm
        self._buffers: dict[int, _Buffers] = {}

    def step(self, this: Pass, at: int) -> None:
        """Take one step of a pass and record it there.

        Args:
            this: The pass, started.
            at: Which step, from 0.
        """
        part = this.examples_of(at)
        labels = this.labels[:, part, None]
        buffers = self._buffers_of(labels.shape[1])
        rows = buffers.activations[0].view(labels.shape[0] * labels.shape[1], -1)
        torch.index_select(this.inputs, 0, this.order[:, part].reshape(-1), out=rows)
        self._forward(buffers)
        self._record(buffers, labels, *(each[:, part] for each in this.predictions))
        self._backward(buffers, labels)
        self._measure_gradient(buffers, this, at)
        self._update(buffers, this, at)

    def _buffers_of(self, batch: int) -> _Buffers:
        if batch not in self._buffers:
            self._buffers[batch] = _Buffers(self.stack, batch)
        return self._buffers[batch]

    def _forward(self, buffers: _Buffers) -> None:
        layers = zip(self.stack.weights, self.stack.biases, strict=True)
        for depth, (weight, bias) in enumerate(layers):
            output = buffers.activations[depth + 1]
            torch.baddbmm(bias, buffers.activations[depth], weight, out=output)
            if depth + 1 < len(self.stack.weights):
                output.relu_()
        torch.log_softmax(buffers.activations[-1], dim=2, out=buffers.log_probabilities)

    def _record(
        self, buffers: _Buffers, labels: Tensor, log_likelihood: Tensor, correct: Tensor
    ) -> None:
        torch.gather(buffers.log_probabilities, 2, labels, out=log_likelihood[..., None])
        torch.argmax(buffers.activations[-1], dim=2, out=buffers.predicted)
        torch.eq(buffers.predicted, labels[..., 0], out=correct)

    def _backward(self, buffers: _Buffers, labels: Tensor) -> None:
        """Fill `deltas[l]` with the gradient of each example's own loss by layer l's outputs."""
        delta = torch.exp(buffers.log_probabilities, out=buffers.deltas[-1])
        delta.scatter_add_(2, labels, buffers.minus_one)
        for depth in range(len(buffers.deltas) - 1, 0, -1):
            below = buffers.deltas[depth - 1]
            torch.bmm(buffers.deltas[depth], self.stack.weights[depth].mT, out=below)
            torch.ops.aten.threshold_backward.grad_input(
                below, buffers.activations[depth], 0, grad_input=below
            )

    def _measure_gradient(self, buffers: _Buffers, this: Pass, at: int) -> None:
        """Take the gradient's norms from products of examples, and its product with the weights.

        ‖hᵀd‖² = Σ (hhᵀ ∘ ddᵀ), whose diagonal holds the squared norm of each example's own
        gradient; the bias, a constant input of 1, adds 1 to hhᵀ. ⟨W, hᵀd⟩ + ⟨b, Σd⟩ = Σ (z ∘ d)
        for outputs z = hW + b, and where a rectifier cuts z it cuts d as well.
        """
        batch = buffers.minus_one.shape[1]
        for depth, delta in enumerate(buffers.deltas):
            layer_inputs, outputs = buffers.activations[depth], buffers.activations[depth + 1]
            torch.bmm(layer_inputs, layer_inputs.mT, out=buffers.input_products[depth])
            torch.bmm(delta, delta.mT, out=buffers.delta_products[depth])
            torch.mul(outputs, delta, out=buffers.scratch[depth])
            torch.sum(buffers.scratch[depth], dim=(1, 2), out=buffers.projections[depth])
        products = buffers.input_products.add_(1).mul_(buffers.delta_products)
        torch.sum(products, dim=(2, 3), out=this.squared_norms[at]).div_(batch**2)
        each = products.diagonal(dim1=2, dim2=3)
        torch.sum(each, dim=(0, 2), out=this.example_squared_norms[at]).div_(batch)
        torch.sum(buffers.projections, dim=0, out=this.projections[at]).div_(batch)

    def _update(self, buffers: _Buffers, this: Pass, at: int) -> None:
        scale = this.scales[at].copy_(this.rates[at])
        if self.clip_norm is not None:
            norm = this.squared_norms[at].sum(dim=0).clamp_(min=0).sqrt_()
            scale.mul_((self.clip_norm / (norm + 1e-6)).clamp_(max=1))
        per_example = (scale / buffers.minus_one.shape[1])[:, None, None]
        for depth, delta in enumerate(buffers.deltas):
            delta.mul_(per_example)
            self.stack.weights[depth].baddbmm_(buffers.activations[depth].mT, delta, alpha=-1)
            self.stack.biases[depth].sub_(delta.sum(dim=1, keepdim=True))
