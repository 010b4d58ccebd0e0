"""Many small kernels on a CUDA device, launched as one."""

import sys
from collections.abc import Callable

import torch


def as_one_launch(compute: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Record a function's kernels on a CUDA device, so that one call launches them all.

    Launching the kernels of a step one by one takes longer than running them. Recording does not
    run them. The tensors that the function reads and writes must keep their addresses.

    Args:
        compute: Works only on tensors of the device and reads nothing back; has run before.
        device: Where the tensors are.

    Returns:
        A function that launches the recording. On any other kind of device, `compute` itself;
        also, with a warning to the user, if recording fails.
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
