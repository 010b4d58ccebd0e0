"""Fetch the archives of one dataset as torchvision names and checks them."""

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import certifi
import numpy as np
from torchvision.datasets import KMNIST, MNIST, FashionMNIST
from torchvision.datasets.utils import calculate_md5
from tqdm import tqdm

from stages.common.datasets import DatasetName, Published
from stages.common.errors import UserError


class Archives(NamedTuple):
    """A dataset of torchvision's, which pins the archives' checksums, and their sizes in bytes."""

    source: type[MNIST]
    sizes: tuple[int, ...]


ARCHIVES: dict[DatasetName, Archives] = {
    "mnist": Archives(MNIST, (9_912_422, 28_881, 1_648_877, 4_542)),
    "fashion_mnist": Archives(FashionMNIST, (26_421_880, 29_515, 4_422_102, 5_148)),
    # As TensorFlow Datasets has recorded them.
    "kmnist": Archives(KMNIST, (18_165_135, 29_497, 3_041_136, 5_120)),
}
# A mirror is given up if it does not send PIECE_KIB within PATIENCE_SECONDS. At 26 KiB/s, the
# largest archive still arrives, in 17 minutes. A limit of one minute for the whole archive would
# require 430 KiB/s. If two mirrors in turn are too slow, both are given up within a minute.
PIECE_KIB = 512
PATIENCE_SECONDS = 20
WAYS_ON = (
    "Set DATASETS_MIRROR to a URL or a folder that holds {folder}/{archive}, "
    "or see the pipeline run without any download: make demo"
)


def fetch_archives(
    archives: Archives, mirror: str, scratch: Path, patience: float = PATIENCE_SECONDS
) -> Published:
    """Get the archives of a dataset, checked against the checksums that torchvision pins.

    Args:
        archives: The dataset.
        mirror: URL or folder to take the archives from; empty: torchvision's own addresses.
        scratch: An existing folder for the archives.
        patience: Seconds that a mirror may take to answer, and again for each piece it sends.

    Raises:
        UserError: An archive is damaged or out of reach; names it and the ways on.
    """
    source = archives.source
    folder = scratch / source.__name__ / "raw"  # where torchvision looks for what it has already
    folder.mkdir(parents=True)
    if not mirror:
        download_archives(archives, source.mirrors, folder, patience)
    elif mirror.lower().startswith(("http://", "https://")):
        address = f"{mirror.rstrip('/')}/{source.__name__}/"
        download_archives(archives, [address], folder, patience)
    else:
        copy_archives(source, mirror, folder)
    train, test = (
        source(str(scratch), train=training, download=True) for training in (True, False)
    )
    return Published(
        train_images=train.data.numpy(),
        train_labels=train.targets.numpy().astype(np.uint8),
        test_images=test.data.numpy(),
        test_labels=test.targets.numpy().astype(np.uint8),
    )


def copy_archives(source: type[MNIST], mirror: str, folder: Path) -> None:
    """Copy the archives of a mirror folder.

    Raises:
        UserError: An archive is absent, or is not the one that torchvision pins.
    """
    # os.path leaves the home folder of an unknown user as it is, and looks without raising.
    root = os.path.abspath(os.path.expanduser(mirror))
    if not os.path.isdir(root):
        raise UserError(
            f"DATASETS_MIRROR is {_on_one_line(mirror)}, which is neither a URL nor a folder that "
            f"can be read: name one that holds {source.__name__}/{source.resources[0][0]}, "
            f"or unset it to download"
        )
    for name, expected in source.resources:
        archive = Path(root, source.__name__, name)
        named = _on_one_line(str(archive))
        try:
            found = calculate_md5(archive) if archive.is_file() else None
        except OSError as error:
            raise UserError(
                f"{named} cannot be read ({error.strerror}): see that you may read it, "
                f"or unset DATASETS_MIRROR to download it"
            ) from None
        if found is None:
            raise UserError(
                f"{named} does not exist, though DATASETS_MIRROR is {_on_one_line(mirror)}: "
                f"put the archive there, or unset DATASETS_MIRROR to download it"
            )
        if found != expected:
            raise UserError(
                f"{named} is damaged or another file (MD5 {found} instead of {expected}): "
                f"replace it, or unset DATASETS_MIRROR to download it"
            )
        shutil.copy(archive, folder / name)


def _on_one_line(text: str) -> str:
    """Write a text on one line, without the password or the query of an address in it."""
    shown = re.sub(r"[^/\s:]*:[^/\s]*@", "", text)
    shown = re.sub(r"(https?://[^\s?]*)\?[^\s:]*", r"\1", shown)
    return shown if shown.isprintable() else repr(shown)


class MirrorError(Exception):
    """A mirror does not give an archive; the message names the archive's address and says why."""


def download_archives(
    archives: Archives, mirrors: Sequence[str], folder: Path, patience: float
) -> None:
    """Download the archives from the first mirror that has them all.

    Raises:
        UserError: None has; says what came from each.
    """
    source, sizes = archives
    failures = []
    for mirror in mirrors:
        try:
            for (name, checksum), size in zip(source.resources, sizes, strict=True):
                download(f"{mirror}{name}", checksum, size, folder / name, patience)
        except MirrorError as error:
            failures.append(f"{error}. ")
        else:
            return
    ways_on = WAYS_ON.format(folder=source.__name__, archive=source.resources[0][0])
    raise UserError(f"{source.__name__} cannot be downloaded. {''.join(failures)}{ways_on}")


def download(url: str, checksum: str, size: int, target: Path, patience: float) -> None:
    """Download one archive.

    Raises:
        MirrorError: It is out of reach, comes too slowly, does not end, or is not the right one.
    """
    try:
        asyncio.run(_receive(url, size, target, patience))
    except TimeoutError:
        reason = f"less than {PIECE_KIB} KiB came in {patience:g} seconds"
    except aiohttp.TooManyRedirects as error:
        reason = f"redirected {len(error.history)} times"
    except aiohttp.ClientResponseError as error:
        reason = f"{error.status} {error.message}"
    except aiohttp.ClientPayloadError:
        reason = "the connection ended before the archive did"
    except aiohttp.InvalidURL as error:  # that of a redirection or of a proxy, too
        reason = f"{error.url} is not a URL"
    except ValueError:
        reason = "its host, or a proxy on the way, has a name that no host can have"
    except aiohttp.ClientError as error:
        reason = str(error)
    else:
        found = calculate_md5(target)
        if found == checksum:
            return
        reason = f"damaged or another file (MD5 {found} instead of {checksum})"
    raise MirrorError(_on_one_line(f"{url}: {' '.join(reason.split()).rstrip('.')}"))


async def _receive(url: str, size: int, target: Path, patience: float) -> None:
    # On macOS, Python from python.org has no certificates of its own, so certifi's are added.
    certificates = ssl.create_default_context()
    certificates.load_verify_locations(certifi.where())
    loop = asyncio.get_running_loop()
    async with (
        asyncio.timeout(patience) as limit,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=certificates),
            timeout=aiohttp.ClientTimeout(),  # none but `limit`: the default ends a slow download
            headers={"Accept-Encoding": "identity"},  # an archive is packed already, and its
            auto_decompress=False,  # checksum is that of the packed file
            raise_for_status=True,
            trust_env=True,  # for proxies
        ) as session,
        session.get(url) as response,
    ):
        with target.open("wb") as file, tqdm(total=size, unit="B", unit_scale=True) as bar:
            received = piece = 0
            async for chunk in response.content.iter_any():
                received += len(chunk)
                piece += len(chunk)
                if received > size:
                    raise MirrorError(
                        _on_one_line(f"{url}: more than the archive's {size} bytes came")
                    )
                if piece >= PIECE_KIB * 1024:
                    limit.reschedule(loop.time() + patience)
                    piece = 0
                file.write(chunk)
                bar.update(len(chunk))
