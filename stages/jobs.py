"""Run the pipeline with several stages side by side, a process each, under DVC's own locks.

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
)
"""What may run side by side: each kind needs the ones before it."""
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


def everything_is_up_to_date() -> bool:
    """Ask DVC whether `dvc repro` would run nothing."""
    command = [*DVC, "repro", "--dry"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.returncode == 0 and "Running stage" not in asked.stdout


def stage_names() -> list[str]:
    """List every stage of dvc.yaml, in its order.

    Raises:
        UserError: DVC cannot read dvc.yaml or params.yaml; with what it says.
    """
    command = [*DVC, "stage", "list", "--name-only"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise UserError(listed.stderr.strip())
    return listed.stdout.split()


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
    """Run the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=int, help="how many stages at a time")
    jobs = parser.parse_args().jobs
    if jobs < 1:
        raise UserError(f"JOBS = {jobs}: give a whole number, 1 or more")
    if jobs > 1 and not everything_is_up_to_date():
        stages = stage_names()
        for kinds in KINDS:
            chosen = [name for name in stages if name.split("@")[0] in kinds]
            side_by_side(chosen, jobs, kinds[0])
    sys.exit(subprocess.run([*DVC, "repro"], check=False).returncode)


if __name__ == "__main__":
    run(main)
