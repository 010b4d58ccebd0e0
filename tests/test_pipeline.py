"""The pipeline for real: what dvc.yaml declares, and what DVC then runs."""

import ast
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import BaseModel

from stages import aggregate, diagnose, preprocess, train
from stages.demo import change_params, copy_project
from tests.repositories import begin, call, commit, ran

PROJECT = Path(__file__).parent.parent
GRID = ["0.1", "0.5"]
CANDIDATE = ["candidate@digits", "diagnose_candidate@digits"]
LAST = ["aggregate", "plot"]

DECLARED: dict[str, type[BaseModel]] = {
    "preprocess": preprocess.PreprocessParams,
    "train": train.TrainParams,
    "candidate": train.CandidateParams,
    "diagnose": diagnose.DiagnoseParams,
    "diagnose_candidate": diagnose.DiagnoseParams,
    "aggregate": aggregate.AggregateParams,
}


PIPELINES = ("dvc.yaml", "audit/dvc.yaml")


def definitions(*pipelines: str) -> dict[str, dict[str, Any]]:
    stages: dict[str, dict[str, Any]] = {}
    for pipeline in pipelines or PIPELINES:
        stages |= yaml.safe_load((PROJECT / pipeline).read_text(encoding="utf-8"))["stages"]
    return stages


def imported(module: Path) -> set[Path]:
    """Find every file of ours that a file imports, directly or not, itself among them."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            files = [PROJECT / (name.replace(".", "/") + ".py") for name in names]
            waiting += [file for file in files if file.is_file()]
    return found


@pytest.mark.parametrize("name", definitions())
def test_deps_are_every_module_that_the_stage_imports(name: str) -> None:
    stage = definitions()[name]
    module = stage["cmd"].split()[2]
    needed = imported(PROJECT / (module.replace(".", "/") + ".py"))
    declared = {dep for dep in stage["deps"] if dep.endswith(".py")}
    assert declared == {path.relative_to(PROJECT).as_posix() for path in needed}


@pytest.mark.parametrize("name", definitions("dvc.yaml"))
def test_params_are_every_section_that_the_stage_reads(name: str) -> None:
    declared = definitions()[name].get("params", [])
    fields = DECLARED[name].model_fields if name in DECLARED else {}
    assert sorted(declared) == sorted(fields)


def both(*rates: str) -> list[str]:
    """Name the stages of some rates of the grid."""
    return [f"{stage}@digits-{rate}" for stage in ("train", "diagnose") for rate in rates]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a small study on the digits and commit its results."""
    repository = tmp_path_factory.mktemp("study") / "repository"
    copy_project(PROJECT, repository)
    content = yaml.safe_load((repository / "params.yaml").read_text(encoding="utf-8"))
    change_params(
        repository,
        datasets=["digits"],
        learning_rates=[float(rate) for rate in GRID],
        seeds=[1, 2],
        training=content["training"] | {"epochs": 2},
    )
    begin(repository)
    output = call(repository, "dvc", "repro")
    first = ["download@digits", "preprocess@digits"]
    assert ran(output) == sorted([*first, *CANDIDATE, *both(*GRID), *LAST])
    commit(repository, "Results")
    return repository


@pytest.fixture
def repository(finished: Path, tmp_path: Path) -> Path:
    """Copy the finished study, cache and all."""
    return Path(shutil.copytree(finished, tmp_path / "repository", symlinks=True))


def test_a_second_run_runs_nothing_and_changes_nothing(repository: Path) -> None:
    assert ran(call(repository, "dvc", "repro")) == []
    assert call(repository, "git", "status", "--porcelain") == ""
    assert call(repository, "dvc", "metrics", "diff") == ""


def test_another_lr_trains_the_candidate_alone(repository: Path) -> None:
    output = call(repository, "dvc", "exp", "run", "-S", "lr=1e-5")
    assert ran(output) == sorted([*CANDIDATE, *LAST])
    difference = json.loads(call(repository, "dvc", "metrics", "diff", "--json"))
    changed = difference["metrics/summary.json"]
    assert changed["digits.candidate_lr"] == {"old": 0.3, "new": 1e-5, "diff": 1e-5 - 0.3}
    assert changed["digits.test_accuracy"]["diff"] < 0
    assert not any("best" in name for name in changed)
    assert "0.3" in call(repository, "dvc", "exp", "show", "--csv")


def test_the_candidate_at_a_rate_of_the_grid_repeats_it(repository: Path) -> None:
    call(repository, "dvc", "exp", "run", "-S", f"lr={GRID[0]}")
    runs = repository / "data" / "runs" / "digits"
    for path in (runs / GRID[0]).iterdir():
        assert (runs / "candidate" / path.name).read_bytes() == path.read_bytes(), path.name


def test_two_stages_at_a_time_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    copy_project(finished, tmp_path)
    begin(tmp_path)
    printed = call(tmp_path, sys.executable, "-m", "stages.jobs", "2")
    assert ran(printed) == LAST
    results = [path for path in (finished / "data").rglob("*") if path.is_file()]
    results += (finished / "metrics").rglob("*.*")
    assert len(results) > 30
    for path in results:
        assert (tmp_path / path.relative_to(finished)).read_bytes() == path.read_bytes(), path
    # The lock lists the stages in the order in which they ended.
    locks = [(place / "dvc.lock").read_text(encoding="utf-8") for place in (finished, tmp_path)]
    serial, parallel = map(yaml.safe_load, locks)
    assert parallel == serial


def test_an_added_rate_is_the_only_one_trained(repository: Path) -> None:
    change_params(repository, learning_rates=[0.1, 0.001, 0.5])
    output = call(repository, "dvc", "repro")
    assert ran(output) == sorted([*both("0.001"), *LAST])
    grid = pd.read_csv(repository / "metrics" / "grid.csv")
    assert grid["learning_rate"].tolist() == [0.1, 0.001, 0.5, 0.3]


def test_a_removed_rate_leaves_no_trace_in_the_tables(repository: Path) -> None:
    change_params(repository, learning_rates=[0.5])
    assert ran(call(repository, "dvc", "repro")) == LAST
    for name in ("history", "diagnostics", "seeds", "grid"):
        table = pd.read_csv(repository / "metrics" / f"{name}.csv")
        assert set(table["learning_rate"]) == {0.5, 0.3}, name


def test_another_number_of_epochs_trains_all_and_downloads_nothing(repository: Path) -> None:
    content = yaml.safe_load((repository / "params.yaml").read_text(encoding="utf-8"))
    change_params(repository, training=content["training"] | {"epochs": 1})
    output = call(repository, "dvc", "repro")
    assert ran(output) == sorted([*CANDIDATE, *both(*GRID), *LAST])


def test_another_diagnostic_trains_nothing(repository: Path) -> None:
    with (repository / "stages" / "core" / "features.py").open("a", encoding="utf-8") as module:
        module.write("# another measure\n")
    measured = ["diagnose_candidate@digits", *(f"diagnose@digits-{rate}" for rate in GRID)]
    assert ran(call(repository, "dvc", "repro")) == sorted(measured)


def test_the_pipeline_stays_within_60_stages() -> None:
    listed = call(PROJECT, "dvc", "--wait-for-lock", "stage", "list", "--name-only").split()
    assert len(listed) <= 60


def test_a_clone_without_data_says_that_its_results_belong_to_its_code(
    repository: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "--quiet", str(repository), str(clone))
    check = ("dvc", "repro", "--allow-missing", "--dry")
    assert "up to date" in call(clone, *check)
    with (clone / "stages" / "core" / "sgd.py").open("a", encoding="utf-8") as module:
        module.write("# another code\n")
    # DVC 3.67 stops at the first changed stage whose inputs are not there.
    told = call(clone, *check, status=255)
    assert re.search(r"failed to reproduce '(train|candidate)@digits", told), told


@pytest.mark.parametrize(
    "file",
    ["data/processed/digits.npz", f"data/runs/digits/{GRID[0]}/history.csv"],
)
@pytest.mark.parametrize("content", [None, b"damage"])
def test_outputs_damaged_by_hand_are_made_anew(
    repository: Path, file: str, content: bytes | None
) -> None:
    path = repository / file
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    call(repository, "dvc", "repro")
    assert path.read_bytes() == before
    assert call(repository, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lr": -1}, "error: params.yaml: lr = -1: not a finite number above 0"),
        ({"learning_rates": [0.1, 0.10]}, "error: params.yaml: learning_rates = [0.1, 0.1]: 0.1 a"),
        ({"learning_rates": []}, "error: params.yaml: learning_rates = []: "),
        ({"datasets": ["digits", "cifar"]}, "error: params.yaml: datasets: cifar is unknown"),
        ({"compute": {"device": "mps", "threads": 1}}, "error: params.yaml: compute.device = mps"),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="the device exists there")
def test_bad_parameters_end_in_one_line_and_write_no_table(
    repository: Path, changes: dict[str, object], told: str
) -> None:
    change_params(repository, **changes)
    output = call(repository, "dvc", "repro", status=255)
    assert sum(line.startswith(told) for line in output.splitlines()) == 1, output
    assert "Traceback" not in output
    # DVC removes the outputs of a stage before it runs it.
    left = call(repository, "git", "status", "--porcelain", "metrics").splitlines()
    assert {line[:3] for line in left} <= {" D "}
