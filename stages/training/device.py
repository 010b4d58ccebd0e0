"""The device that a stage computes on, and settings that make every run compute the same."""

import os
import random

import numpy as np
import torch

from stages.common.errors import UserError


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
            f"params.yaml: device = {name}: this machine has no such device; "
            f"give auto or one of: {here}"
        )
    return torch.device(name)


def make_deterministic() -> None:
    """Seed every global generator, and make PyTorch refuse nondeterministic operations.

    Call this before anything is computed. PyTorch gets one thread, because a stage divides its
    networks among processes instead. The study itself draws from no global generator; they are
    seeded in case later code does.
    """
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Otherwise the rounding of a matrix product depends on where its matrices begin in memory,
    # and so on a network's place in its stack.
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    # torch.use_deterministic_algorithms does the same, but first imports PyTorch's compiler.
    torch.set_deterministic_debug_mode("error")
    torch.set_num_threads(1)
