"""What several test modules start from."""

import os

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Compute as the stages do by default; two threads on a busy machine are slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def plain_environment() -> None:
    """Keep the caller's mirror and DVC settings out of the tests."""
    for name in ("DATASETS_MIRROR", "DVC_ROOT", "DVC_STAGE"):
        os.environ.pop(name, None)
