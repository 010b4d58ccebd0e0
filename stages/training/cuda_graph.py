"""Many small kernels on a CUDA device, launched as one."""

import sys
from collections.abc import Callable

import torch


def as_one_launch(compute: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Record what a function does on a CUDA device, to be launched again at once.

    Launching the kernels of a step one by one takes longer than running them. Recording does not
    run them. What the function reads and writes must stay at its address.

    Args:
        compute: Works on tensors of the device alone and reads nothing back; has run before.
        device: Where they are.

    Returns:
        What launches the recording. The function itself on any other kind of device, and, with a
        warning to the user, where recording fails.
    """
    if device.type != "cuda":
        return compute
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            compute()
    except RuntimeError as error:
        print(
            f"warning: no CUDA graph ({error}); steps run kernel by kernel, which is slower",
            file=sys.stderr,
        )
        return compute
    return graph.replay
