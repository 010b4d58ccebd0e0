"""Fetch one dataset as its authors published it: torchvision's archives, or scikit-learn's digits.

`DATASETS_MIRROR` names another source of the archives, a URL or a folder, in which each dataset
has a folder of torchvision's name for it: `MNIST/train-images-idx3-ubyte.gz` and so on.
"""

import argparse
import errno
import os
import shutil
import socket
import tempfile
from http.client import HTTPException
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from sklearn.datasets import load_digits
from torchvision.datasets import KMNIST, MNIST, FashionMNIST
from torchvision.datasets.utils import calculate_md5

from stages.core.datasets import SIDE, DatasetName, Images, Published, save
from stages.core.errors import UserError, run
from stages.core.files import whole_file

ARCHIVES: dict[DatasetName, type[MNIST]] = {
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
    "kmnist": KMNIST,
}
PATIENCE_SECONDS = 5
WAYS_ON = (
    "Set DATASETS_MIRROR to a URL or a folder that holds {folder}/{archive}, "
    "or see the pipeline run without any download: make demo"
)


def fetch(dataset: DatasetName, mirror: str, scratch: Path) -> Published:
    """Get one dataset, its archives checked against the checksums that torchvision pins.

    Args:
        dataset: Which one.
        mirror: URL or folder to take the archives from; empty: torchvision's own addresses.
        scratch: An existing folder for the archives.

    Raises:
        UserError: An archive is damaged or out of reach; names it and the ways on.
    """
    if dataset == "digits":
        return digits()
    source = ARCHIVES[dataset]
    if mirror and not mirror.startswith(("http://", "https://")):
        copy_archives(source, Path(mirror).expanduser(), scratch)
    elif mirror:
        source = with_mirror(source, mirror)
    torchvision_sets = [_load(source, scratch, train) for train in (True, False)]
    train, test = torchvision_sets
    return Published(
        train_images=train.data.numpy(),
        train_labels=train.targets.numpy().astype(np.uint8),
        test_images=test.data.numpy(),
        test_labels=test.targets.numpy().astype(np.uint8),
    )


def with_mirror(source: type[MNIST], mirror: str) -> type[MNIST]:
    """Make a torchvision dataset that asks one other address and no more."""
    return type(
        source.__name__, (source,), {"mirrors": [f"{mirror.rstrip('/')}/{source.__name__}/"]}
    )


def copy_archives(source: type[MNIST], mirror: Path, root: Path) -> None:
    """Lay the archives of a mirror folder where torchvision looks for what it has already.

    Raises:
        UserError: An archive is absent, or is not the one that torchvision pins.
    """
    folder = root / source.__name__ / "raw"
    folder.mkdir(parents=True)
    for name, expected in source.resources:
        archive = mirror.resolve() / source.__name__ / name
        if not archive.is_file():
            raise UserError(
                f"{archive} does not exist, though DATASETS_MIRROR is {mirror}: "
                f"put the archive there, or unset DATASETS_MIRROR to download it"
            )
        found = calculate_md5(archive)
        if found != expected:
            raise UserError(
                f"{archive} is damaged or another file (MD5 {found} instead of {expected}): "
                f"replace it, or unset DATASETS_MIRROR to download it"
            )
        shutil.copy(archive, folder / name)


def _load(source: type[MNIST], root: Path, train: bool) -> MNIST:
    try:
        return source(root=str(root), train=train, download=True)
    except (RuntimeError, HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        ways_on = WAYS_ON.format(folder=source.__name__, archive=source.resources[0][0])
        raise UserError(f"{source.__name__} cannot be downloaded. {reason}. {ways_on}") from None


def digits() -> Published:
    """Scale scikit-learn's 8×8 digits (0 to 16) to 28×28 bytes; every sixth is for the test."""
    bunch = load_digits()
    images = scaled(torch.tensor(bunch.images))
    labels = bunch.target.astype(np.uint8)
    test = np.arange(len(labels)) % 6 == 5
    return Published(images[~test], labels[~test], images[test], labels[test])


def scaled(images: torch.Tensor) -> Images:
    """Scale images (examples, 8, 8), values 0 to 16, to (examples, 28, 28), values 0 to 255."""
    larger = torch.nn.functional.interpolate(
        images[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False
    )
    return (larger[:, 0] * (255 / 16)).round().to(torch.uint8).numpy()


def main() -> None:
    """Write one dataset's arrays as published."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("published", type=Path)
    arguments = parser.parse_args()
    known = get_args(DatasetName)
    if arguments.dataset not in known:
        raise UserError(
            f"params.yaml: datasets: {arguments.dataset} is unknown; "
            f"give some of {', '.join(known)}"
        )
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    mirror = os.environ.get("DATASETS_MIRROR", "")
    try:
        with (
            whole_file(arguments.published) as draft,
            tempfile.TemporaryDirectory(dir=draft.parent) as scratch,
        ):
            save(fetch(arguments.dataset, mirror, Path(scratch)), draft)
    except OSError as error:
        raise UserError(
            f"{arguments.published} cannot be written ({error.strerror}): 100 MB are needed"
        ) from None


if __name__ == "__main__":
    run(main)
