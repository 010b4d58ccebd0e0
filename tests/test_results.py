"""The committed results belong to the committed code and parameters."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from stages.demo import copy_project

PROJECT = Path(__file__).parent.parent


def test_no_stage_differs_from_the_one_that_made_the_results(tmp_path: Path) -> None:
    """Ask where no data is at hand: here it may be that of an experiment."""
    copy_project(PROJECT, tmp_path)
    for lock in ("dvc.lock", "audit/dvc.lock"):
        shutil.copy(PROJECT / lock, tmp_path / lock)
    shutil.copytree(PROJECT / "metrics", tmp_path / "metrics")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "config", "core.no_scm", "true"], cwd=tmp_path, check=True)
    ended = subprocess.run(
        [*dvc, "repro", "--allow-missing", "--dry", "--all-pipelines"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Running stage" not in ended.stdout
    assert "up to date" in ended.stdout


def test_tables_agree_with_one_another() -> None:
    grid = pd.read_csv(PROJECT / "metrics" / "grid.csv")
    seeds = pd.read_csv(PROJECT / "metrics" / "seeds.csv")
    means = seeds.groupby(["dataset", "role", "learning_rate"], sort=False)["test_accuracy"].mean()
    assert grid["test_accuracy_mean"].tolist() == pytest.approx(means.tolist(), rel=1e-5)
    summary = json.loads((PROJECT / "metrics" / "summary.json").read_text(encoding="utf-8"))
    candidates = grid[grid["role"] == "candidate"].set_index("dataset")["test_accuracy_mean"]
    assert {name: chosen["test_accuracy"] for name, chosen in summary.items()} == pytest.approx(
        candidates.to_dict(), rel=1e-5
    )


def test_readme_shows_the_table_of_the_results() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert (PROJECT / "metrics" / "grid.md").read_text(encoding="utf-8") in readme


def test_readme_shows_the_verdicts_of_the_report() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    _, shown, _ = re.split(r"<!-- /?metrics/claims\.md -->", readme)
    assert shown.strip().startswith("| claim")
    assert shown.strip() in (PROJECT / "metrics" / "claims.md").read_text(encoding="utf-8")


def test_readme_links_to_files_that_exist() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!http)([^)#]+)\)|(?:src|srcset)=\"([^\"]+)\"", readme)
    files = {link or picture for link, picture in targets}
    assert len(files) > 5
    assert {name for name in files if not (PROJECT / name).is_file()} == set()
