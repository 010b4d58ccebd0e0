"""The splits of a dataset, normalized and on the device that computes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.common.datasets import Images, Labels, Prepared
from stages.training.parameters import Normalization
from stages.training.pixels import Pixels
from stages.training.stack import Scores, Stack, score


@dataclass(frozen=True)
class Examples:
    """One split, ready to compute with."""

    inputs: Pixels
    labels: Tensor
    """(examples,), int64."""

    @classmethod
    def normalized(
        cls, images: Images, labels: Labels, mean: float, deviation: float, device: torch.device
    ) -> "Examples":
        """Scale pixels to 0–1, then centre and divide them, whenever they are read."""
        return cls(
            inputs=Pixels.normalized(images, mean, deviation, device),
            labels=torch.from_numpy(labels).to(device).long(),
        )

    def first(self, count: int) -> "Examples":
        """Take the first examples."""
        images = replace(self.inputs, bytes=self.inputs.bytes[:count])
        return Examples(images, self.labels[:count])

    def scores_of(self, stack: Stack) -> Scores:
        """Score every network of a stack."""
        return score(stack.predict(self.inputs, self.labels))


@dataclass(frozen=True)
class Splits:
    """The three splits; nothing is ever chosen by the last."""

    train: Examples
    validation: Examples
    test: Examples

    @classmethod
    def of(cls, prepared: Prepared, normalization: Normalization, device: torch.device) -> "Splits":
        """Normalize the splits alike, by the training split's statistics or the fixed ones."""
        mean, deviation = normalization.mean, normalization.deviation
        if mean is None or deviation is None:
            mean, deviation = float(prepared.mean), float(prepared.deviation)

        def ready(images: Images, labels: Labels) -> Examples:
            return Examples.normalized(images, labels, mean, deviation, device)

        return cls(
            train=ready(prepared.train_images, prepared.train_labels),
            validation=ready(prepared.validation_images, prepared.validation_labels),
            test=ready(prepared.test_images, prepared.test_labels),
        )
