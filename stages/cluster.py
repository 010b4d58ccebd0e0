"""A stage's blocks on a Dask cluster: code and data go there, progress and results come back.

Dask handles only bytes and the function `_on_worker`, which is sent as code. So its scheduler and
its workers need the Python environment, but no checkout. A worker hands each block to a
separate process, which runs this checkout's code, edits included. Unlike a thread, a process can
be killed. It ends

- with its worker: their connection closes;
- with the stage, however that ends: the scheduler drops the stage's tasks, and the worker sees it.

No stage depends on this module: where a block is worked on changes no byte of any result.
"""

import asyncio
import io
import ipaddress
import logging
import os
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle
import dask
from dask.utils import parse_timedelta
from distributed import Client, Security, get_worker
from distributed.comm import connect, get_address_host, resolve_address
from tqdm import tqdm

from stages.common import versions
from stages.common.errors import UserError, one_line
from stages.training.device import make_deterministic
from stages.training.run_files import Run
from stages.training.workers import CLUSTER, contiguous, here

HOW_TO = "docs/cluster.md"
TRAVELS = ["python", "cloudpickle", "dask", "distributed", "msgpack"]
"""Must have the same version everywhere, the scheduler included, to exchange code and messages."""
SECONDS_BETWEEN_LOOKS = 0.2
TRIES_AGAIN = 2
"""How often a block is begun again after its process, or its worker, was killed."""
PROCESS = """
import signal, sys
from multiprocessing.connection import Connection
signal.signal(signal.SIGINT, signal.SIG_IGN)
connection = Connection(int(sys.argv[1]))
import distributed, pandas, pydantic, torch  # which takes seconds
try:
    if connection.poll(600):
        sys.path.insert(0, connection.recv())
        from stages.cluster import work_on_block
        work_on_block(connection)
except EOFError:
    pass
"""
"""Runs beside a worker and waits for one block. If none comes in ten minutes, it ends."""

Block = tuple[Any, ...]
Task = Future[tuple[str, Any, int]]
"""A worker's answer: its kind, its content, and how many units were done."""


def in_blocks(
    work: Callable[[Block], Any],
    items: Sequence[Any],
    *,
    title: str,
    alone: bool,
    show: Callable[[int], None],
) -> list[Any]:
    """Cut items into blocks, one per thread of the cluster's workers, and work on them there.

    Args:
        work: As in `stages.training.workers.in_blocks`; it can be pickled.
        items: Likewise.
        title: Names the blocks in messages and on Dask's dashboard.
        alone: Keep all items in one block. Otherwise workers leave their GPUs alone.
        show: Is told how many units are done, all blocks taken together.

    Raises:
        UserError: The cluster cannot be used, has other versions or is lost; a block failed.
    """
    with _connected(os.environ[CLUSTER]) as client:
        threads = _threads(client)
        _compare(client)
        blocks = contiguous(items, 1 if alone else sum(threads.values()))
        names = [f"{title}, block {n + 1} of {len(blocks)}" for n in range(len(blocks))]
        done = _units_done(client, len(blocks))
        executor = client.get_executor(retries=TRIES_AGAIN)
        on_worker, code = _by_value(_on_worker), _code()

        def begin(number: int, worker: str, lost: int) -> Task:
            parts = [code, *_pickled((_of_seeds(work, blocks[number]), blocks[number]))]
            # After a loss, send to this worker: on another one, the task might wait behind a block.
            data = [_sent(client, part, worker if lost else None) for part in parts]
            task: Task = executor.submit(
                *(on_worker, data, number, client.id, alone),
                key=f"{names[number]}-{client.id}" + (f"-{lost}" if lost else ""),
                workers=[worker],
            )
            return task

        placed = _Placed(names, begin)
        while len(placed.results) < len(blocks):
            workers = Counter(_threads(client))
            placed.take_from_lost(workers)
            placed.fill_free(workers)
            for number, units in placed.collect():
                done[number] = units
            show(sum(done))
        return [pickle.loads(placed.results[number]) for number in range(len(blocks))]


class _Placed:
    """Which block is on which worker. Each waits, is on one worker, or has its result.

    Dask would queue a lost worker's block behind another one, and leave free workers idle.
    """

    def __init__(self, names: Sequence[str], begin: Callable[[int, str, int], Task]) -> None:
        """Let all blocks wait.

        Args:
            names: The blocks' names, for messages.
            begin: Begins a block. Takes its number, the worker, and how many workers it has lost.
        """
        self.names = names
        self.begin = begin
        self.waiting = list(range(len(names)))
        self.lost = [0] * len(names)
        self.tasks: dict[int, tuple[str, Task]] = {}
        self.results: dict[int, bytes] = {}

    def take_from_lost(self, workers: Counter[str]) -> None:
        """Let blocks wait again whose worker is no longer there.

        Raises:
            UserError: A block lost too many workers.
        """
        for number in [n for n, (worker, _) in self.tasks.items() if worker not in workers]:
            self.tasks.pop(number)[1].cancel()
            self.lost[number] += 1
            if self.lost[number] > TRIES_AGAIN:
                raise UserError(
                    f"{self.names[number]}: its worker was lost {self.lost[number]} times: "
                    f"see the workers' logs, then run again"
                )
            self.waiting.append(number)

    def fill_free(self, workers: Counter[str]) -> None:
        """Begin waiting blocks on the threads of workers that have none."""
        free = workers - Counter(worker for worker, _ in self.tasks.values())
        for worker in _in_turn(free)[: len(self.waiting)]:
            number = self.waiting.pop(0)
            self.tasks[number] = worker, self.begin(number, worker, self.lost[number])

    def collect(self) -> Iterator[tuple[int, int]]:
        """Wait briefly, keep the results of blocks that ended, and yield their numbers and units.

        Raises:
            UserError: A block failed.
        """
        pending = [task for _, task in self.tasks.values()]
        ended, _ = wait(pending, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
        for number in [n for n, (_, task) in self.tasks.items() if task in ended]:
            self.results[number], units = _result(self.tasks.pop(number)[1], self.names[number])
            yield number, units


def _units_done(client: Client, blocks: int) -> list[int]:
    """Count the units done of each block, as workers tell them while they work."""
    done = [0] * blocks

    def advanced(event: tuple[float, Any]) -> None:
        if isinstance(event[1], list | tuple):  # and no message of Dask's own
            number, units = event[1]
            done[number] = units

    # A topic of the client's name is forgotten with the client.
    client.subscribe_topic(client.id, advanced)
    return done


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler.

    Raises:
        UserError: It does not answer, expects another protocol, or is lost while in use.
    """
    # What Dask would log and warn of is said by one line at the end.
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module="distributed")

    async def touch() -> None:
        await (await connect(address, **Security().get_connection_args("client"))).close()

    try:
        asyncio.run(touch())  # What fails here would leave a client that closes with a traceback.
        client = Client(address, set_as_default=False)
    except (OSError, RuntimeError, TypeError, ValueError, ImportError) as error:
        raise UserError(
            f"{CLUSTER} = {one_line(address)}: no scheduler can be reached there ({_line(error)}): "
            f"start one as {HOW_TO} says, or unset the variable to work on this machine"
        ) from error
    with client, dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        try:
            host = get_address_host(resolve_address(client.scheduler.address))
            if not (address.startswith("tls:") or ipaddress.ip_address(host).is_loopback):
                _say(
                    f"warning: {address} is not encrypted, and whoever reaches it can run code "
                    f"there: {HOW_TO} shows how to use TLS"
                )
            yield client
        except (OSError, CancelledError) as error:
            raise UserError(
                f"the scheduler at {address} was lost: see its log, start it again, then run again"
            ) from error


def _threads(client: Client) -> dict[str, int]:
    """Count the threads of each worker. Without any worker, wait for one.

    Raises:
        UserError: None came.
    """
    patience = dask.config.get("distributed.scheduler.no-workers-timeout", None) or "1 minute"
    deadline = None
    while not (workers := client.nthreads()):
        if deadline is None:
            deadline = time.monotonic() + parse_timedelta(patience)
            _say(f"no worker is connected to {client.scheduler.address}: waiting {patience}")
        if time.monotonic() > deadline:
            raise UserError(
                f"no worker was connected to {client.scheduler.address} for {patience}: "
                f"start workers as {HOW_TO} says, then run again"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return dict(workers)


def _in_turn(threads: Mapping[str, int]) -> list[str]:
    """List every worker once per thread: each worker's first thread, then the second ones, …."""
    places = [(place, worker) for worker, number in threads.items() for place in range(number)]
    return [worker for _, worker in sorted(places)]


def _compare(client: Client) -> None:
    """Compare versions and processors with this machine's.

    Raises:
        UserError: The scheduler or a worker has another version of something that matters.
    """
    listed = [line.partition("==")[0] for line in versions.LISTED.read_text("utf-8").splitlines()]
    told = client.get_versions(packages=listed)
    parts = [("the scheduler", told["scheduler"], TRAVELS)]
    parts += [(f"worker {at}", each, TRAVELS + listed) for at, each in told["workers"].items()]
    for who, theirs, names in parts:
        for name in names:
            ours, other = _version(told["client"], name), _version(theirs, name)
            if other != ours:
                raise UserError(
                    f"{who} has {name} {other}, this machine {name} {ours}: "
                    f"install requirements.txt in both places, and start it again"
                )
    mine = _processor()
    theirs = Counter(client.run(_by_value(_processor)).values())
    if unlike := ", ".join(f"{name} ({n} workers)" for name, n in theirs.items() if name != mine):
        _say(
            f"warning: this machine's processor is {mine}, but the cluster has {unlike}: "
            f"rounding may differ, and at large rates it decides which networks are lost"
        )


def _version(told: Any, name: str) -> str:
    """Look up a version as `stages.common.versions.installed` does."""
    found = (told["packages"].get(name) or "none").partition("+")[0]
    return ".".join(found.split(".")[:2]) if name == "python" else found


def _processor() -> str:
    """Name the kind of processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _by_value(function: Callable[..., Any]) -> Any:
    """Copy a function of this module, so that it is sent as code and not by its name."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return cloudpickle.loads(cloudpickle.dumps(function))


def _sent(client: Client, data: bytes, worker: str | None) -> Any:
    """Send data once to each worker that needs it, whatever blocks or stages it is for.

    The data is the result of a task, which the scheduler can repeat after a worker was lost. If a
    worker is named, the task runs on it.
    """
    key = f"data-{sha256(data).hexdigest()}"
    if worker is None:
        return client.submit(bytes, data, key=key)
    return client.submit(bytes, data, key=f"{key}-{worker}", workers=[worker])


def _code() -> bytes:
    """Pack the package `stages`, as it is in this checkout now."""
    packed = io.BytesIO()
    folder = Path(__file__).parent
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".py", ".txt"}:
                name = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix())
                archive.writestr(name, path.read_bytes())
    return packed.getvalue()


def _pickled(thing: object) -> list[bytes]:
    """Pickle something: first the pickle without its arrays, then each array's bytes."""
    arrays: list[pickle.PickleBuffer] = []
    stream = cloudpickle.dumps(thing, protocol=5, buffer_callback=arrays.append)
    return [stream, *(bytes(array.raw()) for array in arrays)]


def _of_seeds(work: Any, seeds: Block) -> Any:
    """Reduce the runs that `work` reads to the networks of some seeds, because runs are large."""

    def cut(value: Any) -> Any:
        if isinstance(value, list):
            return [cut(each) for each in value]
        if not isinstance(value, Run):
            return value
        places = [value.facts["seeds"].index(seed) for seed in seeds]
        steps, parameters = (
            {name: array.take(places, axis=1) for name, array in arrays.items()}
            for arrays in (value.steps, value.parameters)
        )
        history = value.history[value.history["seed"].isin(seeds)]
        return Run(value.facts | {"seeds": list(seeds)}, history, steps, parameters)

    if not isinstance(work, partial):
        return work
    return partial(work.func, *work.args, **{k: cut(v) for k, v in work.keywords.items()})


def _result(task: Task, name: str) -> tuple[bytes, int]:
    """Take a block's pickled result, and how many units it did.

    Raises:
        UserError: It failed.
        CancelledError: Its scheduler is gone.
    """
    try:
        kind, told, units = task.result()
    except CancelledError:
        raise
    except Exception as error:
        raise UserError(f"{name}: {_line(error)}: see the workers' logs, then run again") from error
    if kind == "refused":
        raise UserError(told)
    if kind == "raised":
        with tempfile.NamedTemporaryFile("w", prefix="block-", suffix=".txt", delete=False) as file:
            file.write(told)
        raise UserError(f"{name}: {told.splitlines()[-1]}; the traceback is in {file.name}")
    return told, units


def _line(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def _say(message: str) -> None:
    tqdm.write(message, file=sys.stderr)


def _on_worker(
    data: Sequence[bytes], number: int, topic: str, alone: bool
) -> tuple[str, bytes | str, int]:
    """In a worker's thread: let a process work on a block until it ends or the task is dropped.

    Args:
        data: Code, pickle, large arrays.
        number: The block's number.
        topic: The topic on which the number of units done is reported.
        alone: As in `in_blocks`.

    Returns:
        "result" and the pickled result, "refused" and a message, "raised" and a traceback, or
        "dropped" and nothing; then how many units were done.

    Raises:
        RuntimeError: The process was killed.
    """
    worker = get_worker()
    key = worker.get_current_task()
    spare = vars(worker).setdefault("_processes_for_blocks", {}).setdefault(PROCESS, [])
    process, connection = _process(worker.local_directory, spare)
    folder = tempfile.mkdtemp(dir=worker.local_directory)
    units = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data[0])) as archive:
            archive.extractall(folder)
        connection.send(folder)
        connection.send((alone, len(data) - 1))
        for each in data[1:]:
            connection.send_bytes(each)
        while True:
            if connection.poll(SECONDS_BETWEEN_LOOKS):
                kind, told = connection.recv()
                if kind != "done":
                    return kind, told, units
                units = told
                worker.log_event(topic, [number, units])
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                return "dropped", "", units
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise RuntimeError(f"its process ended with status {process.wait()}") from None
    finally:
        process.kill()
        process.wait()
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)
        spare.append(_process(worker.local_directory, []))


def _process(folder: str, spare: list[Any]) -> tuple[subprocess.Popen[bytes], Connection]:
    """Take a spare process that is still there, or start one."""
    while spare:
        process, connection = spare.pop()
        if process.poll() is None:
            return process, connection
    ours, theirs = Pipe()
    with theirs:
        command = [sys.executable, "-c", PROCESS, str(theirs.fileno())]
        process = subprocess.Popen(command, cwd=folder, pass_fds=[theirs.fileno()])
    return process, ours


def work_on_block(connection: Connection) -> None:
    """In the process beside a worker: work on the block that comes through a connection."""
    alone, parts = connection.recv()
    stream, *large = (bytearray(connection.recv_bytes()) for _ in range(parts))
    threading.Thread(target=_end_without, args=(connection,), daemon=True).start()
    if not alone:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    answer: tuple[str, bytes | str]
    try:
        if told := versions.difference():
            answer = "refused", f"worker {platform.node()}: {told}"
        else:
            make_deterministic()
            work, block = pickle.loads(stream, buffers=large)
            result = here(work, block, lambda done: connection.send(("done", done)))
            answer = "result", cloudpickle.dumps(result)
    except UserError as error:
        answer = "refused", str(error)
    except Exception:
        answer = "raised", traceback.format_exc()
    connection.send(answer)


def _end_without(connection: Connection) -> None:
    """End this process as soon as its worker has."""
    with suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)
