"""Divide one dataset into training, validation and test, and measure its pixels."""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from sklearn.model_selection import train_test_split

from stages.common.datasets import CLASSES, Labels, Prepared, Published, load, save
from stages.common.errors import UserError, run
from stages.common.parameters import Split, read_params
from stages.common.whole_files import whole_file


class PreprocessParams(BaseModel):
    """The part of params.yaml that preprocessing reads."""

    split: Split


def prepare(published: Published, split: Split) -> Prepared:
    """Hold out the validation examples, each class in proportion, and measure the pixels.

    Raises:
        UserError: A class would be missing from the training or the validation split.
    """
    train, validation = held_out(published.train_labels, split)
    images = published.train_images[train]
    mean, deviation = statistics(np.bincount(images.reshape(-1), minlength=256))
    return Prepared(
        train_images=images,
        train_labels=published.train_labels[train],
        validation_images=published.train_images[validation],
        validation_labels=published.train_labels[validation],
        test_images=published.test_images,
        test_labels=published.test_labels,
        mean=np.array(mean),
        deviation=np.array(deviation),
    )


def flaw(published: Published) -> str | None:
    """Say which class is missing in a part of a dataset, or that it shows nothing; None if fine."""
    for name in ("train_labels", "test_labels"):
        classes = np.unique(getattr(published, name))
        if len(classes) < CLASSES:
            return f"{name} holds no other classes than {', '.join(map(str, classes))}"
    if published.train_images.min() == published.train_images.max():
        return "all pixels of train_images are equal"
    return None


def held_out(labels: Labels, split: Split) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the training and the validation examples, both in the archive's order.

    Raises:
        UserError: A class would be missing from one of the two.
    """
    everything = np.arange(len(labels))
    if split.validation_fraction == 0:
        return everything, everything[:0]
    try:
        train, validation = train_test_split(
            everything,
            test_size=split.validation_fraction,
            random_state=split.seed,
            stratify=labels,
        )
        complete = all(len(np.unique(labels[part])) == CLASSES for part in (train, validation))
    except ValueError:
        complete = False
    if not complete:
        raise UserError(
            f"split.validation_fraction = {split.validation_fraction} leaves a class without "
            f"training or without validation examples: give a share nearer to 0.1 in params.yaml"
        )
    return np.sort(train), np.sort(validation)


def statistics(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Compute mean and standard deviation of pixels, scaled to 0–1, from their histogram.

    Args:
        counts: (256,), how many pixels have each value. Whole numbers, so nothing is rounded
            before the end, whatever the order of the examples.
    """
    values = np.arange(256)
    total = counts.sum()
    mean = (counts * values).sum() / total
    variance = (counts * values**2).sum() / total - mean**2
    return float(mean / 255), float(np.sqrt(variance) / 255)


def describe(prepared: Prepared) -> str:
    """Lay out the size of each split, the examples of each class and the statistics."""
    lines = []
    for name in ("train", "validation", "test"):
        labels = getattr(prepared, f"{name}_labels")
        counts = np.bincount(labels, minlength=CLASSES)
        classes = " ".join(f"{count:5d}" for count in counts)
        lines.append(f"{name:10s} {len(labels):6d} examples; of class 0 to 9: {classes}")
    lines.append(
        f"pixels     mean {prepared.mean:.4f}, standard deviation {prepared.deviation:.4f}"
    )
    return "\n".join(lines)


def main() -> None:
    """Read the arrays as published, write the prepared ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    name, download = f"{arguments.dataset}.npz", f"download@{arguments.dataset}"
    declared = read_params(PreprocessParams, arguments.params)
    path = arguments.data / "raw" / name
    published = load(Published, path, download)
    if fault := flaw(published):
        raise UserError(
            f"{path} is damaged ({fault}): recreate it with: "
            f"dvc repro --force --single-item {download}"
        )
    prepared = prepare(published, declared.split)
    with whole_file(arguments.data / "processed" / name) as draft:
        save(prepared, draft)
    print(describe(prepared), file=sys.stderr)


if __name__ == "__main__":
    run(main)
