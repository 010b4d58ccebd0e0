"""Ways to train the study's network: ours, and the usual alternatives."""

import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from stages.common import datasets
from stages.common.datasets import Prepared
from stages.training.pixels import Pixels
from stages.training.sgd import Pass, StochasticGradientDescent
from stages.training.stack import Stack, score

WIDTHS = (784, 256, 128, 10)
BATCH = 32
RATE = 0.1
MODEL_EPOCH = 60_000
SLIGHTLY = -1e-9
"""Factor of the updates in `Products`: with 0 the library would skip the matrix products."""


def random_examples() -> Prepared:
    """Draw images and labels like MNIST's in number and size; the first ones are the test split."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 54_000).astype(np.uint8)
    images = generator.integers(0, 256, (54_000, 28, 28)).astype(np.uint8)
    test = images[:1000], labels[:1000]
    return Prepared(images, labels, *test, *test, np.array(0.5), np.array(0.29))


class Data:
    """The examples that all contestants train on: real ones, or random ones without the file."""

    def __init__(self, path: Path) -> None:
        if path.is_file():
            self.source = str(path)
            self.prepared = datasets.load(Prepared, path, f"preprocess@{path.stem}")
        else:
            self.source = f"random images, because {path} does not exist"
            self.prepared = random_examples()
        self.images, self.labels = self.prepared.train_images, self.prepared.train_labels
        self.test_labels = self.prepared.test_labels
        self.mean, self.deviation = float(self.prepared.mean), float(self.prepared.deviation)
        self.pixels, self.test_pixels = (
            Pixels.normalized(images, self.mean, self.deviation, torch.device("cpu"))
            for images in (self.images, self.prepared.test_images)
        )
        self.inputs, self.test_inputs = self.pixels[:], self.test_pixels[:]
        self.targets = torch.from_numpy(self.labels).long()
        self.test_targets = torch.from_numpy(self.test_labels).long()


class Contestant(ABC):
    """A way to train; `threads` is what it runs with."""

    networks = 1
    way = "ours"
    """The way to train; contestants of the same way differ only in their settings."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self.name, self.threads = name, threads

    @abstractmethod
    def run(self, steps: int) -> None:
        """Take so many steps of each network."""

    @abstractmethod
    def accuracy(self) -> float:
        """Score the first network on the test split."""


class OurStack(Contestant):
    """The study's engine."""

    def __init__(self, data: Data, networks: int, name: str) -> None:
        super().__init__(name)
        self.data, self.networks = data, networks
        self.stack = Stack.initialized(WIDTHS, range(networks))
        self.descent = StochasticGradientDescent(self.stack)
        self.generator = torch.Generator().manual_seed(0)

    def run(self, steps: int) -> None:
        """Take the steps of one short pass."""
        order = torch.stack(
            [
                torch.randperm(len(self.data.inputs), generator=self.generator)[: steps * BATCH]
                for _ in range(self.networks)
            ]
        )
        rates = torch.full((steps, self.networks), RATE)
        this = Pass(self.data.pixels, self.data.targets[order], order, rates, BATCH)
        with torch.inference_mode():
            this.start(self.stack)
            for step in range(steps):
                self.descent.step(this, step)
            score(this.predictions)

    def accuracy(self) -> float:
        """Score the first network."""
        scores = score(self.stack.predict(self.data.test_pixels, self.data.test_targets))
        return float(scores.accuracy[0])


class Products(OurStack):
    """A lower bound on time: only the eight batched matrix products of a step."""

    def __init__(self, data: Data, networks: int) -> None:
        super().__init__(data, networks, f"floor: 8 products, {networks}")
        like = self.stack.weights[0]
        self.activations = [like.new_ones(networks, BATCH, width) for width in WIDTHS]
        self.deltas = [torch.ones_like(each) for each in self.activations]

    def run(self, steps: int) -> None:
        """Multiply what the step multiplies."""
        weights, activations, deltas = self.stack.weights, self.activations, self.deltas
        with torch.inference_mode():
            for _ in range(steps):
                for depth, weight in enumerate(weights):
                    torch.bmm(activations[depth], weight, out=deltas[depth + 1])
                for depth in range(len(weights) - 1, 0, -1):
                    torch.bmm(deltas[depth + 1], weights[depth].mT, out=deltas[depth])
                for depth, weight in enumerate(weights):
                    weight.baddbmm_(activations[depth].mT, deltas[depth + 1], alpha=SLIGHTLY)


def module() -> nn.Sequential:
    """Build the study's network the usual way."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class InMemory(Contestant):
    """PyTorch as one would write it with the dataset as a tensor: autograd, torch.optim.SGD."""

    way = "PyTorch in memory"

    def __init__(self, data: Data, threads: int) -> None:
        super().__init__(f"PyTorch, tensors in memory, {threads} thread(s)", threads)
        self.data, self.model = data, module()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE)

    def batches(self, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield shuffled batches."""
        for chosen in torch.split(torch.randperm(len(self.data.inputs))[: steps * BATCH], BATCH):
            yield self.data.inputs[chosen], self.data.targets[chosen]

    def run(self, steps: int) -> None:
        """Take the steps with autograd."""
        for inputs, targets in self.batches(steps):
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(inputs), targets)
            torch.autograd.backward(loss)
            self.optimizer.step()

    def accuracy(self) -> float:
        """Score the network."""
        with torch.no_grad():
            predicted = self.model(self.data.test_inputs).argmax(dim=1)
        return float((predicted == self.data.test_targets).double().mean())


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's MNIST hands them out, one PIL image at a time."""

    def __init__(self, data: Data) -> None:
        self.images, self.labels = torch.from_numpy(data.images), data.labels
        self.transform: Callable[[Any], Tensor] = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((data.mean,), (data.deviation,))]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.images[index].numpy(), mode="L")
        return self.transform(picture), int(self.labels[index])


class Notebook(InMemory):
    """The notebook's way: dataset, transforms, DataLoader with 4 workers, `.item()` each step."""

    way = "notebook"

    def __init__(self, data: Data, threads: int) -> None:
        super().__init__(data, threads)
        self.name = f"notebook's loop, DataLoader with 4 workers, {threads} thread(s)"
        self.loader = DataLoader(
            Pictures(data), batch_size=BATCH, shuffle=True, num_workers=4, persistent_workers=True
        )
        self.stream = self.endless()

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches epoch after epoch, so that a round does not pay for the workers' start."""
        while True:
            yield from self.loader

    def run(self, steps: int) -> None:
        """Take the steps as the notebook does."""
        running = 0.0
        for _ in range(steps):
            inputs, targets = next(self.stream)
            self.optimizer.zero_grad()
            logits = self.model(inputs)
            loss = nn.functional.cross_entropy(logits, targets)
            torch.autograd.backward(loss)
            self.optimizer.step()
            running += loss.item() * len(targets)
            running += (logits.argmax(dim=1) == targets).sum().item()


class ScikitLearn(Contestant):
    """scikit-learn's MLPClassifier, plain SGD."""

    way = "scikit-learn"

    def __init__(self, data: Data, threads: int) -> None:
        super().__init__(f"scikit-learn MLPClassifier, {threads} thread(s)", threads)
        self.data = data
        self.model = MLPClassifier(
            hidden_layer_sizes=WIDTHS[1:-1],
            solver="sgd",
            momentum=0,
            alpha=0,
            batch_size=BATCH,
            learning_rate_init=RATE,
            max_iter=1,
        )
        self.inputs = data.inputs.numpy()

    def run(self, steps: int) -> None:
        """Take the steps as one partial fit."""
        chosen = np.random.default_rng(0).permutation(len(self.inputs))[: steps * BATCH]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.partial_fit(
                self.inputs[chosen], self.data.labels[chosen], classes=np.arange(10)
            )

    def accuracy(self) -> float:
        """Score the network."""
        return float(self.model.score(self.data.test_inputs.numpy(), self.data.test_labels))
