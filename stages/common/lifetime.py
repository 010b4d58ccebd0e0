"""End a stage or a worker when it is told to, or when the process that started it has ended.

A process may be killed at any moment, so no process relies on another one to clean up. A stage
keeps checking that the processes that started it still run. A worker waits for the end of its
stage. If a killed stage left something half-written, the next stage that writes there removes it.
"""

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

SECONDS_BETWEEN_LOOKS = 0.5
SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}

scratch: set[Path] = set()
"""Folders that are removed when this process is told to end."""


def begin() -> None:
    """Prepare this process, a stage, to end when it is told to; under DVC, also when DVC ends.

    Ctrl-C, SIGTERM and SIGHUP remove its scratch folders, and end it with the status 128 + the
    signal's number. A signal that it was started to ignore, such as SIGHUP under nohup, stays
    ignored.
    """
    process = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        # No exception: it would interrupt any code, which could catch it or print a traceback.
        if os.getpid() == process:  # and not a worker forked from it
            for folder in scratch:
                shutil.rmtree(folder, ignore_errors=True)
            _say(f"ended by {signal.Signals(number).name}")
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)
    if "DVC_STAGE" in os.environ:
        above = processes_above()
        threading.Thread(target=_end_without, args=(above,), daemon=True).start()


def processes_above() -> list[int]:
    """List the processes whose end also ends this one: DVC, and the shell in which DVC runs it.

    They belong to the same process group as this process. If its parent has ended, another process
    adopts it; that one belongs to another group and is not listed.

    Returns:
        Their process numbers, the parent's first; empty if the parent has ended.
    """
    above = []
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        for process in _ancestors():
            if os.getpgid(process.pid) != os.getpgrp():
                break
            above.append(process.pid)
            if process.name() not in SHELLS:
                break
    return above


def make_has_ended() -> bool:
    """Tell whether the make that started this run has ended; MAKE_PID holds its process number.

    Between two stages no process of ours watches make, so the next stage has to find out.
    """
    make = os.environ.get("MAKE_PID")
    return make is not None and make not in (str(process.pid) for process in _ancestors())


def _ancestors() -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process().parent()
        while process is not None:
            yield process
            process = process.parent()


def _end_without(above: Sequence[int]) -> None:
    """End this process as soon as one of those above it has ended."""
    # A process that has ended has no children left, even before its own parent has noticed.
    while above and processes_above() == above and not make_has_ended():
        time.sleep(SECONDS_BETWEEN_LOOKS)
    _say("the process that started this stage has ended, so the stage ends as well")
    os._exit(1)


def end_with_parent() -> None:
    """End this worker as soon as its stage has ended; Ctrl-C is left to the stage."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _say(message: str) -> None:
    """Write a line without Python's buffers, which the interrupted code may be using."""
    with suppress(OSError):
        start = "\n" if os.isatty(2) else ""
        os.write(2, f"{start}error: {message}\n".encode())
