"""One step of plain stochastic gradient descent for a whole stack, its backward pass written out.

The update rides in the matrix product that makes the gradient, so no gradient is ever stored; its
norm comes from products of examples instead (Goodfellow, "Efficient per-example gradient
computations", 2015). Every buffer is allocated once: at this size, fresh memory a step costs more
than the arithmetic.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stages.core.launch import as_one_launch
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


class _Step:
    """One step with batches of one size, in memory of its own.

    What a step takes and leaves lies at fixed addresses, so that a CUDA device can be handed the
    whole of `compute` at once.
    """

    def __init__(self, stack: Stack, batch: int, clip_norm: float | None) -> None:
        self.stack, self.batch, self.clip_norm = stack, batch, clip_norm
        like = stack.weights[0]
        networks, depth = stack.size, len(stack.weights)
        rows = (networks, batch)
        self.activations = [like.new_empty(*rows, width) for width in stack.widths]
        self.labels = torch.empty((*rows, 1), dtype=torch.int64, device=like.device)
        self.rates = like.new_empty(networks)

        self.log_likelihood = like.new_empty(rows)
        self.correct = torch.empty(rows, dtype=torch.bool, device=like.device)
        self.squared_norms = like.new_empty(depth, networks)
        self.example_squared_norms = like.new_empty(networks)
        self.projections = like.new_empty(networks)
        self.scales = like.new_empty(networks)

        self._classes = torch.arange(stack.widths[-1], device=like.device)
        self._deltas = [torch.empty_like(activation) for activation in self.activations[1:]]
        self._products = [torch.empty_like(delta) for delta in self._deltas]
        self._log_probabilities = torch.empty_like(self.activations[-1])
        self._predicted = torch.empty(rows, dtype=torch.int64, device=like.device)
        self._input_grams = like.new_empty(depth, *rows, batch)
        self._delta_grams = like.new_empty(depth, *rows, batch)
        self._layer_projections = like.new_empty(depth, networks)

    def read(self, this: Pass, at: int) -> None:
        """Fetch a step's batch and rates."""
        part = this.examples_of(at)
        rows = self.activations[0].view(self.stack.size * self.batch, -1)
        torch.index_select(this.inputs, 0, this.order[:, part].reshape(-1), out=rows)
        self.labels.copy_(this.labels[:, part, None])
        self.rates.copy_(this.rates[at])

    def compute(self) -> None:
        """Move the stack, and measure what the step was like."""
        self._forward()
        self._record()
        self._backward()
        self._measure_gradient()
        self._update()

    def write(self, this: Pass, at: int) -> None:
        """Leave what was measured with the pass."""
        part = this.examples_of(at)
        this.predictions.log_likelihood[:, part] = self.log_likelihood
        this.predictions.correct[:, part] = self.correct
        this.squared_norms[at] = self.squared_norms
        this.example_squared_norms[at] = self.example_squared_norms
        this.projections[at] = self.projections
        this.scales[at] = self.scales

    def _forward(self) -> None:
        layers = zip(self.stack.weights, self.stack.biases, strict=True)
        for depth, (weight, bias) in enumerate(layers):
            output = self.activations[depth + 1]
            torch.baddbmm(bias, self.activations[depth], weight, out=output)
            if depth + 1 < len(self.stack.weights):
                output.relu_()
        torch.log_softmax(self.activations[-1], dim=2, out=self._log_probabilities)

    def _record(self) -> None:
        torch.gather(self._log_probabilities, 2, self.labels, out=self.log_likelihood[..., None])
        torch.argmax(self.activations[-1], dim=2, out=self._predicted)
        torch.eq(self._predicted, self.labels[..., 0], out=self.correct)

    def _backward(self) -> None:
        """Fill `_deltas[l]` with the gradient of each example's own loss by layer l's outputs."""
        delta = torch.exp(self._log_probabilities, out=self._deltas[-1])
        delta.sub_((self.labels == self._classes).to(delta))
        for depth in range(len(self._deltas) - 1, 0, -1):
            below = self._deltas[depth - 1]
            torch.bmm(self._deltas[depth], self.stack.weights[depth].mT, out=below)
            torch.ops.aten.threshold_backward.grad_input(
                below, self.activations[depth], 0, grad_input=below
            )

    def _measure_gradient(self) -> None:
        """Take the gradient's norms from products of examples, and its product with the weights.

        ‖hᵀd‖² = Σ (hhᵀ ∘ ddᵀ), whose diagonal holds the squared norm of each example's own
        gradient; the bias, a constant input of 1, adds 1 to hhᵀ. ⟨W, hᵀd⟩ + ⟨b, Σd⟩ = Σ (z ∘ d)
        for outputs z = hW + b, and where a rectifier cuts z it cuts d as well.
        """
        for depth, delta in enumerate(self._deltas):
            layer_inputs, outputs = self.activations[depth], self.activations[depth + 1]
            torch.bmm(layer_inputs, layer_inputs.mT, out=self._input_grams[depth])
            torch.bmm(delta, delta.mT, out=self._delta_grams[depth])
            torch.mul(outputs, delta, out=self._products[depth])
            torch.sum(self._products[depth], dim=(1, 2), out=self._layer_projections[depth])
        grams = self._input_grams.add_(1).mul_(self._delta_grams)
        torch.sum(grams, dim=(2, 3), out=self.squared_norms).div_(self.batch**2)
        each = grams.diagonal(dim1=2, dim2=3)
        torch.sum(each, dim=(0, 2), out=self.example_squared_norms).div_(self.batch)
        torch.sum(self._layer_projections, dim=0, out=self.projections).div_(self.batch)

    def _update(self) -> None:
        self.scales.copy_(self.rates)
        if self.clip_norm is not None:
            norm = self.squared_norms.sum(dim=0).clamp_(min=0).sqrt_()
            self.scales.mul_((self.clip_norm / (norm + 1e-6)).clamp_(max=1))
        per_example = (self.scales / self.batch)[:, None, None]
        for depth, delta in enumerate(self._deltas):
            delta.mul_(per_example)
            self.stack.weights[depth].baddbmm_(self.activations[depth].mT, delta, alpha=-1)
            self.stack.biases[depth].sub_(delta.sum(dim=1, keepdim=True))


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
        self._steps: dict[int, _Step] = {}
        self._launches: dict[int, Callable[[], None]] = {}

    def step(self, this: Pass, at: int) -> None:
        """Take one step of a pass and record it there.

        Args:
            this: The pass, started.
            at: Which step, from 0.
        """
        part = this.examples_of(at)
        batch = part.stop - part.start
        if batch not in self._steps:
            # The first step of a size is also what a CUDA device needs to warm up.
            step = self._steps[batch] = _Step(self.stack, batch, self.clip_norm)
            launch = step.compute
        else:
            step = self._steps[batch]
            if batch not in self._launches:
                self._launches[batch] = as_one_launch(step.compute, self.stack.weights[0].device)
            launch = self._launches[batch]
        step.read(this, at)
        launch()
        step.write(this, at)
