"""What tests do with real git and DVC repositories."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tools.demo import copy_project

PROJECT = Path(__file__).parent.parent
SECONDS_BEFORE_HANGING = 900

AS_A_TERMINAL_DOES = (
    sys.executable,
    "-c",
    """
import ctypes, os, signal, sys
# Undo what nohup, or a shell that runs things in its background, has made of the signals.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
if sys.platform == "linux":
    # PR_SET_PDEATHSIG: be killed when what started this ends, in whatever way it does.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execvp(sys.argv[1], sys.argv[1:])
""",
)
"""Put before a command, for one in a process group of its own: it heeds every signal."""


def environment() -> dict[str, str]:
    """Put the programs of this Python's environment first, as an activated one does."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(repository: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a repository to its end."""
    return subprocess.run(
        command,
        cwd=repository,
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_BEFORE_HANGING,
        check=False,
    )


def call(repository: Path, *command: str, status: int = 0, **variables: str) -> str:
    """Run a command in a repository and return what it printed, after checking its status."""
    ended = run(repository, *command, **variables)
    assert ended.returncode == status, ended.stdout
    return ended.stdout


def ran(output: str) -> list[str]:
    """List the stages that DVC ran."""
    lines = output.splitlines()
    return sorted(line.split("'")[1] for line in lines if line.startswith("Running stage"))


def commit(repository: Path, message: str) -> None:
    """Commit everything that git does not ignore."""
    call(repository, "git", "add", "--all")
    call(repository, "git", "commit", "--quiet", "--message", message)


def begin(repository: Path) -> None:
    """Put a folder under git."""
    call(repository, "git", "init", "--quiet")
    call(repository, "git", "config", "user.name", "A Reader")
    call(repository, "git", "config", "user.email", "reader@example.org")
    commit(repository, "Project")


def copied(finished: Path, target: Path) -> Path:
    """Copy a repository, cache and all."""
    return Path(shutil.copytree(finished, target, symlinks=True))


def has_the_results_of(finished: Path, repository: Path) -> None:
    """See that all files of a finished study, and what its lock says, are there byte for byte."""
    results = [path for path in (finished / "data").rglob("*") if path.is_file()]
    results += [path for path in (finished / "metrics").rglob("*") if path.is_file()]
    assert len(results) > 50
    for path in results:
        same = repository / path.relative_to(finished)
        assert same.read_bytes() == path.read_bytes(), path
    # DVC chooses the order in which it runs stages and lists them.
    locks = [(place / "dvc.lock").read_text() for place in (finished, repository)]
    assert yaml.safe_load(locks[0]) == yaml.safe_load(locks[1])


def clone_without_data(target: Path) -> Path:
    """Copy this project with its results and locks, as a fresh clone has them."""
    copy_project(PROJECT, target)
    for lock in ("dvc.lock", "audit/dvc.lock"):
        shutil.copy(PROJECT / lock, target / lock)
    shutil.copytree(PROJECT / "metrics", target / "metrics", dirs_exist_ok=True)
    call(target, "dvc", "config", "core.no_scm", "true")
    return target
