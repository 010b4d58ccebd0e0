"""Run pipelines with several stages side by side, a process each, under DVC's own locks.

`dvc repro` runs one stage at a time, and a stage computes on one thread. Stages of one kind do not
depend on each other, so kind after kind they are run as `dvc --wait-for-lock repro --single-item`;
a plain `dvc repro` at the end runs what is left and has the last word.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Lock

from tqdm import tqdm

from stages.core.errors import UserError, run

DVC = [sys.executable, "-m", "dvc"]
KINDS = (
    ("download",),
    ("preprocess",),
    ("train", "candidate"),
    ("diagnose", "diagnose_candidate"),
    ("core_boundary", "boundary", "rung"),
)
"""What may run side by side, the longest first: each kind needs the ones before it."""
SECONDS_TO_STOP = 10


class Processes:
    """Commands running now, which end when this process is told to."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = Lock()
        self._stopped = False

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command to its end; return its status and what it printed."""
        with self._lock:
            if self._stopped:
                return 130, ""
            # A session of its own: Ctrl-C reaches it and its children through `stop`, once.
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            self._running.add(process)
        printed, _ = process.communicate()
        with self._lock:
            self._running.discard(process)
        return process.returncode, printed

    def stop(self) -> None:
        """Interrupt every command with all its children, then end those that did not listen."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in running:
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    continue
            for process in running:
                try:
                    process.wait(SECONDS_TO_STOP)
                except subprocess.TimeoutExpired:
                    continue


def everything_is_up_to_date(pipeline: str) -> bool:
    """Ask DVC whether `dvc repro` would run nothing."""
    command = [*DVC, "repro", "--dry", pipeline]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.returncode == 0 and "Running stage" not in asked.stdout


def stage_names(pipeline: str) -> list[str]:
    """List every stage of a pipeline, in its order.

    Raises:
        UserError: DVC cannot read it or params.yaml; with what it says.
    """
    command = [*DVC, "stage", "list", "--name-only", pipeline]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise UserError(listed.stderr.strip())
    return listed.stdout.split()


def of_kind(names: Sequence[str], kind: str) -> list[str]:
    """Choose the stages of one group, such as train of train@mnist-0.1."""
    return [name for name in names if name.rpartition(":")[2].split("@")[0] == kind]


def side_by_side(names: Sequence[str], jobs: int, title: str) -> None:
    """Run stages, so many at a time, showing how many are done.

    Raises:
        UserError: A stage failed; with what it printed. The others have been stopped.
    """
    processes = Processes()

    def run_stage(name: str) -> None:
        status, printed = processes.run([*DVC, "--wait-for-lock", "repro", "--single-item", name])
        if status:
            raise UserError(f"{name} failed:\n{printed}")

    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(names), desc=title, unit="stage") as bar:
        started = {pool.submit(run_stage, name): name for name in names}
        try:
            for ended in as_completed(started):
                ended.result()
                bar.set_postfix_str(started[ended], refresh=False)
                bar.update()
        except BaseException:
            processes.stop()
            raise


def main() -> None:
    """Run the pipelines, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=int, help="how many stages at a time")
    parser.add_argument("pipelines", nargs="*", default=["dvc.yaml"], help="dvc.yaml files")
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        raise UserError(f"JOBS = {arguments.jobs}: give a whole number, 1 or more")
    for pipeline in arguments.pipelines:
        if arguments.jobs > 1 and not everything_is_up_to_date(pipeline):
            names = stage_names(pipeline)
            for kinds in KINDS:
                chosen = [name for kind in kinds for name in of_kind(names, kind)]
                if chosen:
                    side_by_side(chosen, arguments.jobs, " and ".join(kinds))
        status = subprocess.run([*DVC, "repro", pipeline], check=False).returncode
        if status:
            sys.exit(status)


if __name__ == "__main__":
    run(main)
