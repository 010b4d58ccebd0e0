"""What a stage computes on, and that it computes the same every time."""

import os
import random

import numpy as np
import torch

from stages.core import params
from stages.core.errors import UserError


def device_named(name: str) -> torch.device:
    """Choose the device that params.yaml names.

    Raises:
        UserError: This machine has no such device.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, here in present.items() if here))
    if not present[name]:
        here = ", ".join(kind for kind, found in present.items() if found)
        raise UserError(
            f"params.yaml: compute.device = {name}: this machine has none; "
            f"give auto or one of: {here}"
        )
    return torch.device(name)


def make_deterministic(seed: int, compute: params.Compute) -> None:
    """Seed every global generator and have PyTorch refuse what differs from run to run.

    No draw of the study uses a global generator; this is for whoever adds one.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(compute.threads)
