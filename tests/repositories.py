"""What tests do with real git and DVC repositories."""

import os
import subprocess
import sys
from pathlib import Path


def call(repository: Path, *command: str, status: int = 0) -> str:
    """Run a command in a repository and return what it printed, after checking its status."""
    ended = subprocess.run(
        command,
        cwd=repository,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == status, ended.stdout
    return ended.stdout


def ran(output: str) -> list[str]:
    """List the stages that DVC ran."""
    lines = output.splitlines()
    return sorted(line.split("'")[1] for line in lines if line.startswith("Running stage"))


def commit(repository: Path, message: str) -> None:
    call(repository, "git", "add", "--all")
    call(repository, "git", "commit", "--quiet", "--message", message)


def begin(repository: Path) -> None:
    """Put a folder under git."""
    call(repository, "git", "init", "--quiet")
    call(repository, "git", "config", "user.name", "A Reader")
    call(repository, "git", "config", "user.email", "reader@example.org")
    commit(repository, "Project")
