"""One step of plain stochastic gradient descent for a whole stack, its backward pass written out.

The matrix product that computes the gradient adds it to the weights at once, so no gradient is ever
stored. Its norm comes from products of examples instead (Goodfellow, "Efficient per-example
gradient computations", 2015). Every buffer is allocated once: at this size, fresh memory in every
step costs more than the arithmetic. No norm overflows before the gradient does: whatever is squared
is divided by its largest element first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, reduce

import torch
from torch import Tensor

from stages.training.cuda_graph import as_one_launch
from stages.training.pixels import Pixels
from stages.training.stack import Predictions, Stack


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
    """(networks, examples), int64: entry (r, n) numbers the n-th example that network r sees."""
    rates: Tensor
    """(steps, networks): the learning rates."""
    batch: int
    """Examples in a step, for each network."""
    logits: Tensor = field(init=False)
    """(networks, classes, examples), examples in each network's order: the logits just before the
    step that the example took part in."""
    measures: Tensor = field(init=False)
    """(steps, rows, networks): what each step was like; the properties below name the rows."""
    start_norms: Tensor = field(init=False)
    """(networks,): norm of the parameters before the first step."""

    def start(self, stack: Stack) -> None:
        """Allocate what the steps fill in."""
        like = stack.weights[0]
        networks, examples = self.order.shape
        self.logits = like.new_empty(networks, stack.widths[-1], examples)
        self.measures = like.new_empty(len(self.rates), 3 * len(stack.weights) + 1, stack.size)
        self.start_norms = stack.norms()

    @property
    def layers(self) -> int:
        """How many layers the networks have."""
        return self.measures.shape[1] // 3

    @property
    def layer_gradient_norms(self) -> Tensor:
        """(steps, layers, networks): norm of each layer's part of the gradient.

        It is the gradient of the mean loss, weights and biases together, before any clipping.
        """
        return self.measures[:, : self.layers]

    @property
    def layer_example_norms(self) -> Tensor:
        """(steps, layers, networks): norm of each layer's part of one example's own gradient.

        It is the root mean square of that norm over the batch.
        """
        return self.measures[:, self.layers : 2 * self.layers]

    @property
    def projections(self) -> Tensor:
        """(steps, layers, networks): each layer's part of the scalar product ⟨gradient, θ⟩.

        The gradient is that of the mean loss, θ all parameters before the step.
        """
        return self.measures[:, 2 * self.layers : -1]

    @property
    def scales(self) -> Tensor:
        """(steps, networks): what the gradient was multiplied by, learning rate times clipping."""
        return self.measures[:, -1]

    @cached_property
    def predictions(self) -> Predictions:
        """Each network's predictions for its examples. Cached: read it after the pass is over."""
        return Predictions.of(self.logits, self.labels)

    def examples_of(self, step: int) -> slice:
        """Say which columns of `order` a step takes."""
        return slice(step * self.batch, min((step + 1) * self.batch, self.order.shape[1]))

    def step_losses(self) -> Tensor:
        """Compute the mean loss of each batch, (steps, networks)."""
        batches = torch.split(self.predictions.log_likelihood, self.batch, dim=1)
        return -torch.stack([batch.mean(dim=1) for batch in batches])

    def step_accuracies(self) -> Tensor:
        """Compute the share of each batch that was classified correctly, (steps, networks)."""
        batches = torch.split(self.predictions.correct.float(), self.batch, dim=1)
        return torch.stack([batch.mean(dim=1) for batch in batches])

    def gradient_norms(self) -> Tensor:
        """Compute the global norm of each step's gradient, (steps, networks)."""
        return _norm_of_parts(self.layer_gradient_norms.transpose(0, 1))

    def example_norms(self) -> Tensor:
        """Compute the root mean square of the norm of one example's gradient, (steps, networks)."""
        return _norm_of_parts(self.layer_example_norms.transpose(0, 1))

    def parameter_norms(self) -> Tensor:
        """Compute the norm of all parameters before each step, (steps, networks), float64.

        ‖θ − s·g‖² = ‖θ‖² − 2s⟨θ, g⟩ + s²‖g‖², step by step from the norm at the start.
        """
        # On the CPU: MPS has no float64, without which the squares would overflow.
        start, scales, norms, projections = (
            values.cpu().double()
            for values in (self.start_norms, self.scales, self.gradient_norms(), self.projections)
        )
        growth = (scales * norms).square() - 2 * scales * projections.sum(dim=1)
        # Shifted before the sum: adding a huge value and subtracting it again would lose the rest.
        squared = torch.cat([start.square()[None], growth[:-1]]).cumsum(dim=0)
        return squared.clamp(min=0).sqrt()


def _norm_of_parts(parts: Tensor) -> Tensor:
    """Combine the norms of parts, (parts, …), into the norm of the whole, (…)."""
    norm: Tensor = reduce(torch.hypot, parts)
    return norm


class _Step:
    """One step for batches of one size, with its own buffers.

    The buffers keep their addresses, so that `compute` can be recorded as a CUDA graph.
    """

    def __init__(self, stack: Stack, batch: int, clip_norm: float | None) -> None:
        self.stack, self.batch, self.clip_norm = stack, batch, clip_norm
        like = stack.weights[0]
        networks, depth = stack.size, len(stack.weights)
        rows = (networks, batch)
        self.activations = [like.new_empty(*rows, width) for width in stack.widths]
        self.targets = torch.empty_like(self.activations[-1])
        self.rates = like.new_empty(networks)
        self.measures = like.new_empty(3 * depth + 1, networks)

        self._gradient_norms, self._example_norms, self._projections = self.measures[:-1].view(
            3, depth, networks
        )
        self._norms = self.measures[: 2 * depth].view(2, depth, networks)
        self._scales = self.measures[-1]
        self._bytes = torch.empty(
            networks * batch, stack.widths[0], dtype=torch.uint8, device=like.device
        )
        self._one_hot = torch.eye(stack.widths[-1]).to(like)
        # Two rows, of which one is used: a product of one row with a single network is computed by
        # another routine, which rounds differently.
        self._ones = like.new_ones(networks, 2, batch)
        self._bias_steps = [like.new_empty(networks, 2, width) for width in stack.widths[1:]]
        self._logits = like.new_empty(networks, stack.widths[-1], batch)
        self._probabilities = torch.empty_like(self._logits)
        self._deltas = [torch.empty_like(activation) for activation in self.activations[1:]]
        # A peak is a largest absolute value. Pixels and the last layer's deltas need no scaling, as
        # they are bounded: their peaks stay 1.
        self._input_peaks, self._delta_peaks = like.new_ones(2, depth, networks)
        self._input_grams = like.new_empty(depth, *rows, batch)
        self._delta_grams = like.new_empty(depth, *rows, batch)
        self._scratch = [torch.empty_like(delta) for delta in self._deltas]
        self._bounded = [
            (self.activations[0], self._input_grams[0]),
            (self._deltas[-1], self._delta_grams[-1]),
        ]
        # The bias counts as a constant input of 1, so the peak of a layer's inputs is at least 1.
        tiny = torch.finfo(like.dtype).tiny
        self._unbounded = [
            (values, least, peaks[:, None, None], scratch, gram)
            for least, layers in (
                (1, (self.activations[1:-1], self._input_peaks[1:], self._input_grams[1:])),
                (tiny, (self._deltas[:-1], self._delta_peaks[:-1], self._delta_grams[:-1])),
            )
            for values, peaks, gram, scratch in zip(*layers, self._scratch[:-1], strict=True)
        ]

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
        self._project()
        self._update()

    def write(self, this: Pass, at: int) -> None:
        """Copy the step's logits and measurements into the pass."""
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
        """Fill `_deltas[l]` with the mean loss's gradient with respect to layer l's outputs."""
        # Transposed: many examples side by side fill the processor's vector registers, ten classes
        # would not.
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
        """Compute the gradient's norms from inner products between examples.

        With a layer's inputs h and deltas d, the gradient is hᵀd, and ‖hᵀd‖² = Σ (hhᵀ ∘ ddᵀ). The
        diagonal of hhᵀ ∘ ddᵀ holds the squared norm of what each example adds to the gradient. The
        bias, a constant input of 1, adds 1 to every element of hhᵀ.
        """
        self._take_grams()
        # Each Gram matrix is divided by its squared peak, so the bias's 1 must be, too.
        biases = self._input_peaks[..., None, None] ** -2
        grams = self._input_grams.add_(biases).mul_(self._delta_grams)
        torch.sum(grams, dim=(2, 3), out=self._gradient_norms).clamp_(min=0)
        each = grams.diagonal(dim1=2, dim2=3)
        torch.sum(each, dim=2, out=self._example_norms).mul_(self.batch)
        self._norms.sqrt_().mul_(self._input_peaks * self._delta_peaks)

    def _take_grams(self) -> None:
        """Compute the Gram matrices of the examples in a batch: hhᵀ and ddᵀ of every layer.

        Hidden activations and their deltas have no bound. They are divided by their peak, the
        largest absolute value, so that the squares do not overflow.
        """
        for values, gram in self._bounded:
            torch.bmm(values, values.mT, out=gram)
        for values, least, peaks, scratch, gram in self._unbounded:
            torch.abs(values, out=scratch)
            torch.amax(scratch, dim=(1, 2), keepdim=True, out=peaks).clamp_(min=least)
            torch.div(values, peaks, out=scratch)
            torch.bmm(scratch, scratch.mT, out=gram)

    def _project(self) -> None:
        """Multiply the gradient with the parameters.

        ⟨W, hᵀd⟩ + ⟨b, Σd⟩ = Σ (z ∘ d) for a layer's outputs z = hW + b; where a rectifier cuts z it
        cuts d as well.
        """
        layers = zip(self.activations[1:], self._deltas, self._scratch, strict=True)
        for depth, (outputs, delta, scratch) in enumerate(layers):
            torch.mul(outputs, delta, out=scratch)
            torch.sum(scratch, dim=(1, 2), out=self._projections[depth])

    def _update(self) -> None:
        self._scales.copy_(self.rates)
        if self.clip_norm is not None:
            norm = _norm_of_parts(self._gradient_norms)
            self._scales.mul_((self.clip_norm / (norm + 1e-6)).clamp_(max=1))
        for depth, delta in enumerate(self._deltas):
            delta.mul_(self._scales[:, None, None])
            self.stack.weights[depth].baddbmm_(self.activations[depth].mT, delta, alpha=-1)
            torch.bmm(self._ones, delta, out=self._bias_steps[depth])
            self.stack.biases[depth].sub_(self._bias_steps[depth][:, :1])


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
