"""A dataset on disk: the arrays as published, and the three-way split that training reads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.common.errors import UserError, reading

SIDE, CLASSES = 28, 10

LEAST_STATISTIC = 1e-12
"""Pixels scaled to 0–1 have a larger mean and deviation, if a single one of them is not black."""

Images = NDArray[np.uint8]
Labels = NDArray[np.uint8]


DatasetName = Literal["mnist", "fashion_mnist", "kmnist", "digits"]
TITLES: Mapping[str, str] = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "digits": "Digits",
}


def title(dataset: str) -> str:
    """Write a dataset's name as its authors do."""
    return TITLES.get(dataset, dataset)


@dataclass(frozen=True)
class Published:
    """Images (examples, 28, 28) and labels (examples,), 0 to 9, as the authors give them."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


@dataclass(frozen=True)
class Prepared:
    """The three splits, and the statistics of the training split's pixels scaled to 0–1."""

    train_images: Images
    train_labels: Labels
    validation_images: Images
    validation_labels: Labels
    test_images: Images
    test_labels: Labels
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


Arrays = TypeVar("Arrays", Published, Prepared)


def save(arrays: Published | Prepared, path: Path) -> None:
    """Write the arrays into one compressed file without pickles; equal arrays give equal bytes."""
    np.savez_compressed(path, allow_pickle=False, **vars(arrays))


def load_prepared(data: Path, dataset: str) -> Prepared:
    """Read the splits of a dataset, as `load` does, from the folder that holds processed/."""
    return load(Prepared, data / "processed" / f"{dataset}.npz", f"preprocess@{dataset}")


def load(kind: type[Arrays], path: Path, stage: str) -> Arrays:
    """Read a file that `save` wrote.

    Args:
        kind: What the file holds.
        path: The file.
        stage: The stage of dvc.yaml that makes it, for the remedy.

    Raises:
        UserError: The file is absent, damaged or holds something else.
    """
    command = f"dvc repro --force --single-item {stage}"
    arrays = read_arrays(path, command)
    try:
        loaded = kind(**arrays)
    except TypeError:
        raise UserError(
            f"{path} holds {', '.join(arrays) or 'nothing'} instead of the arrays of {stage}: "
            f"recreate it with: {command}"
        ) from None
    if fault := next(_faults(arrays), None):
        raise UserError(f"{path} is damaged ({fault}): recreate it with: {command}")
    return loaded


def _faults(arrays: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Say which arrays are not what `Published` and `Prepared` declare."""
    for name, array in arrays.items():
        split, _, content = name.partition("_")
        kind = "uint8" if content else "float64"
        shape: tuple[int, ...] = (array.size,) if content else ()
        if content == "images":
            shape = (arrays[f"{split}_labels"].size, SIDE, SIDE)
        if (str(array.dtype), array.shape) != (kind, shape):
            yield f"{name} is {array.dtype} {array.shape} instead of {kind} {shape}"
        if content == "labels" and not set(np.unique(array)) <= {*range(CLASSES)}:
            yield f"{name} has labels other than 0 to {CLASSES - 1}"
        if array.size == 0 and split != "validation":
            yield f"{name} is empty"
        if not content and not LEAST_STATISTIC < array <= 1:
            yield f"{name} is {array}"


def read_arrays(path: Path, command: str) -> dict[str, NDArray[Any]]:
    """Read every array of an .npz file.

    Args:
        path: The file.
        command: What makes it, for the remedy.

    Raises:
        UserError: The file is absent or damaged.
    """
    with reading(path, command):
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except OSError:
            raise
        except Exception as error:
            # NumPy lets Python parse an array's header, so a damaged one can raise any error.
            raise ValueError(str(error)) from None
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} is not an array")
        return arrays
