"""Many small kernels on a CUDA device, launched as one."""

import sys
from collections.abc import Callable

import torch


def as_one_launch(compute: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Record what a function does on a CUDA device, to be launched again at once.

    At the size of a step, launching its kernels one by one takes longer than they do. Recording
    does not run them. What the function reads and writes must stay where it is.

    Args:
        compute: Works on tensors of the device alone and reads nothing back; has run before.
        device: On any but a CUDA device the function itself is returned, and so it is, with a
            word to the user, where it cannot be recorded.
    """
    if device.type != "cuda":
        return compute
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            compute()
    except RuntimeError as error:
        print(f"steps are launched kernel by kernel: no CUDA graph ({error})", file=sys.stderr)
        return compute
    return graph.replay
