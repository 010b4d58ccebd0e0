"""Blocks of networks on workers: what each is given, what comes back, what is shown meanwhile."""

import multiprocessing
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from stages.common.errors import UserError
from stages.training.workers import advance, in_blocks

PROJECT = Path(__file__).parent.parent
LIMIT = 900
"""Seconds, against hanging alone."""

Block = tuple[int, ...]


Result = TypeVar("Result")


def blocks_of(
    work: Callable[[Block], Result], items: int = 5, total: int = 15, alone: bool = False
) -> list[Result]:
    """Have 5 networks trained for 3 epochs, as it were."""
    return in_blocks(work, range(items), title="Sums", total=total, unit="epoch", alone=alone)


def same(block: Block) -> Block:
    return block


def three_epochs(block: Block) -> int:
    for _ in range(3):
        advance(len(block))
    return sum(block)


def one_go(block: Block) -> None:
    advance(len(block))


def after_the_others(block: Block, folder: Path) -> Block:
    """End in the reverse order of the blocks."""
    while block[-1] != 6 and not (folder / str(block[-1] + 1)).exists():
        time.sleep(0.01)
    (folder / str(block[0])).touch()
    return block


def process(block: Block) -> int:
    return os.getpid()


def after_all_have_begun(block: Block, folder: Path) -> int:
    (folder / str(block[0])).touch()
    while len(list(folder.iterdir())) < 3:
        time.sleep(0.01)
    return os.getpid()


def refused(block: Block) -> Block:
    """Refuse the third item; any other goes on for ever."""
    if 2 in block:
        raise UserError("seed 2: no such seed")
    return for_ever(block)


def divided_by_zero(block: Block) -> float:
    return 1 / 0 if 4 in block else len(for_ever(block))


def killed(block: Block) -> Block:
    if 4 in block:
        os.kill(os.getpid(), signal.SIGKILL)
    return for_ever(block)


def for_ever(block: Block) -> Block:
    while block:
        time.sleep(LIMIT)
    return block


@pytest.mark.parametrize(
    ("workers", "items", "expected"),
    [
        (1, 3, [(0, 1, 2)]),
        (2, 5, [(0, 1), (2, 3, 4)]),
        (3, 5, [(0,), (1, 2), (3, 4)]),
        (5, 8, [(0,), (1, 2), (3,), (4, 5), (6, 7)]),
        (5, 2, [(0,), (1,)]),
        (3, 0, []),
    ],
)
def test_blocks_are_contiguous_and_differ_by_one_item_at_most(
    workers: int, items: int, expected: list[Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", str(workers))
    assert blocks_of(same, items) == expected


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_any_number_of_workers_gives_the_same_in_the_same_order(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", str(workers))
    results = blocks_of(partial(after_the_others, folder=tmp_path), items=7)
    assert [item for block in results for item in block] == [0, 1, 2, 3, 4, 5, 6]


def test_blocks_are_worked_on_side_by_side_by_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", "3")
    processes = blocks_of(partial(after_all_have_begun, folder=tmp_path))
    assert len({*processes, os.getpid()}) == 4


def test_what_must_stay_alone_is_one_block_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "3")
    assert blocks_of(same, alone=True) == [(0, 1, 2, 3, 4)]
    assert blocks_of(process, alone=True) == [os.getpid()]


@pytest.mark.skipif(sys.platform != "linux", reason="restricts a process to some of the cores")
def test_there_is_a_worker_for_every_core_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WORKERS", raising=False)
    cores = os.sched_getaffinity(0)
    assert len(blocks_of(same, items=500)) == len(cores)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert len(blocks_of(same, items=500)) == 1
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.parametrize("said", ["", "0", "-1", "1.5", "two", "²", "2\n3", "9" * 5000])
@pytest.mark.parametrize("alone", [False, True])
def test_workers_that_are_no_number_are_refused(
    said: str, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", said)
    with pytest.raises(UserError) as refusal:
        blocks_of(same, alone=alone)
    assert str(refusal.value) == (
        f"WORKERS = {' '.join(said.split())}: give a whole number, 1 or more, or unset it to use "
        f"every core"
    )


@pytest.mark.parametrize(
    ("work", "raised", "message"),
    [
        (refused, UserError, "seed 2: no such seed"),
        (divided_by_zero, ZeroDivisionError, "division by zero"),
        (
            killed,
            UserError,
            "a worker process was killed from outside, perhaps because memory ran out: "
            "run again, with WORKERS=1 if memory is short",
        ),
    ],
)
def test_a_block_that_fails_ends_all_the_others(
    work: Callable[[Block], object],
    raised: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKERS", "3")
    with pytest.raises(raised) as failure:
        blocks_of(work)
    assert str(failure.value) == message
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("limit", "amount", "told"),
    [
        ("RLIMIT_FSIZE", "0", "[Errno 27] File too large"),
        ("RLIMIT_NOFILE", "len(os.listdir('/proc/self/fd'))", "[Errno 24] Too many open files"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")
def test_workers_that_the_system_does_not_grant_are_told_with_the_way_on(
    limit: str, amount: str, told: str
) -> None:
    program = f"""
import os, resource
from stages.common.errors import run
from tests.test_workers import blocks_of, same

def main():
    most = resource.getrlimit(resource.{limit})[1]
    resource.setrlimit(resource.{limit}, ({amount}, most))
    blocks_of(same)

run(main)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=os.environ | {"WORKERS": "2"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"error: 2 worker processes cannot be started ({told}): free shared memory and file "
        f"handles, or run with WORKERS=1\n"
    )


def test_a_stage_whose_progress_nobody_can_read_does_its_work(tmp_path: Path) -> None:
    program = f"""
from stages.common.errors import run
from tests.test_workers import blocks_of, three_epochs

def main():
    with open({str(tmp_path / "sum")!r}, "w") as file:
        file.write(str(sum(blocks_of(three_epochs))))

run(main)
"""
    ended = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        timeout=LIMIT,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert (tmp_path / "sum").read_text(encoding="utf-8") == "10"


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_without_a_terminal_a_line_is_printed_per_epoch(
    workers: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKERS", str(workers))
    assert sum(blocks_of(three_epochs)) == 10
    assert capfd.readouterr() == (
        "",
        "Sums: 5 of 15 epochs\nSums: 10 of 15 epochs\nSums: 15 of 15 epochs\n",
    )


def test_items_that_are_done_in_one_go_are_told_one_by_one(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKERS", "2")
    in_blocks(one_go, (7, 8, 9), title="Bounds", total=3, unit="seed")
    assert capfd.readouterr() == (
        "",
        "Bounds: 1 of 3 seeds\nBounds: 2 of 3 seeds\nBounds: 3 of 3 seeds\n",
    )


def test_on_a_terminal_one_line_is_drawn_and_redrawn(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from tests.test_workers import blocks_of, three_epochs\nblocks_of(three_epochs)\n",
        encoding="utf-8",
    )
    terminal, stage_side = pty.openpty()
    termios.tcsetwinsize(stage_side, (25, 80))
    environment = os.environ | {"WORKERS": "2", "PYTHONPATH": str(PROJECT)}
    subprocess.run(
        [sys.executable, program], stderr=stage_side, env=environment, check=True, timeout=LIMIT
    )
    os.close(stage_side)
    drawn = b""
    try:
        while part := os.read(terminal, 4096):
            drawn += part
    except OSError:  # how Linux says that the other side is closed
        os.close(terminal)
    lines = drawn.decode().removesuffix("\r\n").split("\r")
    assert "\n" not in "".join(lines)
    assert lines[-1].startswith("Sums: 15 of 15 epochs |█")
    assert lines[-1].endswith("█| 00:00 so far, 00:00 left")


def test_progress_that_nobody_shows_is_no_mistake() -> None:
    assert three_epochs((1, 4)) == 5
