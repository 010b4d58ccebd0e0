"""Seconds per model-epoch of the study's step and of other ways to write it, side by side.

All contestants train the study's network (784-256-128-10, batch 32, learning rate 0.1) on the same
examples. They take turns for several rounds in one process, because on a busy machine absolute
times are unreliable and ratios within a round less so. Medians over the rounds are printed. A
model-epoch is one network seeing 60,000 examples once. Every contestant's test accuracy is printed,
so that none wins by not learning. A
second table compares what the whole machine does: ours with every core, each other way with the
number of threads that suits it best.
"""

import argparse
import importlib.util
import os
import resource
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.contestants import (
    BATCH,
    MODEL_EPOCH,
    Contestant,
    Data,
    InMemory,
    Notebook,
    OurStack,
    Products,
    ScikitLearn,
)
from benchmarks.jobs import NETWORKS, OurJobs
from stages.common.errors import run


def contestants(path: Path, data: Data, threads: int) -> list[Contestant]:
    """Line them up, ours with all diagnostics first."""
    ours: list[Contestant] = [
        OurStack(data, NETWORKS, f"ours, stack of {NETWORKS}"),
        OurStack(data, 1, "ours, 1 network"),
        Products(data, NETWORKS),
    ]
    if threads > 1:
        ours.append(OurJobs(path, threads))
    for count in sorted({1, threads}):
        ours += [Notebook(data, count), InMemory(data, count), ScikitLearn(data, count)]
    if importlib.util.find_spec("jax"):
        from benchmarks.jax_scan import Jax  # noqa: PLC0415 - an extra, not installed by default

        ours += [Jax(data, networks, threads) for networks in (1, NETWORKS)]
    return ours


class Cost(NamedTuple):
    """What a model-epoch takes, as the medians of several rounds."""

    seconds: float
    ratio: float
    """To the first contestant's seconds of the same round."""
    cores: float
    """Processor time over elapsed time; processes of its own (a DataLoader's) do not count."""


def measure(field: list[Contestant], rounds: int, steps: int) -> list[Cost]:
    """Let them take turns; return the medians of each."""
    seconds, cores = np.empty((rounds, len(field))), np.empty((rounds, len(field)))
    for number in range(-1, rounds):  # the first round is to warm up, and is overwritten
        for place, each in enumerate(field):
            torch.set_num_threads(each.threads)
            with threadpool_limits(each.threads):
                start, used = time.perf_counter(), time.process_time()
                each.run(steps)
                elapsed, used = time.perf_counter() - start, time.process_time() - used
            seconds[number, place] = elapsed * MODEL_EPOCH / (steps * BATCH * each.networks)
            cores[number, place] = used / elapsed
    medians = (np.median(each, axis=0) for each in (seconds, seconds / seconds[:, :1], cores))
    return [Cost(*map(float, each)) for each in zip(*medians, strict=True)]


def table(field: list[Contestant], costs: list[Cost]) -> str:
    """Lay out what each contestant costs, and its test accuracy as proof that it learns."""
    lines = [f"{'':56s} {'s / model-epoch':>16s} {'× ours':>7s} {'cores':>6s} {'accuracy':>9s}"]
    torch.set_num_threads(1)
    for each, cost in zip(field, costs, strict=True):
        cores = "–" if isinstance(each, OurJobs) else f"{cost.cores:.2f}"
        accuracy = "–" if isinstance(each, Products) else f"{each.accuracy():.4f}"
        lines.append(
            f"{each.name:56s} {cost.seconds:16.3f} {cost.ratio:7.2f} {cores:>6s} {accuracy:>9s}"
        )
    return "\n".join(lines)


def whole_machine(field: list[Contestant], costs: list[Cost]) -> str:
    """Lay out the seconds of a model-epoch for each way to train, at its best setting."""
    best: dict[str, tuple[float, str]] = {}
    for each, cost in zip(field, costs, strict=True):
        if not isinstance(each, Products):
            best[each.way] = min(best.get(each.way, (np.inf, "")), (cost.seconds, each.name))
    (ours, _), *_ = best.values()
    return "\n".join(
        f"{name:56s} {seconds:16.3f} {seconds / ours:7.2f}" for seconds, name in best.values()
    )


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/processed/mnist.npz"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    data = Data(arguments.data)
    threads = os.cpu_count() or 1
    field = contestants(arguments.data, data, threads)
    costs = measure(field, arguments.rounds, arguments.steps)
    print(f"medians of {arguments.rounds} rounds of {arguments.steps} steps; {data.source}")
    print(table(field, costs))
    print(f"\nthe whole machine ({threads} cores), each way at its best:")
    print(whole_machine(field, costs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process, all contestants: {peak:.0f} MiB")


if __name__ == "__main__":
    run(main)
