"""A stack of ReLU networks of one shape that compute side by side.

Weights are stored as (networks, inputs, outputs), so that one batched matrix product serves the
whole stack. No product mixes two networks, so an overflow in one cannot affect another.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.training.pixels import Pixels


class Predictions(NamedTuple):
    """Each network's predictions for each example of one split, on the stack's device."""

    log_likelihood: Tensor
    """(networks, examples): log of the probability given to the true class."""
    correct: Tensor
    """(networks, examples): whether the largest logit is the true class."""

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Self:
        """Read logits (networks, classes, examples), given labels (networks, examples), int64."""
        return cls(
            log_likelihood=logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0],
            correct=logits.argmax(dim=1) == labels,
        )


class Scores(NamedTuple):
    """Means over the examples of one data split, one value per network, float64 on the CPU."""

    loss: Tensor
    """Cross-entropy in nats."""
    accuracy: Tensor
    """Share of examples whose largest logit is the true class, 0 to 1."""
    mape: Tensor
    """Mean absolute percentage error of the true class's probability, 0 to 100."""

    def spread(self, places: Tensor, size: int, accuracy: float) -> "Scores":
        """Give each network its place in a larger stack.

        Args:
            places: (networks,), each network's number in the larger stack.
            size: How many networks the larger stack has.
            accuracy: Accuracy of the other networks there; their loss and MAPE are NaN.
        """
        blank = torch.full((size,), torch.nan, dtype=torch.float64)
        spread = Scores(blank, torch.full_like(blank, accuracy), blank.clone())
        for whole, part in zip(spread, self, strict=True):
            whole[places] = part
        return spread


def score(predictions: Predictions) -> Scores:
    """Condense what each network said of each example; waits for the device.

    MAPE is `100·mean(|1 − p|)`, p being the probability given to the true class: the true
    probability is 1, which makes the absolute error a percentage of it.
    """
    log_likelihood = predictions.log_likelihood.cpu().double()
    return Scores(
        loss=-log_likelihood.mean(dim=1),
        accuracy=predictions.correct.cpu().double().mean(dim=1),
        mape=100 * -torch.expm1(log_likelihood).mean(dim=1),
    )


@dataclass
class Stack:
    """R networks. Layer l has `weights[l]` (R, inputs, outputs) and `biases[l]` (R, 1, outputs)."""

    weights: list[Tensor]
    biases: list[Tensor]

    @classmethod
    def initialized(cls, widths: Sequence[int], seeds: Sequence[int]) -> Self:
        """Initialize network r as PyTorch's layers are by default, after seeding with seed r.

        Args:
            widths: Units of each layer, from inputs to classes, such as (784, 256, 128, 10).
            seeds: One seed per network. The global random state is left as it was.
        """
        networks = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                pairs = itertools.pairwise(widths)
                networks.append([nn.Linear(inputs, outputs) for inputs, outputs in pairs])
        layers = list(zip(*networks, strict=True))
        return cls(
            weights=[torch.stack([net.weight.detach().T for net in layer]) for layer in layers],
            biases=[torch.stack([net.bias.detach()[None] for net in layer]) for layer in layers],
        )

    def to(self, target: torch.device | torch.dtype) -> Self:
        """Return the stack on another device or in another floating-point type."""
        return type(self)(
            weights=[weight.to(target) for weight in self.weights],
            biases=[bias.to(target) for bias in self.biases],
        )

    @property
    def size(self) -> int:
        """How many networks."""
        return len(self.weights[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each layer, from the inputs to the classes."""
        return (self.weights[0].shape[1], *(weight.shape[2] for weight in self.weights))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Copy the parameters, named `weight_l` and `bias_l`, l from 0."""
        return {
            f"{kind}_{depth}": values.cpu().numpy().copy()
            for kind, parts in (("weight", self.weights), ("bias", self.biases))
            for depth, values in enumerate(parts)
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Self:
        """Make a stack of what `arrays` returned."""
        weights, biases = (
            [torch.from_numpy(arrays[f"{kind}_{depth}"]) for depth in range(len(arrays) // 2)]
            for kind in ("weight", "bias")
        )
        return cls(weights, biases)

    def only(self, networks: Tensor) -> Self:
        """Take some of the networks, given as a mask or as numbers."""
        return type(self)(
            [weight[networks] for weight in self.weights], [bias[networks] for bias in self.biases]
        )

    def put(self, networks: Tensor, others: Self) -> None:
        """Replace the networks that `only` took, in place."""
        for part, other in zip(self._parts(), others._parts(), strict=True):
            part[networks] = other

    def _parts(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def finite(self) -> Tensor:
        """Tell of each network whether all its parameters are finite, (networks,)."""
        parts = [part.isfinite().all(dim=2).all(dim=1) for part in self._parts()]
        return torch.stack(parts).all(dim=0)

    def norms(self) -> Tensor:
        """Compute the norm of all of each network's parameters, (networks,)."""
        parameters = torch.cat([part.flatten(1) for part in self._parts()], dim=1)
        # Scaled first: the squares may overflow although the parameters do not.
        peaks = parameters.abs().amax(dim=1).clamp(min=torch.finfo(parameters.dtype).tiny)
        return (parameters / peaks[:, None]).square().sum(dim=1).sqrt() * peaks

    def activations(self, inputs: Tensor) -> Iterator[Tensor]:
        """Compute layer by layer what inputs (examples, pixels) become.

        Yields:
            (networks, examples, units) after the rectifier of each hidden layer; at the end the
            class scores, (networks, examples, classes).
        """
        hidden = inputs.expand(self.size, -1, -1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = torch.baddbmm(bias, hidden, weight).relu_()
            yield hidden
        yield torch.baddbmm(self.biases[-1], hidden, self.weights[-1])

    def logits(self, inputs: Tensor) -> Tensor:
        """Compute the class scores, (networks, examples, classes), of inputs (examples, pixels)."""
        *_, scores = self.activations(inputs)
        return scores

    def predict(self, inputs: Pixels, labels: Tensor, chunk: int = 500) -> Predictions:
        """Ask every network about one data split.

        Args:
            inputs: The split's images.
            labels: (examples,), int64.
            chunk: Examples computed at once, so few that the activations stay in cache; one more
                where the last example would be left by itself.
        """
        like = self.weights[0]
        logits = like.new_empty(self.size, self.widths[-1], len(inputs))
        if len(inputs) % chunk == 1:
            # One example by itself would round differently with one network than with several.
            chunk += 1
        for start in range(0, len(inputs), chunk):
            part = slice(start, start + chunk)
            logits[..., part] = self.logits(inputs[part]).mT
        return Predictions.of(logits, labels.expand(self.size, -1))
