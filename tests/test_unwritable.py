"""Every stage where it cannot write what it makes: one line, and nothing lost."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repositories import PROJECT, call, copied
from tools.soak import outcome

LOCKS = ("dvc.lock", "audit/dvc.lock")


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["stages"])


def one_per_module() -> dict[str, tuple[str, str]]:
    """Look up, for each module that is a stage's, a lock and a stage in it that runs the module."""
    found: dict[str, tuple[str, str]] = {}
    for lock in LOCKS:
        for name, stage in read(PROJECT / lock.replace(".lock", ".yaml")).items():
            module = stage.get("do", stage)["cmd"].split()[2]
            found.setdefault(module, (lock, name))
    return found


def locked(repository: Path, lock: str, name: str) -> tuple[str, list[str]]:
    """Look up a stage's command, and what it makes, for the first of its datasets and rates."""
    stages = read(repository / lock)
    stage = next(stage for each, stage in stages.items() if each.partition("@")[0] == name)
    return stage["cmd"], [output["path"] for output in stage["outs"]]


def errors(output: str) -> list[str]:
    """List the lines of a stage's output that are not its progress."""
    return [line for line in output.splitlines() if " of " not in line or "error" in line]


def everything(repository: Path) -> dict[str, Any]:
    """Read what all stages leave, the page included, and list what lies beside it."""
    beside = sorted(path.name for path in repository.iterdir())
    page = (repository / "report.html").read_bytes()
    return outcome(repository) | {"report.html": page, "beside": beside}


@pytest.mark.parametrize("module", one_per_module())
def test_a_stage_that_cannot_write_says_so_and_loses_nothing(
    finished_audit: Path, tmp_path: Path, module: str
) -> None:
    repository = copied(finished_audit, tmp_path / "repository")
    command, outputs = locked(repository, *one_per_module()[module])
    expected = everything(repository)
    # Blocks of 512 bytes: torchvision and joblib want to write a few, as a trial.
    blocks = 0 if module == "stages.check" else 1
    no_space = ("sh", "-c", f"ulimit -f {blocks} && {command}")
    told = call(repository, *no_space, status=1, WORKERS="1")
    assert errors(told) in [
        [
            f"error: {output} cannot be written (File too large): see that its disk has space "
            f"and that {Path(output).parent} is a folder you may write to, then run again"
        ]
        for output in outputs
    ]
    assert everything(repository) == expected
