"""What several test modules start from."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from stages.core.datasets import Prepared, save

PROJECT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Compute as the stages do by default; two threads on a busy machine are slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def plain_environment() -> None:
    """Keep the caller's mirror and DVC settings out of the tests."""
    for name in ("DATASETS_MIRROR", "DVC_ROOT", "DVC_STAGE"):
        os.environ.pop(name, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lay out a small dataset and parameters in a folder of their own."""
    generator = np.random.default_rng(0)
    labels = np.arange(150, dtype=np.uint8) % 10
    images = generator.integers(0, 100, (150, 28, 28), dtype=np.uint8)
    images[np.arange(150), labels, :] += 150
    parts = (slice(0, 90), slice(90, 120), slice(120, 150))
    arrays = [array[part] for part in parts for array in (images, labels)]
    save(Prepared(*arrays, np.array(0.3), np.array(0.25)), tmp_path / "small.npz")
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    content["seeds"] = [1, 2]
    content["network"]["hidden"] = [16, 12]
    content["training"] |= {"epochs": 3, "batch_size": 8}
    content["early_validation"] = {"epochs": 1, "every_steps": 5}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return tmp_path
