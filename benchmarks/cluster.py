"""What a Dask cluster costs and gains: a stage's training on it, and a model of larger clusters.

A scheduler and its workers are started on this machine. One epoch of a stage's networks is trained
by this machine's own processes, by one worker and by two. A model then estimates the seconds of a
whole stage with any number of workers, from three costs: an epoch of blocks of several sizes, the
overhead of a block, and sending the data.
"""

import argparse
import io
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from distributed import Client

from benchmarks.contestants import RATE, Data
from stages.common.datasets import Prepared
from stages.common.errors import UserError, run
from stages.common.parameters import read_params
from stages.training.device import make_deterministic
from stages.training.loop import train_block
from stages.training.parameters import TrainParams
from stages.training.workers import CLUSTER, in_blocks

SIZES = (1, 2, 4, 8, 16, 60)
"""Block sizes, in networks, for which an epoch is timed."""
WIDTHS = (1, 2, 8, 64, 512)
"""Numbers of workers for which the model estimates the seconds."""
NETWORK_BYTES_PER_SECOND = 1e9 / 8
"""Assumed speed between machines, one gigabit per second: everything here runs on one machine."""
SECONDS_TO_START = 120
"""A worker that takes longer to start is given up."""
WORKER = ("dask", "worker", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")


Work = Callable[[tuple[int, ...]], object]


def seconds(work: Work, networks: int, address: str | None) -> float:
    """Time a stage's blocks, on a cluster or by the processes of this machine."""
    os.environ.pop(CLUSTER, None)
    if address:
        os.environ[CLUSTER] = address
    start = time.perf_counter()
    with redirect_stderr(io.StringIO()):  # no progress
        in_blocks(work, range(networks), title="benchmark", total=networks, unit="network")
    return time.perf_counter() - start


def nothing(block: tuple[int, ...], prepared: Prepared | None = None) -> int:
    """Train nothing, so that only the overhead of a block is timed."""
    return len(block)


def started(processes: ExitStack, folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start a process of Dask, and end it with the benchmark."""
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    processes.callback(process.wait)
    processes.callback(process.terminate)
    return process


class Costs(NamedTuple):
    """What a stage's seconds are made of."""

    per_epoch: dict[int, float]
    """An epoch's training, by the number of networks in a block."""
    block: float
    """The overhead of a block, besides its training."""
    send: float
    """Sending the data to one worker."""

    def seconds(self, workers: int, networks: int, epochs: int) -> float:
        """Estimate a stage's seconds, with workers of one thread each on machines of this kind.

        The data are sent to one worker after another, and the largest block ends last. Times
        between the measured sizes are interpolated linearly; beyond them, time is proportional to
        the number of networks.
        """
        largest = math.ceil(networks / workers)
        sizes, times = list(self.per_epoch), list(self.per_epoch.values())
        epoch = np.interp(largest, sizes, times) * max(1, largest / sizes[-1])
        return float(self.block + self.send * min(workers, networks) + epochs * epoch)


def epochs_of_blocks(train: Work) -> dict[int, float]:
    """Time an epoch of blocks of several sizes, in this process."""
    taken = {}
    for number in SIZES:
        start = time.perf_counter()
        train(tuple(range(number)))
        taken[number] = time.perf_counter() - start
    return taken


def on_a_cluster(train: Work, prepared: Prepared, networks: int, rounds: int) -> dict[str, float]:
    """Time an epoch by own processes and by one and two workers; the medians of several rounds."""
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as processes:
        folder, contact = Path(name), Path(name) / "scheduler.json"
        at = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(contact))
        command = ("dask", "scheduler", "--no-dashboard", *at)
        scheduler = started(processes, folder, *command)
        while not contact.exists():
            if scheduler.poll() is not None:
                raise UserError(f"the scheduler ended; to see why, run: {' '.join(command)}")
            time.sleep(0.1)
        client = processes.enter_context(Client(scheduler_file=str(contact)))
        address = client.scheduler.address
        for workers in (1, 2):
            started(processes, folder, *WORKER, address)
            client.wait_for_workers(workers, timeout=SECONDS_TO_START)
            seconds(nothing, networks, address)  # a worker's first block waits for imports
            for turn in range(rounds):
                # Send other data each time: a worker may keep what it already has.
                images = np.roll(prepared.train_images, workers * rounds + turn, axis=0)
                other = replace(prepared, train_images=images)
                measured = {
                    "nothing": seconds(nothing, networks, address),
                    "data": seconds(partial(nothing, prepared=other), 1, address),
                    f"by {workers}": seconds(train, networks, address),
                    "own": seconds(train, networks, None),
                }
                for what, each in measured.items():
                    taken.setdefault(what, []).append(each)
    return {what: median(each) for what, each in taken.items()}


def main() -> None:
    """Print what was measured, and the model beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/processed/mnist.npz"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    make_deterministic()
    prepared = Data(arguments.data).prepared
    declared = read_params(TrainParams, Path("params.yaml"))
    one = declared.training.model_copy(update={"epochs": 1})
    once = declared.model_copy(update={"training": one})
    train = partial(train_block, prepared=prepared, rate=RATE, declared=once, dataset="benchmark")
    networks, epochs = len(declared.seeds), declared.training.epochs

    per_epoch = epochs_of_blocks(train)
    took = on_a_cluster(train, prepared, networks, arguments.rounds)
    size = sum(array.nbytes for array in vars(prepared).values())
    here = Costs(per_epoch, took["nothing"], 0.0)
    elsewhere = Costs(per_epoch, took["nothing"], size / NETWORK_BYTES_PER_SECOND)
    sent = max(took["data"] - took["nothing"], 0.0)

    print(f"\nan epoch of {networks} networks, in seconds (medians of {arguments.rounds} rounds):")
    print(f"  this machine's own processes  {took['own']:8.2f}")
    for workers in (1, 2):
        model = here.seconds(workers, networks, 1)
        print(f"  {workers} of a cluster's workers     {took[f'by {workers}']:8.2f}, ", end="")
        print(f"by the model {model:.2f}")
    print(f"overhead of a block, besides its training: {took['nothing']:.2f} s")
    print(f"the data, once per worker: {size / 1e6:.0f} MB, {sent:.2f} s on this machine")
    print("\nseconds of a stage by the model, with the data sent at one gigabit per second:")
    print("  workers      " + "".join(f"{workers:>9d}" for workers in WIDTHS))
    for number in (networks, 60, 1000):
        told = [elsewhere.seconds(workers, number, epochs) for workers in WIDTHS]
        print(f"  {number:4d} networks" + "".join(f"{each:9.1f}" for each in told))


if __name__ == "__main__":
    run(main)
