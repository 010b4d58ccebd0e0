"""Kill runs of the pipeline at random moments. The next run must end as an undisturbed one does.

A small study on scikit-learn's digits is laid out under git in a temporary folder and run once
without disturbance. Then, for each kill, `make repro` starts from an unfinished state, is sent a
signal at a random moment, and is run once more. Data, metrics, locks and git status must then equal
those of the undisturbed run.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import psutil
import yaml

from stages.common.errors import UserError, run
from tests.repositories import AS_A_TERMINAL_DOES, PROJECT, begin, call, copied, environment
from tools.demo import change_params, copy_project
from tools.locks import LOCKS, check

SMALL_STUDY = {
    "datasets": ["digits"],
    "learning_rates": [0.1],
    "seeds": [1, 2, 3],
    "training.epochs": 2,
    "diagnose.examples": 100,
    "audit.rates": [0.1],
    "audit.groups": [1],
    "audit.networks": 3,
    "audit.ladder": ["core"],
    "audit.apart": ["large_1"],
    "audit.recipes.large_1.epochs": 2,
}
ANOTHER_SPLIT = {"split.seed": 1}
"""Makes every stage but the download run again."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
UNHEEDED = {("make", "SIGINT"), ("make", "SIGHUP"), ("dvc", "SIGINT"), ("worker", "SIGINT")}
"""A process and a signal that does not end it: make and DVC wait for their children, and a worker
leaves Ctrl-C to its stage."""
PROMPT_SECONDS = 5
PATIENCE_SECONDS = 300


class Kill(NamedTuple):
    """A run that was sent a signal, and what the next run made of it."""

    signal: str
    whom: str
    seconds: float
    """Until nothing of the run was left."""
    faults: str
    """Empty if the next run ended like the undisturbed one and nothing else went wrong."""


def command(target: str) -> list[str]:
    """Name the command of a run, in the environment that runs this."""
    return [*AS_A_TERMINAL_DOES, "make", "--old-file=.venv/ready", target]


def living(repository: Path) -> list[psutil.Process]:
    """List the processes that work in a repository, the oldest first."""
    processes = psutil.process_iter(["cwd", "cmdline", "ppid", "create_time"])
    ours = [each for each in processes if each.info["cwd"] == str(repository)]
    return sorted(ours, key=lambda each: each.info["create_time"])


def by_role(processes: list[psutil.Process]) -> dict[str, list[psutil.Process]]:
    """Sort the processes of a run into make, dvc, stage and worker; a shell has no role."""
    roles: dict[str, list[psutil.Process]] = {}
    stages: set[int] = set()
    for each in processes:
        words = each.info["cmdline"] or [""]
        if Path(words[0]).name == "make":
            role = "make"
        elif any(word.startswith("stages.") for word in words):
            role = "worker" if each.info["ppid"] in stages else "stage"
            stages.add(each.pid)
        elif "repro" in words:
            role = "dvc"
        else:
            continue
        roles.setdefault(role, []).append(each)
    return roles


@contextmanager
def started(repository: Path, target: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run as a terminal does, in its own process group; at the end kill what is left."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(target),
            cwd=repository,
            env=environment() | {"WORKERS": "2"},
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        yield process
    finally:
        for each in living(repository):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()


def finish(repository: Path, target: str, log: Path) -> float:
    """Run a study to its end and return the seconds that it took.

    Raises:
        UserError: The run failed.
    """
    begun = time.monotonic()
    with started(repository, target, log) as process:
        status = process.wait()
    if status:
        raise UserError(f"make {target} failed in {repository}; its message is in {log}")
    return time.monotonic() - begun


def outcome(repository: Path) -> dict[str, Any]:
    """Read everything that a run leaves: results as bytes, locks as YAML, and the git status."""
    files = (path for name in ("data", "metrics") for path in (repository / name).rglob("*"))
    found: dict[str, Any] = {
        str(path.relative_to(repository)): path.read_bytes() if path.is_file() else None
        for path in files
    }
    for lock in repository.glob("**/dvc.lock"):
        # DVC chooses the order in which it lists stages.
        found[str(lock.relative_to(repository))] = yaml.safe_load(lock.read_text(encoding="utf-8"))
    return found | {"git status": call(repository, "git", "status", "--porcelain")}


def send(chance: random.Random, repository: Path, process: subprocess.Popen[bytes]) -> list[str]:
    """Send a random signal to the process group, or to one of the running processes.

    Returns:
        The signal's name, whom it was sent to, and what was running.
    """
    roles = by_role(living(repository))
    choices = [
        (number, whom)
        for whom in ("group", *sorted(roles))
        for number in SIGNALS
        if (whom, number.name) not in UNHEEDED
    ]
    number, whom = chance.choice(choices)
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if whom == "group":
            os.killpg(process.pid, number)
        else:
            chance.choice(roles[whom]).send_signal(number)
    last = next((roles[role][0] for role in ("stage", "dvc", "make") if role in roles), None)
    words = last.info["cmdline"] if last else ["nothing"]
    return [number.name, whom, " ".join(words[words.index("-m") + 1 :] if "-m" in words else words)]


def seconds_until_gone(repository: Path, process: subprocess.Popen[bytes]) -> float:
    """Wait until no process of a run is left, for at most `PATIENCE_SECONDS`."""
    begun = time.monotonic()
    while process.poll() is None or living(repository):
        if time.monotonic() - begun > PATIENCE_SECONDS:
            break
        time.sleep(0.05)
    return time.monotonic() - begun


def kill_one(
    chance: random.Random, repository: Path, target: str, length: float, expected: dict[str, Any]
) -> Kill:
    """Start a run, send it a signal, run again and compare."""
    log = repository.with_suffix(".log")
    moment = chance.uniform(0, length)
    with started(repository, target, log) as process:
        time.sleep(moment)
        sent, whom, during = send(chance, repository, process)
        seconds = seconds_until_gone(repository, process)
        left = [" ".join(each.info["cmdline"]) for each in living(repository)]
    faults = [f"{each} is still running" for each in left]
    for lock in LOCKS:
        try:
            check(repository / lock)
        except UserError:
            (repository / lock).unlink()  # as the message says
    try:
        finish(repository, target, log)
    except UserError as error:
        faults.append(str(error))
    else:
        found = outcome(repository)
        differing = (
            name
            for name in sorted(expected.keys() | found.keys())
            if found.get(name, "") != expected.get(name, "")
        )
        faults += [f"{name} differs" for name in differing]
    print(
        f"{repository.name}: at {moment:.1f} s {sent} to {whom} during {during}: "
        f"gone after {seconds:.1f} s; {', '.join(faults) or 'same results'}",
        flush=True,
    )
    return Kill(sent, whom, seconds, ", ".join(faults))


def lay_out(repository: Path, target: str | None = None) -> None:
    """Lay out the study; with a target, as it is after a run with another split."""
    copy_project(PROJECT, repository)
    change_params(repository, **SMALL_STUDY)
    begin(repository)
    if target:
        finish(repository, target, repository.with_suffix(".log"))
    change_params(repository, **ANOTHER_SPLIT)


def soak(folder: Path, kills: int, seed: int, target: str) -> list[Kill]:
    """Lay out the study in a folder, run it undisturbed, then kill runs of it.

    The folder keeps the repositories of the kills that had faults.
    """
    lay_out(folder / "new")
    undisturbed = copied(folder / "new", folder / "undisturbed")
    length = finish(undisturbed, target, folder / "undisturbed.log")
    expected = outcome(undisturbed)
    print(f"seed {seed}; an undisturbed run takes {length:.1f} s", flush=True)
    chance = random.Random(seed)
    killed = []
    for number in range(1, kills + 1):
        state = chance.choice(["new", "old"])
        if state == "old" and not (folder / "old").exists():
            lay_out(folder / "old", target)
        repository = copied(folder / state, folder / f"{number}-{state}")
        killed.append(kill_one(chance, repository, target, length, expected))
        if not killed[-1].faults:
            shutil.rmtree(repository)
    return killed


def summary(killed: list[Kill]) -> str:
    """Tabulate the kills by signal and by whom it was sent to."""
    table = pd.DataFrame(killed)
    table["late"] = table["seconds"] > PROMPT_SECONDS
    table["faults"] = table["faults"] != ""
    groups = table.groupby(["signal", "whom"])
    return (
        groups.agg(
            kills=("seconds", "size"),
            slowest=("seconds", "max"),
            late=("late", "sum"),
            faults=("faults", "sum"),
        )
        .reset_index()
        .to_markdown(index=False, floatfmt=".1f")
    )


def main() -> None:
    """Kill runs, print a line for each and a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument(
        "--target", choices=["repro", "audit"], default="repro", help="make's target"
    )
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error(f"--kills {arguments.kills}: give 1 or more")
    folder = Path(tempfile.mkdtemp(prefix="soak-")).resolve()
    killed = soak(folder, arguments.kills, arguments.seed, arguments.target)
    print(f"\n{summary(killed)}\n")
    bad = sum(bool(kill.faults) for kill in killed)
    if bad:
        raise UserError(f"{bad} of {len(killed)} kills had faults; see what they left in {folder}")
    shutil.rmtree(folder)
    print(f"The next run repaired {len(killed)} of {len(killed)} killed runs")


if __name__ == "__main__":
    run(main)
