"""Archives: fetched whole or refused, from a folder or over HTTP."""

import functools
import gzip
import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torchvision.datasets import MNIST

from stages import download
from stages.core.datasets import Published, load
from stages.core.errors import UserError

NAMES = [name for name, _ in MNIST.resources]


def idx(values: np.ndarray) -> bytes:
    """Encode an array of bytes in the archives' format, IDX."""
    header = bytes([0, 0, 8, values.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(header + sizes + values.tobytes(), mtime=0)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a mirror with a small dataset in MNIST's format, pinned by its own checksums."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "mirror" / "MNIST"
    folder.mkdir(parents=True)
    resources = []
    for name, examples in zip(NAMES, (30, 30, 20, 20), strict=True):
        shape = (examples, 28, 28) if "images" in name else (examples,)
        content = idx(generator.integers(0, 10, shape, dtype=np.uint8))
        (folder / name).write_bytes(content)
        resources.append((name, hashlib.md5(content).hexdigest()))
    pinned = type("MNIST", (MNIST,), {"resources": resources, "mirrors": ["http://127.0.0.1:9/"]})
    monkeypatch.setitem(download.ARCHIVES, "mnist", pinned)
    return folder.parent


@pytest.fixture
def served(small: Path) -> Iterator[str]:
    """Serve the small mirror over HTTP."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(small))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def run_stage(folder: Path, dataset: str, mirror: str) -> subprocess.CompletedProcess[str]:
    """Run the stage as DVC does, in an empty folder."""
    project = Path(__file__).parent.parent
    return subprocess.run(
        [sys.executable, "-m", "stages.download", dataset, str(folder / "out" / "raw.npz")],
        cwd=project,
        env=os.environ | {"DATASETS_MIRROR": mirror},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_folder_and_a_url_give_the_same_arrays(small: Path, served: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    from_folder = download.fetch("mnist", str(small), tmp_path / "a")
    from_url = download.fetch("mnist", served, tmp_path / "b")
    with gzip.open(small / "MNIST" / NAMES[0]) as archive:
        pixels = np.frombuffer(archive.read()[16:], dtype=np.uint8)
    assert np.array_equal(from_folder.train_images.reshape(-1), pixels)
    for name in Published.__dataclass_fields__:
        assert np.array_equal(getattr(from_folder, name), getattr(from_url, name))
    assert from_folder.test_images.shape == (20, 28, 28)
    assert from_folder.test_labels.shape == (20,)


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_bytes(content: bytes) -> bytes:
    return content[:-40] + bytes(255 - byte for byte in content[-40:])


def wrong_magic(content: bytes) -> bytes:
    return gzip.compress(b"\0\0\1\3" + gzip.decompress(content)[4:], mtime=0)


@pytest.mark.parametrize("damage", [cut_short, flip_bytes, wrong_magic])
@pytest.mark.parametrize("over_http", [False, True])
def test_a_damaged_archive_is_refused_by_name(
    small: Path, served: str, tmp_path: Path, damage, over_http: bool
) -> None:
    archive = small / "MNIST" / NAMES[2]
    archive.write_bytes(damage(archive.read_bytes()))
    mirror = served if over_http else str(small)
    with pytest.raises(UserError, match=NAMES[2]) as refusal:
        download.fetch("mnist", mirror, scratch(tmp_path))
    assert "DATASETS_MIRROR" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_archive_is_refused_by_name(small: Path, tmp_path: Path) -> None:
    (small / "MNIST" / NAMES[1]).unlink()
    with pytest.raises(UserError, match=NAMES[1]):
        download.fetch("mnist", str(small), scratch(tmp_path))


def test_an_unreachable_mirror_names_the_ways_on_and_leaves_nothing(tmp_path: Path) -> None:
    ended = run_stage(tmp_path, "fashion_mnist", "http://127.0.0.1:9")
    assert ended.returncode == 1
    message = ended.stderr.strip().splitlines()[-1]
    assert message.startswith("error: FashionMNIST cannot be downloaded.")
    assert "http://127.0.0.1:9/FashionMNIST/" in message
    assert "make demo" in message
    assert "DATASETS_MIRROR" in message
    assert "Traceback" not in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_dataset_is_refused(tmp_path: Path) -> None:
    ended = run_stage(tmp_path, "cifar", "")
    assert ended.returncode == 1
    assert ended.stderr == (
        "error: params.yaml: datasets: cifar is unknown; "
        "give some of mnist, fashion_mnist, kmnist, digits\n"
    )


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    path = tmp_path / "out" / "raw.npz"
    assert run_stage(tmp_path, "digits", "").returncode == 0
    published = load(Published, path, "download@digits")
    theirs = load_digits()
    assert len(published.train_labels) + len(published.test_labels) == len(theirs.target)
    assert np.array_equal(published.test_labels, theirs.target[5::6])
    assert published.train_images.shape[1:] == (28, 28)
    brightness = published.test_images.mean(axis=(1, 2)) / 255
    assert brightness == pytest.approx(theirs.images[5::6].mean(axis=(1, 2)) / 16, abs=0.02)
