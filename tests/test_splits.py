"""The three splits, against scaling by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.common import datasets
from stages.common.datasets import Prepared
from stages.common.errors import UserError
from stages.training.device import device_named
from stages.training.parameters import Normalization
from stages.training.splits import Splits
from stages.training.stack import Stack

CPU = torch.device("cpu")
OWN = Normalization(mean=None, deviation=None)


@pytest.fixture
def prepared(folder: Path) -> Prepared:
    return datasets.load(Prepared, folder / "small.npz", "")


@pytest.mark.parametrize(
    ("normalization", "mean", "deviation"),
    [(Normalization(mean=0.5, deviation=0.2), 0.5, 0.2), (OWN, 0.3, 0.25)],
)
def test_every_split_is_normalized_alike(
    prepared: Prepared, normalization: Normalization, mean: float, deviation: float
) -> None:
    splits = Splits.of(prepared, normalization, CPU)
    for name in ("train", "validation", "test"):
        images, labels = (getattr(prepared, f"{name}_{kind}") for kind in ("images", "labels"))
        split = getattr(splits, name)
        expected = (images.reshape(-1, 784) / 255 - mean) / deviation
        np.testing.assert_allclose(split.inputs[:].numpy(), expected, rtol=1e-5, atol=1e-6)
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == labels.tolist()


def test_the_first_examples_are_taken(prepared: Prepared) -> None:
    train = Splits.of(prepared, OWN, CPU).train
    first = train.first(7)
    assert torch.equal(first.inputs[:], train.inputs[:7])
    assert first.labels.tolist() == prepared.train_labels[:7].tolist()


def test_scores_are_those_of_the_splits_own_labels(prepared: Prepared) -> None:
    stack = Stack.initialized((784, 6, 10), [1, 2])
    for split in vars(Splits.of(prepared, OWN, CPU)).values():
        predicted = stack.logits(split.inputs[:]).argmax(dim=2)
        expected = (predicted == split.labels).double().mean(dim=1)
        assert split.scores_of(stack).accuracy.tolist() == pytest.approx(expected.tolist())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_an_absent_device_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError) as refused:
        device_named("cuda")
    here = "mps, cpu" if torch.backends.mps.is_available() else "cpu"
    assert str(refused.value) == (
        f"params.yaml: device = cuda: this machine has no such device; give auto or one of: {here}"
    )


def test_the_processor_is_always_there() -> None:
    assert device_named("cpu") == CPU
