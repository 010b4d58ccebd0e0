"""Runs that are ended from outside: nothing runs on, and the next run is right."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.repositories import PROJECT, SECONDS_BEFORE_HANGING, call, copied
from tools.demo import change_params
from tools.soak import by_role, finish, living, outcome, started

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="looks processes up as Linux has them"
)
LONG = {"training.epochs": 20_000, "network.hidden": [4]}


def soon(is_true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + SECONDS_BEFORE_HANGING
    while not is_true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.1)


def is_training(repository: Path) -> bool:
    processes = living(repository)
    at_work = any("stages.train" in each.info["cmdline"] for each in processes)
    return at_work and len(by_role(processes).get("worker", [])) == 2


CASES = [
    ("make", signal.SIGKILL),
    ("dvc", signal.SIGKILL),
    ("worker", signal.SIGKILL),
    ("group", signal.SIGINT),
    ("group", signal.SIGTERM),
]


@pytest.mark.parametrize(("whom", "sent"), CASES)
def test_nothing_runs_on_and_the_next_run_is_right(
    finished_study: Path, tmp_path: Path, whom: str, sent: signal.Signals
) -> None:
    repository = copied(finished_study, tmp_path / "repository")
    change_params(repository, **LONG)
    with started(repository, "repro", tmp_path / "log") as make:
        soon(lambda: is_training(repository))
        if whom == "group":
            os.killpg(make.pid, sent)
        else:
            by_role(living(repository))[whom][0].send_signal(sent)
        soon(lambda: make.poll() is not None and not living(repository))
    call(repository, "git", "restore", ".")
    finish(repository, "repro", tmp_path / "log")
    assert outcome(repository) == outcome(finished_study)


@pytest.mark.parametrize("left", ["", '{"data/checked.txt": {"wri'])
def test_an_rwlock_that_a_killed_dvc_left_cut_short_costs_nothing(
    finished_study: Path, tmp_path: Path, left: str
) -> None:
    repository = copied(finished_study, tmp_path / "repository")
    (repository / ".dvc" / "tmp" / "rwlock").write_text(left, encoding="utf-8")
    finish(repository, "repro", tmp_path / "log")
    assert outcome(repository) == outcome(finished_study)


def test_a_second_run_beside_the_first_is_refused_and_names_it(
    finished_study: Path, tmp_path: Path
) -> None:
    repository = copied(finished_study, tmp_path / "repository")
    change_params(repository, **LONG)
    with started(repository, "repro", tmp_path / "log"):
        soon(lambda: is_training(repository))
        dvc = by_role(living(repository))["dvc"][0]
        told = call(repository, "dvc", "repro", status=255)
        assert is_training(repository)
    assert re.search(rf"busy, it is being blocked by:\n.*\(PID {dvc.pid}\): .*dvc repro", told)


@pytest.mark.slow
def test_runs_killed_at_random_moments_are_made_good_by_the_next(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tools.soak", "--kills", "1", "--seed", "1")
    told = call(PROJECT, *command, TMPDIR=str(tmp_path))
    assert told.endswith("\nThe next run repaired 1 of 1 killed runs\n")
    assert list(tmp_path.iterdir()) == []
