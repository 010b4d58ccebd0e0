"""The committed results belong to the committed code and parameters."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.repositories import PROJECT, call, clone_without_data, run

CHECK = ("dvc", "repro", "--allow-missing", "--dry")
OF_BOTH = (*CHECK, "--all-pipelines")
LOCKS = {"dvc.lock": CHECK, "audit/dvc.lock": OF_BOTH}
"""A lock → the command that notices what is wrong in it."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone_without_data(tmp_path_factory.mktemp("clone") / "clone")


def differences(clone: Path) -> dict[str, list[str]]:
    """Ask DVC which stages differ from their locks, and in what; missing data do not count."""
    found: dict[str, list[str]] = {}
    for stage, changes in json.loads(call(clone, "dvc", "status", "--json")).items():
        for change in changes:
            kinds = change if isinstance(change, dict) else {change: {}}
            for kind, paths in kinds.items():
                modified = [path for path, how in paths.items() if how != "deleted"]
                if modified or not paths:
                    found.setdefault(stage, []).append(f"{kind}: {', '.join(modified)}")
    return found


def test_no_stage_differs_from_the_one_that_made_the_results(clone: Path) -> None:
    """Where this fails, it names each stage and whether its code, data or results differ."""
    told = run(clone, *OF_BOTH).stdout
    assert "Data and pipelines are up to date." in told, differences(clone)


def read(lock: Path) -> dict[str, Any]:
    """Read a lock by the parser in C, which is much faster."""
    return dict(yaml.load(lock.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))


def hashes() -> list[tuple[str, str, str]]:
    """List a lock, a stage and an output for every kind of stage."""
    kinds: dict[str, tuple[str, str, str]] = {}
    for lock in LOCKS:
        content = read(PROJECT / lock)
        for stage, entry in content["stages"].items():
            # Of a page that git does not keep, and on which nothing depends, a clone knows nothing.
            for out in entry.get("outs", []) if stage != "report" else []:
                kinds.setdefault(stage.split("@")[0], (lock, stage, out["path"]))
    return list(kinds.values())


def with_changed_hash(lock: Path, stage: str, path: str) -> None:
    content = read(lock)
    for out in content["stages"][stage]["outs"]:
        if out["path"] == path:
            out["md5"] = "0" * 32 + out["md5"][32:]
    text = yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False)
    lock.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("lock", "stage", "path"), hashes())
def test_another_hash_of_an_output_is_noticed(
    clone: Path, lock: str, stage: str, path: str
) -> None:
    before = (clone / lock).read_text(encoding="utf-8")
    with_changed_hash(clone / lock, stage, path)
    try:
        told = run(clone, *LOCKS[lock]).stdout
    finally:
        (clone / lock).write_text(before, encoding="utf-8")
    assert "Data and pipelines are up to date." not in told
    assert "Running stage" in told or "failed to reproduce" in told


def test_tables_agree_with_one_another() -> None:
    grid = pd.read_csv(PROJECT / "metrics" / "grid.csv")
    seeds = pd.read_csv(PROJECT / "metrics" / "seeds.csv")
    which = ["dataset", "role", "learning_rate"]
    trained = seeds[seeds["outcome"] == "trained"].groupby(which)["test_accuracy"].mean()
    known = grid.set_index(which)["test_accuracy_mean"].dropna()
    assert known.to_dict() == pytest.approx(trained.to_dict(), rel=1e-5)
    summary = json.loads((PROJECT / "metrics" / "summary.json").read_text(encoding="utf-8"))
    candidates = grid[grid["role"] == "candidate"].set_index("dataset")["test_accuracy_mean"]
    assert {
        name: chosen["candidate"]["test_accuracy_of_trained"] for name, chosen in summary.items()
    } == pytest.approx(candidates.to_dict(), rel=1e-5)
