"""Stages that are told to end, or killed, or whose parents are: real signals, real processes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.repositories import AS_A_TERMINAL_DOES

PROJECT = Path(__file__).parent.parent
PATIENCE = 60
"""Seconds in which processes have to end, with a machine that is busy otherwise."""

STAGE = """
import os
from pathlib import Path
from stages.common.errors import run
from stages.common.whole_files import whole_directory
from stages.training.workers import in_blocks

def work(block):
    Path("workers", str(os.getpid())).touch()
    while not Path("go").exists():
        sum(number * number for number in range(10_000))
    return sum(block)

def main():
    with whole_directory(Path("results/sums")) as draft:
        (draft / "sums.txt").write_text("half")
        sums = in_blocks(work, range(5), title="Sums", total=5, unit="sum")
        (draft / "sums.txt").write_text(f"{sum(sums)}")

run(main)
"""
SLOW_TO_IMPORT = """
from pathlib import Path
Path("importing").touch()
import time
time.sleep(900)
"""
PIPELINE = """
stages:
  sums:
    cmd: python -m stages.sums
    outs:
      - results/sums
"""
MAKEFILE = """
repro:
	@MAKE_PID=$$PPID exec dvc repro
"""
LIKE_DVC = """
import subprocess
subprocess.run(["sh", "-c", "python -m stages.sums; exit"])
"""
SHELL_THAT_ENDS = """
python like_dvc.py &
while ! [ -e on ]; do sleep .1; done
"""


class Tree(NamedTuple):
    """A command that has come as far as its stage's workers, and all its processes."""

    command: subprocess.Popen[str]
    stage: psutil.Process
    workers: list[psutil.Process]
    others: list[psutil.Process]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lay out a project with one stage, whose two workers go on until there is a file `go`."""
    for part in ("common", "training"):
        shutil.copytree(PROJECT / "stages" / part, tmp_path / "stages" / part)
    shutil.copy(PROJECT / "stages" / "__init__.py", tmp_path / "stages")
    (tmp_path / "stages" / "sums.py").write_text(STAGE, encoding="utf-8")
    (tmp_path / "stages" / "slow.py").write_text(SLOW_TO_IMPORT, encoding="utf-8")
    (tmp_path / "like_dvc.py").write_text(LIKE_DVC, encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (tmp_path / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    (tmp_path / "workers").mkdir()
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start commands as a terminal does: in a process group of their own, heeding every signal."""
    started = []

    def start_one(*command: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*AS_A_TERMINAL_DOES, *command],
            cwd=folder,
            env=os.environ
            | {"WORKERS": "2", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        started.append(process)
        return process

    yield start_one
    (folder / "go").touch()
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that comes soon."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def at_work(command: subprocess.Popen[str], folder: Path) -> Tree:
    """Wait until a command's stage has both its workers at work."""
    until(lambda: len(list((folder / "workers").iterdir())) == 2)
    workers = [psutil.Process(int(path.name)) for path in (folder / "workers").iterdir()]
    stage = workers[0].parent()
    assert stage is not None
    others = [process for process in stage.parents() if os.getpgid(process.pid) == command.pid]
    return Tree(command, stage, workers, others)


def has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_end(tree: Tree) -> None:
    until(lambda: all(map(has_ended, (tree.stage, *tree.workers, *tree.others))))


def litter(folder: Path) -> list[str]:
    return [path.name.split("-")[0] for path in (folder / "results").iterdir()]


def next_run_is_right(start: Callable[..., subprocess.Popen[str]], folder: Path) -> None:
    """Run the stage undisturbed, and see that what it leaves is what it always leaves."""
    (folder / "go").touch()
    command = start(sys.executable, "-m", "stages.sums")
    assert command.communicate() == ("", "")
    assert command.returncode == 0
    assert [path.name for path in (folder / "results").rglob("*")] == ["sums", "sums.txt"]
    assert (folder / "results" / "sums" / "sums.txt").read_text(encoding="utf-8") == "10"


Start = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize("to_the_group", [True, False])
@pytest.mark.parametrize(
    ("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -9)]
)
def test_a_stage_that_is_told_to_end_does_so_with_its_workers(
    name: str, status: int, to_the_group: bool, start: Start, folder: Path
) -> None:
    tree = at_work(start(sys.executable, "-m", "stages.sums"), folder)
    (os.killpg if to_the_group else os.kill)(tree.command.pid, signal.Signals[name])
    all_end(tree)
    # A killed stage can say nothing and tidy nothing up: that is for the next run.
    killed = name == "SIGKILL"
    assert tree.command.communicate() == ("", "" if killed else f"error: ended by {name}\n")
    assert tree.command.returncode == status
    assert litter(folder) == ([".scratch"] if killed else [])
    next_run_is_right(start, folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_worker_that_is_killed_costs_the_stage(
    number: signal.Signals, start: Start, folder: Path
) -> None:
    tree = at_work(start(sys.executable, "-m", "stages.sums"), folder)
    tree.workers[1].send_signal(number)
    all_end(tree)
    assert tree.command.communicate() == (
        "",
        "error: a worker process was killed from outside, perhaps because memory ran out: "
        "run again, with WORKERS=1 if memory is short\n",
    )
    assert tree.command.returncode == 1
    assert litter(folder) == []
    next_run_is_right(start, folder)


def test_ctrl_c_is_left_to_the_stage_by_its_workers(start: Start, folder: Path) -> None:
    tree = at_work(start(sys.executable, "-m", "stages.sums"), folder)
    tree.workers[0].send_signal(signal.SIGINT)
    (folder / "go").touch()
    assert tree.command.communicate() == ("", "")
    assert tree.command.returncode == 0


def test_ctrl_c_while_a_stage_is_imported_ends_it_without_a_traceback(
    start: Start, folder: Path
) -> None:
    command = start(sys.executable, "-m", "stages.slow")
    until((folder / "importing").exists)
    command.send_signal(signal.SIGINT)
    assert command.communicate() == ("", "error: ended by SIGINT\n")
    assert command.returncode == 130


@pytest.mark.parametrize(
    ("module", "slow", "told"),
    [
        ("stages.sums", "psutil", ""),
        ("tools.demo", "ruamel", "error: ended by SIGINT\n"),
    ],
)
def test_ctrl_c_while_a_library_is_imported_prints_no_traceback(
    start: Start, folder: Path, module: str, slow: str, told: str
) -> None:
    shutil.copytree(PROJECT / "tools", folder / "tools")
    (folder / f"{slow}.py").write_text(SLOW_TO_IMPORT, encoding="utf-8")
    command = start(sys.executable, "-m", module)
    until((folder / "importing").exists)
    command.send_signal(signal.SIGINT)
    assert command.communicate() == ("", told)
    assert command.returncode != 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("SIGKILL", "make"),
        ("SIGKILL", "dvc"),
        ("SIGKILL", "stage"),
        ("SIGKILL", "worker"),
        ("SIGTERM", "make"),
        ("SIGHUP", "dvc"),
        ("SIGINT", "everything"),
    ],
)
def test_whatever_ends_in_a_pipeline_all_of_it_ends(
    name: str, told: str, start: Start, folder: Path
) -> None:
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(
        "[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8"
    )
    tree = at_work(start("make", "--silent"), folder)
    dvc, make = tree.others[0], tree.others[-1]
    number = signal.Signals[name]
    if told == "everything":
        os.killpg(make.pid, number)
    else:
        processes = {"make": make, "dvc": dvc, "stage": tree.stage, "worker": tree.workers[0]}
        processes[told].send_signal(number)
    all_end(tree)
    assert tree.command.wait() != 0
    assert not (folder / "dvc.lock").exists()
    assert not (folder / "results" / "sums").exists()


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        (("sh", "-c", "python -m stages.sums; exit"), {"MAKE_PID": "4194305"}),
        (("python", "-m", "stages.sums"), {}),  # in a process group of its own
    ],
)
def test_a_stage_ends_at_once_if_make_or_dvc_has_ended_before_it_began(
    command: tuple[str, ...], variables: dict[str, str], start: Start, folder: Path
) -> None:
    process = start(*command, DVC_STAGE="sums", **variables)
    assert process.communicate()[1] == (
        "error: the process that started this stage has ended, so the stage ends as well\n"
    )
    assert not (folder / "results" / "sums").exists()


def test_a_stage_outlives_the_shell_that_started_dvc(start: Start, folder: Path) -> None:
    command = start("sh", "-c", SHELL_THAT_ENDS, DVC_STAGE="sums")
    at_work(command, folder)
    (folder / "on").touch()
    command.wait()
    goes_on(folder)


def test_under_nohup_a_stage_outlives_the_terminal(start: Start, folder: Path) -> None:
    command = start("nohup", "sh", "-c", SHELL_THAT_ENDS, DVC_STAGE="sums")
    at_work(command, folder)
    os.killpg(command.pid, signal.SIGHUP)
    (folder / "on").touch()
    command.wait()
    goes_on(folder)


def test_a_stage_ends_with_the_shell_that_dvc_runs_it_in(start: Start, folder: Path) -> None:
    tree = at_work(start("python", "like_dvc.py", DVC_STAGE="sums"), folder)
    shell, _ = tree.others
    shell.send_signal(signal.SIGKILL)
    all_end(tree)


def test_without_dvc_a_stage_outlives_what_started_it(start: Start, folder: Path) -> None:
    tree = at_work(start("python", "like_dvc.py"), folder)
    for process in tree.others:
        process.send_signal(signal.SIGKILL)
    tree.command.wait()
    goes_on(folder)


def goes_on(folder: Path) -> None:
    """See that a stage comes to its results, although it has had time to end."""
    time.sleep(1.5)
    (folder / "go").touch()
    until((folder / "results" / "sums").exists)


def test_who_imports_the_stages_keeps_their_own_signals(start: Start) -> None:
    code = "import signal, stages.common.errors; print(signal.getsignal(signal.SIGINT).__name__)"
    assert start("python", "-c", code, PYTHONPATH=str(PROJECT)).communicate() == (
        "default_int_handler\n",
        "",
    )
