"""Blocks on a Dask cluster: real schedulers and workers, on loopback, that have no checkout."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import cloudpickle
import dask
import numpy as np
import psutil
import pytest
from distributed import Client
from numpy.typing import NDArray

from stages.common.datasets import Prepared, load
from stages.common.errors import UserError
from stages.common.parameters import read_params
from stages.common.versions import installed
from stages.training import run_files
from stages.training.loop import train_block
from stages.training.parameters import TrainParams
from stages.training.workers import CLUSTER, advance, in_blocks
from tests.repositories import (
    AS_A_TERMINAL_DOES,
    PROJECT,
    call,
    copied,
    environment,
    has_the_results_of,
    ran,
)

PATIENCE = 200
"""Seconds, against hanging alone."""
pytestmark = pytest.mark.timeout(600)
STAGE = """
import os, time
from functools import partial
from pathlib import Path
from stages.common.errors import run
from stages.training.workers import in_blocks

def work(block, folder):
    (folder / "begun" / str(os.getpid())).touch()
    while not (folder / "go").exists():
        sum(number * number for number in range(10_000))
    return sum(block)

def main():
    work_here = partial(work, folder=Path.cwd())
    print(in_blocks(work_here, range(5), title="Sums", total=5, unit="sum"))

run(main)
"""
Block = tuple[int, ...]

# The workers have no tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that comes soon, unless the machine is busy otherwise."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Cluster:
    """A scheduler and its workers, each in an empty folder of its own that is also its HOME."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        told = folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--port", "0", "--scheduler-file", str(told))
        until(told.exists)
        with Client(scheduler_file=str(told)) as client:
            self.address = client.scheduler.address

    def start(self, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a process of Dask."""
        place = self.folder / str(len(self.processes))
        place.mkdir()
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *AS_A_TERMINAL_DOES,
                    *("dask", *command, "--host", "127.0.0.1", "--no-dashboard"),
                ],
                cwd=place,
                env=environment() | {"HOME": str(place), "TMPDIR": str(place)} | variables,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        self.processes.append(process)
        return process

    def add_worker(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker of one thread, and wait until the scheduler knows it."""
        with Client(self.address) as client:
            before = len(client.nthreads())
            nanny = self.start("worker", self.address, "--nthreads", "1", **variables)
            until(lambda: len(client.nthreads()) > before)
        return nanny

    def end(self, *processes: subprocess.Popen[bytes]) -> None:
        """Kill some of its processes, with all that they started, or all of them."""
        for process in processes or self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def has(self, workers: int) -> None:
        """Wait until the scheduler knows of so many workers."""
        with Client(self.address) as client:
            until(lambda: len(client.nthreads()) == workers)


@contextmanager
def started(folder: Path, workers: int) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Use a cluster of one worker that no other test has."""
    with started(tmp_path, workers=1) as cluster:
        monkeypatch.setenv(CLUSTER, cluster.address)
        yield cluster


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Lay out a project with one stage, whose blocks go on until there is a file `go`."""
    for part in ("common", "training"):
        shutil.copytree(PROJECT / "stages" / part, tmp_path / "stages" / part)
    for module in ("__init__.py", "cluster.py"):
        shutil.copy(PROJECT / "stages" / module, tmp_path / "stages")
    (tmp_path / "stages" / "sums.py").write_text(STAGE, encoding="utf-8")
    (tmp_path / "begun").mkdir()
    return tmp_path


def start_stage(project: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*AS_A_TERMINAL_DOES, sys.executable, "-m", "stages.sums"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@pytest.fixture
def cluster(shared: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Use the cluster of two workers that the tests share."""
    monkeypatch.setenv(CLUSTER, shared.address)
    return shared


def blocks_of(work: Callable[[Block], Any], items: int = 5) -> list[Any]:
    return in_blocks(work, range(items), title="Sums", total=15, unit="epoch")


def processes_above(block: Block) -> list[int]:
    return [process.pid for process in psutil.Process().parents()]


def folders(block: Block) -> tuple[Path, Path]:
    return Path.cwd(), Path.home()


def three_epochs(block: Block) -> int:
    for _ in range(3):
        advance(len(block))
    return sum(block)


def first_and_sum(block: Block, dataset: NDArray[np.float64]) -> tuple[int, int]:
    return int(dataset[0]), sum(block)


def refused(block: Block, folder: Path) -> Block:
    """Refuse the third item as soon as the other block is begun, which goes on for ever."""
    if 2 not in block:
        (folder / str(os.getpid())).touch()
        time.sleep(10 * PATIENCE)
    while not any(path.name.isdecimal() for path in folder.iterdir()):
        time.sleep(0.01)
    raise UserError("seed 2: no such seed")


def divided_by_zero(block: Block, folder: Path) -> Block:
    try:
        return refused(block, folder)
    except UserError:
        1 / 0  # noqa: B018
        raise


def when_told(block: Block, folder: Path, then: Callable[[Block], Any] = sum) -> Any:
    """Say that a block is begun, by which process of which worker, and wait for a file `go`."""
    (folder / "begun" / f"{block[0]}-{os.getpid()}-{os.getppid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    return then(block)


class Begun(Thread):
    """Has blocks worked on that wait for `go`, and keeps what comes of it."""

    def __init__(self, folder: Path, blocks: int, **work: Any) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.work = partial(when_told, folder=folder, **work)
        self.came: list[Any] | UserError = []
        (folder / "begun").mkdir()
        self.start()
        until(lambda: len(self.processes()) == blocks)

    def run(self) -> None:
        try:
            self.came = blocks_of(self.work)
        except UserError as error:
            self.came = error

    def processes(self) -> list[tuple[int, int]]:
        """List the processes of blocks begun so far, each with its worker's."""
        return sorted(
            (int(path.name.split("-")[1]), int(path.name.split("-")[2]))
            for path in (self.folder / "begun").iterdir()
        )

    def goes(self) -> list[Any] | UserError:
        """Let the blocks end."""
        (self.folder / "go").touch()
        self.join(PATIENCE)
        return self.came


def has_ended(process: int) -> bool:
    return not psutil.pid_exists(process) or psutil.Process(process).status() == "zombie"


def test_blocks_are_worked_on_by_processes_of_the_workers_alone(cluster: Cluster) -> None:
    above = blocks_of(processes_above)
    dask = {process.pid for process in cluster.processes}
    assert [len(dask.intersection(each)) for each in above] == [1, 1]
    assert above[0] != above[1]
    assert not any(os.getpid() == each[0] for each in above)


def test_a_worker_has_no_checkout(cluster: Cluster) -> None:
    for place, home in blocks_of(folders):
        assert place.is_relative_to(home)
        assert home.parent == cluster.folder


def test_progress_comes_from_all_workers(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    assert blocks_of(three_epochs) == [1, 9]
    assert capfd.readouterr() == (
        "",
        "Sums: 5 of 15 epochs\nSums: 10 of 15 epochs\nSums: 15 of 15 epochs\n",
    )


@pytest.mark.slow
def test_a_rate_leaves_the_bytes_of_a_serial_run_and_trains_on_the_workers_alone(
    cluster: Cluster, finished_study: Path, tmp_path: Path
) -> None:
    repository = copied(finished_study, tmp_path / "repository")
    stages = ["candidate@digits", "diagnose_candidate@digits"]
    command = ["dvc", "repro", "--force", "--single-item", *stages]
    assert ran(call(repository, *command, DASK_SCHEDULER_ADDRESS=cluster.address)) == stages
    has_the_results_of(finished_study, repository)
    with Client(cluster.address) as client:
        tasks = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    titles = ["digits at 0.3 (candidate)", "measuring digits at 0.3"]
    seen = {task.removesuffix("-Client") for task in tasks}
    assert {f"{title}, block {n} of 2" for title in titles for n in (1, 2)} <= seen


def test_a_block_whose_worker_is_killed_is_trained_again_to_the_same_bytes(
    cluster: Cluster, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = read_params(TrainParams, folder / "params.yaml")
    prepared = load(Prepared, folder / "small.npz", "test")
    train = partial(train_block, prepared=prepared, rate=0.1, declared=declared, dataset="small")
    at_work = Begun(tmp_path, 2, then=train)
    process, worker = at_work.processes()[0]
    os.kill(worker, signal.SIGKILL)
    until(lambda: has_ended(process))
    until(lambda: len(at_work.processes()) == 3)
    again = run_files.joined(at_work.goes())
    monkeypatch.delenv(CLUSTER)
    undisturbed = run_files.joined(blocks_of(train))
    assert again.facts == undisturbed.facts
    for name, values in undisturbed.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], values)


def test_a_block_whose_process_is_killed_is_begun_again(cluster: Cluster, tmp_path: Path) -> None:
    at_work = Begun(tmp_path, 2)
    os.kill(at_work.processes()[0][0], signal.SIGKILL)
    until(lambda: len(at_work.processes()) == 3)
    assert at_work.goes() == [1, 9]


def test_a_dataset_is_handed_over_once_whatever_the_blocks(
    cluster: Cluster, tmp_path: Path
) -> None:
    dataset = np.zeros(1_000_000)
    at_work = Begun(tmp_path, 2, then=partial(first_and_sum, dataset=dataset))
    with Client(cluster.address) as client:
        sizes = client.run_on_scheduler(
            lambda dask_scheduler: [task.nbytes for task in dask_scheduler.tasks.values()]
        )
    assert [size // dataset.nbytes for size in sorted(sizes)[-2:]] == [0, 1]
    assert at_work.goes() == [(0, 1), (0, 9)]


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (refused, "seed 2: no such seed"),
        (
            divided_by_zero,
            "Sums, block 2 of 2: ZeroDivisionError: division by zero; the traceback is in {file}",
        ),
    ],
)
def test_a_block_that_fails_is_told_in_one_line_and_ends_the_others(
    work: Callable[..., Block],
    message: str,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError) as failure:
        blocks_of(partial(work, folder=tmp_path))
    (other,) = [int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal()]
    until(lambda: has_ended(other))
    (file,) = [*tmp_path.glob("block-*"), None][:1]
    assert str(failure.value) == message.format(file=file)
    if file:
        assert file.read_text(encoding="utf-8").startswith("Traceback (most recent call last):\n")
        assert "in divided_by_zero\n" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("SIGINT", 130, "error: ended by SIGINT\n"),
        ("SIGTERM", 143, "error: ended by SIGTERM\n"),
        ("SIGKILL", -9, ""),
    ],
)
def test_no_worker_works_on_for_a_stage_that_is_told_to_end_but_for_the_next_one(
    name: str, status: int, told: str, cluster: Cluster, project: Path
) -> None:
    stage = start_stage(project)
    until(lambda: len(list((project / "begun").iterdir())) == 2)
    stage.send_signal(signal.Signals[name])
    assert stage.communicate() == ("", told)
    assert stage.returncode == status
    for path in (project / "begun").iterdir():
        until(partial(has_ended, int(path.name)))
    (project / "go").touch()
    stage = start_stage(project)
    assert stage.communicate() == ("[1, 9]\n", "")


def test_an_edit_is_what_runs_at_once(cluster: Cluster, project: Path) -> None:
    (project / "go").touch()
    assert start_stage(project).communicate() == ("[1, 9]\n", "")
    module = project / "stages" / "sums.py"
    edited = module.read_text(encoding="utf-8").replace("sum(block)", "sum(block) + 1000")
    module.write_text(edited, encoding="utf-8")
    assert start_stage(project).communicate() == ("[1001, 1009]\n", "")


def test_another_version_on_a_worker_is_told_before_anything_is_begun(
    cluster: Cluster, tmp_path: Path
) -> None:
    other = tmp_path / "torch-1.13.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Name: torch\nVersion: 1.13.1\n", encoding="utf-8")
    worker = cluster.add_worker(PYTHONPATH=str(tmp_path))
    with pytest.raises(UserError) as refusal:
        blocks_of(partial(when_told, folder=tmp_path))
    cluster.end(worker)
    cluster.has(workers=2)
    address, *told = str(refusal.value).removeprefix("worker ").split(" ", 1)
    assert address.startswith("tcp://127.0.0.1:")
    assert told == [
        f"has torch 1.13.1, this machine torch {installed('torch')}: "
        f"install requirements.txt in both places, and start it again"
    ]


def test_a_worker_that_joins_late_takes_over_the_block_of_the_only_one_which_was_killed(
    small: Cluster, tmp_path: Path
) -> None:
    at_work = Begun(tmp_path, 1)
    small.end(small.processes[-1])
    small.has(workers=0)
    small.add_worker()
    until(lambda: len(at_work.processes()) == 2)
    assert at_work.goes() == [10]
    small.add_worker()
    assert blocks_of(sum) == [1, 9]  # by both of them


def test_a_worker_that_is_lost_again_and_again_ends_the_run(small: Cluster, tmp_path: Path) -> None:
    at_work = Begun(tmp_path, 1)
    for kills in (1, 2, 3):
        until(lambda: len(at_work.processes()) == kills)  # noqa: B023
        os.kill(next(w for p, w in at_work.processes() if not has_ended(p)), signal.SIGKILL)
    at_work.join(PATIENCE)
    assert str(at_work.came) == (
        "Sums, block 1 of 1: its worker was lost 3 times: see the workers' logs, then run again"
    )


def test_a_scheduler_that_dies_ends_the_run_in_one_line(small: Cluster, tmp_path: Path) -> None:
    at_work = Begun(tmp_path, 1)
    small.end(small.scheduler)
    at_work.join(PATIENCE)
    assert str(at_work.came) == (
        f"the scheduler at {small.address} was lost: see its log, start it again, then run again"
    )


def test_where_no_scheduler_answers_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLUSTER, "tcp://127.0.0.1:1")
    impatience = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with impatience, pytest.raises(UserError) as refusal:
        blocks_of(sum)
    told = str(refusal.value)
    assert told.startswith(
        f"{CLUSTER} = tcp://127.0.0.1:1: no scheduler can be reached there (OSError: "
    )
    assert told.endswith(
        "start one as docs/cluster.md says, or unset the variable to work on this machine"
    )


def test_an_address_of_several_lines_is_refused_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLUSTER, "a\nb")
    with pytest.raises(UserError) as refusal:
        blocks_of(sum)
    assert str(refusal.value).startswith(f"{CLUSTER} = a b: no scheduler can be reached there (")


def test_a_run_without_workers_waits_and_says_so_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with started(tmp_path, workers=0) as cluster:
        monkeypatch.setenv(CLUSTER, cluster.address)
        impatience = dask.config.set({"distributed.scheduler.no-workers-timeout": "1s"})
        with impatience, pytest.raises(UserError) as refusal:
            blocks_of(sum)
        assert str(refusal.value) == (
            f"no worker was connected to {cluster.address} for 1s: "
            f"start workers as docs/cluster.md says, then run again"
        )
        assert capfd.readouterr().err.splitlines() == [
            f"no worker is connected to {cluster.address}: waiting 1s"
        ]
