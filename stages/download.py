"""Fetch one dataset as its authors published it: torchvision's archives, or scikit-learn's digits.

`DATASETS_MIRROR` names another source of the archives: a URL or a folder. Each dataset lies there
in a folder with torchvision's name for it: `MNIST/train-images-idx3-ubyte.gz` and so on.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from stages.common.datasets import SIDE, DatasetName, Images, Published, save
from stages.common.errors import UserError, run
from stages.common.whole_files import whole_file


def fetch(dataset: DatasetName, mirror: str, scratch: Path) -> Published:
    """Get one dataset; see `archives.fetch_archives`."""
    if dataset == "digits":
        return digits()
    # Imported only here, as torchvision takes seconds.
    from stages.archives import ARCHIVES, fetch_archives  # noqa: PLC0415

    return fetch_archives(ARCHIVES[dataset], mirror, scratch)


def digits() -> Published:
    """Scale scikit-learn's 8×8 digits (0 to 16) to 28×28 bytes; every sixth is for the test."""
    bunch = load_digits()
    images = scaled(bunch.images)
    labels = bunch.target.astype(np.uint8)
    test = np.arange(len(labels)) % 6 == 5
    return Published(images[~test], labels[~test], images[test], labels[test])


def scaled(images: NDArray[np.float64]) -> Images:
    """Scale images (examples, 8, 8), values 0 to 16, to (examples, 28, 28), values 0 to 255."""
    factor = SIDE / images.shape[-1]
    larger = zoom(images, (1, factor, factor), order=1, mode="nearest", grid_mode=True)
    return (larger * (255 / 16)).round().astype(np.uint8)


def main() -> None:
    """Write one dataset's arrays as published."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--dataset", required=True)
    arguments = parser.parse_args()
    known = get_args(DatasetName)
    if arguments.dataset not in known:
        raise UserError(f"dataset {arguments.dataset} is unknown: give one of {', '.join(known)}")
    mirror = os.environ.get("DATASETS_MIRROR", "")
    path = arguments.data / "raw" / f"{arguments.dataset}.npz"
    with whole_file(path) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
        save(fetch(arguments.dataset, mirror, Path(scratch)), draft)


if __name__ == "__main__":
    run(main)
