"""The study's engine as `make repro` runs it: several processes, each with one thread."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.contestants import Contestant, Data, OurStack
from stages.training.device import make_deterministic

NETWORKS = 4
"""The study's eight seeds on two cores."""

_here: OurStack


def _begin(path: Path) -> None:
    """Set up a process's own stack."""
    global _here  # noqa: PLW0603 - a worker process has no other place for what it keeps
    make_deterministic()
    _here = OurStack(Data(path), NETWORKS, "")


def _run(steps: int) -> None:
    _here.run(steps)


def _accuracy() -> float:
    return _here.accuracy()


class OurJobs(Contestant):
    """One stack in each process; the processes' time does not count as this one's."""

    def __init__(self, data: Path, jobs: int) -> None:
        super().__init__(f"ours, {jobs} processes with a stack of {NETWORKS} each")
        self.networks = NETWORKS * jobs
        context = multiprocessing.get_context("spawn")
        self.workers = [
            ProcessPoolExecutor(1, context, initializer=_begin, initargs=(data,))
            for _ in range(jobs)
        ]

    def run(self, steps: int) -> None:
        """Take the steps in all processes at once."""
        for each in [worker.submit(_run, steps) for worker in self.workers]:
            each.result()

    def accuracy(self) -> float:
        """Score the first network of the first process."""
        return self.workers[0].submit(_accuracy).result()
