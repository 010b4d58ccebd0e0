"""Divide a stage's networks into blocks, which processes work on in parallel.

The number of processes is not a parameter of the study: a network's result is the same to the bit,
whichever networks share its block. The processes run on this machine, or on the Dask cluster that
DASK_SCHEDULER_ADDRESS names.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, TypeVar

from tqdm import tqdm

from stages.common import lifetime
from stages.common.errors import UserError, one_line

Item = TypeVar("Item")
Result = TypeVar("Result")
Show = Callable[[int], None]
"""Is told how many units are done, all blocks taken together."""

CLUSTER = "DASK_SCHEDULER_ADDRESS"
"""Dask's own variable: the address of a cluster's scheduler."""
FORKS = sys.platform == "linux"
"""A worker forked after its imports is there in milliseconds. Elsewhere forking is not safe."""
SECONDS_BETWEEN_LOOKS = 0.1
LONGEST_NUMBER = 10
"""Digits of WORKERS: Python refuses to read endless numbers."""
BAR = "{desc}: {n_fmt} of {total_fmt} {unit}s |{bar}| {elapsed} so far, {remaining} left"


def in_blocks(
    work: Callable[[tuple[Item, ...]], Result],
    items: Sequence[Item],
    *,
    title: str,
    total: int,
    unit: str,
    alone: bool = False,
) -> list[Result]:
    """Cut items into contiguous blocks of almost equal size, one per worker, and work on each.

    A forked worker shares `work`, and all it refers to, with the memory of this process. Where
    processes cannot be forked, and for a cluster, `work` is pickled. Items and results are pickled
    for every worker.

    Args:
        work: Turns a block into its result; it calls `advance` to report progress.
        items: What is divided, such as seeds.
        title: Label of the progress.
        total: How many units of work all items have together.
        unit: What is counted, in the singular, such as "epoch".
        alone: Keep all items in one block, as a GPU needs. Without a cluster, this process works
            on it.

    Returns:
        The results of the blocks, in the order of the items.

    Raises:
        UserError: `work` raised one, a worker was killed, WORKERS is no number of workers, or the
            cluster cannot be used.
    """
    most = workers()
    line_every = len(items) if total > len(items) else 1
    with _progress(title, total, unit, line_every) as show:
        if os.environ.get(CLUSTER):
            # Imported only here, as it brings Dask. No stage depends on it: where a block is worked
            # on changes no result.
            from stages import cluster  # noqa: PLC0415

            return cluster.in_blocks(work, items, title=title, alone=alone, show=show)
        blocks = contiguous(items, 1 if alone else most)
        if len(blocks) > 1:
            return _side_by_side(work, blocks, show)
        return [here(work, block, show) for block in blocks]


def advance(units: int) -> None:
    """Report, from within the work on a block, that this many more units are done."""
    _advance.get()(units)


def workers() -> int:
    """Count the workers there may be: as many as WORKERS says, or one per core.

    Raises:
        UserError: WORKERS is not a whole number, 1 or more.
    """
    said = os.environ.get("WORKERS")
    if said is None:
        return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if not (said.isdecimal() and len(said) < LONGEST_NUMBER and int(said) > 0):
        raise UserError(
            f"WORKERS = {one_line(said)}: give a whole number, 1 or more, or unset it to use every "
            f"core"
        )
    return int(said)


def contiguous(items: Sequence[Item], number: int) -> list[tuple[Item, ...]]:
    """Cut items into this number of contiguous blocks, or into fewer if there are fewer items."""
    number = min(number, len(items))
    cuts = [len(items) * place // number for place in range(number + 1)] if number else []
    return [tuple(items[start:end]) for start, end in pairwise(cuts)]


@contextmanager
def _progress(title: str, total: int, unit: str, line_every: int) -> Iterator[Show]:
    """Show progress: as a bar on a terminal, otherwise as one line every `line_every` units."""
    shown = 0
    with tqdm(
        total=total,
        desc=title,
        unit=unit,
        bar_format=BAR,
        dynamic_ncols=True,
        miniters=0,  # redraw without progress as well, so that the clock runs on
        disable=None,  # None: disabled unless on a terminal
    ) as bar:

        def show(done: int) -> None:
            nonlocal shown
            bar.update(done - bar.n)
            while bar.disable and shown + line_every <= done:
                shown += line_every
                print(f"{title}: {shown} of {total} {unit}s", file=sys.stderr, flush=True)

        yield show


def _nowhere(units: int) -> None:
    """Ignore progress that is reported while no stage listens."""


_advance: ContextVar[Callable[[int], None]] = ContextVar("_advance", default=_nowhere)


def here(work: Callable[[tuple[Item, ...]], Result], block: tuple[Item, ...], show: Show) -> Result:
    """Work on a block in this process, and show how much of it is done."""
    done = 0

    def advanced(units: int) -> None:
        nonlocal done
        done += units
        show(done)

    before = _advance.set(advanced)
    try:
        return work(block)
    finally:
        _advance.reset(before)


def _side_by_side(
    work: Callable[[tuple[Item, ...]], Result], blocks: Sequence[tuple[Item, ...]], show: Show
) -> list[Result]:
    """Work on every block at once, a process each."""
    executor, futures, done = _start(work, blocks)
    with executor:
        try:
            pending = set(futures)
            while pending:
                ended, pending = wait(pending, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                show(sum(done))
                for future in ended:
                    future.result()
            return [future.result() for future in futures]
        except BaseException as error:
            # Leaving the executor would wait for the other blocks.
            _kill_workers()
            if isinstance(error, BrokenProcessPool):
                raise UserError(
                    "a worker process was killed from outside, perhaps because memory ran out: "
                    "run again, with WORKERS=1 if memory is short"
                ) from error
            raise


def _start(
    work: Callable[[tuple[Item, ...]], Result], blocks: Sequence[tuple[Item, ...]]
) -> tuple[Executor, list[Future[Result]], MutableSequence[int]]:
    """Give every block to a process of its own.

    Returns:
        What runs the processes, the results to come, and the units done of each block.

    Raises:
        UserError: The system grants no processes, or no memory for them to share.
    """
    number, context = len(blocks), multiprocessing.get_context("fork" if FORKS else "spawn")
    try:
        # Each worker writes to its own place: a lock would outlive a killed worker that held it.
        done = multiprocessing.RawArray("q", number)
        executor = ProcessPoolExecutor(
            number, context, initializer=_begin_worker, initargs=(work, done)
        )
        return executor, [executor.submit(_in_worker, *each) for each in enumerate(blocks)], done
    except OSError as error:
        _kill_workers()
        raise UserError(
            f"{number} worker processes cannot be started ({error}): free shared memory and file "
            f"handles, or run with WORKERS=1"
        ) from None


def _kill_workers() -> None:
    for worker in multiprocessing.active_children():
        worker.kill()


_worker: ContextVar[tuple[Callable[[Any], Any], MutableSequence[int]]] = ContextVar("_worker")
"""In a worker: the work, and the units done of each block."""


def _begin_worker(work: Callable[[Any], Any], done: MutableSequence[int]) -> None:
    lifetime.end_with_parent()
    if not FORKS:  # a forked worker has the settings of its stage
        # Imported only here, so that what shares this module need not import PyTorch.
        from stages.training.device import make_deterministic  # noqa: PLC0415

        make_deterministic()
    _worker.set((work, done))


def _in_worker(number: int, block: tuple[Any, ...]) -> Any:
    work, done = _worker.get()

    def advanced(units: int) -> None:
        done[number] += units

    _advance.set(advanced)
    return work(block)
