"""One step of plain stochastic gradient descent for a whole stack, its backward pass written out.

The update rides in the matrix product that makes the gradient, so no gradient is ever stored; its
norm comes from products of examples instead (Goodfellow, "Efficient per-example gradient
computations", 2015). Every buffer is allocated once: at this size, fresh memory a step costs more
than the arithmetic.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from stages.core.launch import as_one_launch
from stages.core.pixels import Pixels
from stages.core.stack import Predictions, Stack


@dataclass
class Pass:
    """One pass over the training examples: what its steps read, and what they leave behind.

    Step t takes the examples t·batch up to (t + 1)·batch of each network's own order; the last
    step takes what is left. Nothing here is read back before the pass is over.
    """

    inputs: Pixels
    labels: Tensor
    """(networks, examples), int64, in each network's order."""
    order: Tensor
    """(networks, examples), int64: which example network r sees as its n-th."""
    rates: Tensor
    """(steps, networks): the learning rates."""
    batch: int
    """Examples a step, for each network."""
    logits: Tensor = field(init=False)
    """(networks, classes, examples): what each network said, in order, just before the step that
    the example took part in."""
    measures: Tensor = field(init=False)
    """(steps, rows, networks): what each step was like; the properties below name the rows."""
    start_squared_norms: Tensor = field(init=False)
    """(networks,): squared norm of the parameters before the first step."""

    def start(self, stack: Stack) -> None:
        """Make room for what the steps leave behind."""
        like = stack.weights[0]
        networks, examples = self.order.shape
        self.logits = like.new_empty(networks, stack.widths[-1], examples)
        self.measures = like.new_empty(len(self.rates), 2 * len(stack.weights) + 2, stack.size)
        self.start_squared_norms = stack.squared_norms()

    @property
    def layers(self) -> int:
        """How many layers the networks have."""
        return self.measures.shape[1] // 2 - 1

    @property
    def squared_norms(self) -> Tensor:
        """(steps, layers, networks): squared norm of each layer's part of the gradient.

        It is the gradient of the mean loss, weights and biases together, before any clipping.
        """
        return self.measures[:, : self.layers]

    @property
    def projections(self) -> Tensor:
        """(steps, networks): scalar product of the gradient of the mean loss and the parameters."""
        return self.measures[:, self.layers : -2].sum(dim=1)

    @property
    def example_squared_norms(self) -> Tensor:
        """(steps, networks): squared norm of one example's own gradient, mean over the batch."""
        return self.measures[:, -2]

    @property
    def scales(self) -> Tensor:
        """(steps, networks): what the gradient was multiplied by, learning rate times clipping."""
        return self.measures[:, -1]

    @cached_property
    def predictions(self) -> Predictions:
        """What each network said of each example; to be asked when the pass is over."""
        return Predictions.of(self.logits, self.labels)

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
        self.targets = torch.empty_like(self.activations[-1])
        self.rates = like.new_empty(networks)
        self.measures = like.new_empty(2 * depth + 2, networks)

        self._squared_norms = self.measures[:depth]
        self._projections = self.measures[depth:-2]
        self._example_squared_norms, self._scales = self.measures[-2:]
        self._bytes = torch.empty(
            networks * batch, stack.widths[0], dtype=torch.uint8, device=like.device
        )
        self._one_hot = torch.eye(stack.widths[-1]).to(like)
        self._ones = like.new_ones(networks, 1, batch)
        self._logits = like.new_empty(networks, stack.widths[-1], batch)
        self._probabilities = torch.empty_like(self._logits)
        self._deltas = [torch.empty_like(activation) for activation in self.activations[1:]]
        self._input_grams = like.new_empty(depth, *rows, batch)
        self._delta_grams = like.new_empty(depth, *rows, batch)

    def read(self, this: Pass, at: int) -> None:
        """Fetch a step's batch and rates."""
        part = this.examples_of(at)
        chosen, labels = this.order[:, part].reshape(-1), this.labels[:, part].reshape(-1)
        this.inputs.fetch(chosen, self._bytes, out=self.activations[0].flatten(0, 1))
        torch.index_select(self._one_hot, 0, labels, out=self.targets.flatten(0, 1))
        self.rates.copy_(this.rates[at])

    def compute(self) -> None:
        """Move the stack, and measure what the step was like."""
        self._forward()
        self._backward()
        self._measure_gradient()
        self._update()

    def write(self, this: Pass, at: int) -> None:
        """Leave what was measured with the pass."""
        this.logits[..., this.examples_of(at)] = self._logits
        this.measures[at] = self.measures

    def _forward(self) -> None:
        layers = zip(self.stack.weights, self.stack.biases, strict=True)
        for depth, (weight, bias) in enumerate(layers):
            output = self.activations[depth + 1]
            torch.baddbmm(bias, self.activations[depth], weight, out=output)
            if depth + 1 < len(self.stack.weights):
                output.relu_()

    def _backward(self) -> None:
        """Fill `_deltas[l]` with the gradient of the mean loss by layer l's outputs."""
        # Ten classes side by side would fill no vector register: they are laid out the other way.
        torch.softmax(self._logits.copy_(self.activations[-1].mT), dim=1, out=self._probabilities)
        delta = torch.sub(self._probabilities.mT, self.targets, out=self._deltas[-1])
        delta.mul_(1 / self.batch)
        for depth in range(len(self._deltas) - 1, 0, -1):
            below = self._deltas[depth - 1]
            torch.bmm(self._deltas[depth], self.stack.weights[depth].mT, out=below)
            torch.ops.aten.threshold_backward.grad_input(
                below, self.activations[depth], 0, grad_input=below
            )

    def _measure_gradient(self) -> None:
        """Take the gradient's norms from products of examples, and its product with the weights.

        ‖hᵀd‖² = Σ (hhᵀ ∘ ddᵀ), whose diagonal holds the squared norm of what each example adds to
        the gradient; the bias, a constant input of 1, adds 1 to hhᵀ. ⟨W, hᵀd⟩ + ⟨b, Σd⟩ = Σ (z ∘ d)
        for outputs z = hW + b, and where a rectifier cuts z it cuts d as well.
        """
        for depth, delta in enumerate(self._deltas):
            layer_inputs, outputs = self.activations[depth], self.activations[depth + 1]
            torch.bmm(layer_inputs, layer_inputs.mT, out=self._input_grams[depth])
            torch.bmm(delta, delta.mT, out=self._delta_grams[depth])
            torch.linalg.vecdot(outputs.flatten(1), delta.flatten(1), out=self._projections[depth])
        # d + g·d, which is (g + 1)·d in one go.
        grams = torch.addcmul(
            self._delta_grams, self._input_grams, self._delta_grams, out=self._input_grams
        )
        torch.sum(grams, dim=(2, 3), out=self._squared_norms)
        each = grams.diagonal(dim1=2, dim2=3)
        torch.sum(each, dim=(0, 2), out=self._example_squared_norms).mul_(self.batch)

    def _update(self) -> None:
        self._scales.copy_(self.rates)
        if self.clip_norm is not None:
            norm = self._squared_norms.sum(dim=0).clamp_(min=0).sqrt_()
            self._scales.mul_((self.clip_norm / (norm + 1e-6)).clamp_(max=1))
        for depth, delta in enumerate(self._deltas):
            delta.mul_(self._scales[:, None, None])
            self.stack.weights[depth].baddbmm_(self.activations[depth].mT, delta, alpha=-1)
            self.stack.biases[depth].baddbmm_(self._ones, delta, alpha=-1)


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
