"""The pipeline for real: what DVC runs after a change, and what it leaves behind."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.conftest import GRID
from tests.repositories import call, copied, ran, run
from tools.demo import change_params, copy_project

CANDIDATE = ["candidate@digits", "diagnose_candidate@digits", "record_candidate@digits"]
LAST = ["aggregate", "plot"]


def both(*rates: float) -> list[str]:
    """Name the stages of some rates of the grid."""
    kinds = ("train", "diagnose", "record")
    return [f"{stage}@digits-{rate}" for stage in kinds for rate in rates]


@pytest.fixture
def repository(finished_study: Path, tmp_path: Path) -> Path:
    return copied(finished_study, tmp_path / "repository")


def test_a_second_run_runs_nothing_and_changes_nothing(repository: Path) -> None:
    assert ran(call(repository, "dvc", "repro")) == []
    assert call(repository, "git", "status", "--porcelain") == ""
    assert call(repository, "dvc", "metrics", "diff") == ""


def candidate(repository: Path) -> dict[str, float]:
    """Read what metrics/summary.json says of the candidate, with the names that DVC prints."""
    summary = json.loads((repository / "metrics" / "summary.json").read_text(encoding="utf-8"))
    found = summary["digits"]["candidate"]
    return {f"digits.candidate.{name}": value for name, value in found.items()}


@pytest.mark.slow
def test_another_lr_trains_the_candidate_alone_and_the_diff_says_what_changed(
    repository: Path,
) -> None:
    before = candidate(repository)
    output = call(repository, "dvc", "exp", "run", "-S", "lr=0.1")
    assert ran(output) == sorted(["check", *CANDIDATE, *LAST])
    after = candidate(repository)
    difference = json.loads(call(repository, "dvc", "metrics", "diff", "--json"))
    changed = difference["metrics/summary.json"]
    rate = "digits.candidate.learning_rate"
    assert changed[rate] == {"old": 0.3, "new": 0.1, "diff": 0.1 - 0.3}
    assert changed.keys() == {
        name for name in before | after if before.get(name) != after.get(name)
    }
    for name in changed.keys() & before.keys() & after.keys():
        old, new = before[name], after[name]
        assert changed[name] == {"old": old, "new": new, "diff": new - old}
    assert "0.3" in call(repository, "dvc", "exp", "show", "--csv")


def test_the_candidate_at_a_rate_of_the_grid_repeats_it(repository: Path) -> None:
    change_params(repository, lr=GRID[0])
    call(repository, "dvc", "repro", CANDIDATE[0])
    runs = repository / "data" / "runs" / "digits"
    for path in (runs / str(GRID[0])).iterdir():
        assert (runs / "candidate" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
def test_an_added_rate_is_the_only_one_trained_and_once_removed_leaves_nothing_behind(
    repository: Path,
) -> None:
    before = (repository / "dvc.lock").read_text(encoding="utf-8")
    change_params(repository, learning_rates=[0.1, 0.001, 0.5])
    tables = ("dvc", "repro", "aggregate")
    assert ran(call(repository, *tables)) == sorted(["check", *both(0.001), "aggregate"])
    grid = pd.read_csv(repository / "metrics" / "grid.csv")
    assert grid["learning_rate"].tolist() == [0.1, 0.001, 0.5, 0.3]
    call(repository, "git", "restore", "params.yaml")
    assert ran(call(repository, *tables)) == ["aggregate", "check"]
    assert call(repository, "git", "status", "--porcelain", "metrics") == ""
    locks = [yaml.safe_load(text) for text in (before, (repository / "dvc.lock").read_text())]
    named = [{k: v for k, v in lock["stages"].items() if "0.001" not in k} for lock in locks]
    assert named[0] == named[1]


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"training.epochs": 1}, {"check", "train", "candidate"}),
        ({"outcome.threshold_accuracy": {"digits": 0.6}}, {"check", "diagnose"}),
        ({"diagnose.examples": 200}, {"check", "diagnose"}),
    ],
)
def test_a_change_in_params_yaml_concerns_the_stages_that_declare_it(
    repository: Path, change: dict[str, Any], kinds: set[str]
) -> None:
    change_params(repository, **change)
    would_run = ran(call(repository, "dvc", "repro", "--dry"))
    assert {stage.partition("@")[0].removesuffix("_candidate") for stage in would_run} == kinds


def test_a_comment_in_params_yaml_reruns_the_check_alone(repository: Path) -> None:
    with (repository / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("# A comment.\n")
    assert ran(call(repository, "dvc", "repro")) == ["check"]


def test_the_pipeline_stays_within_60_stages(repository: Path) -> None:
    copy_project(Path(__file__).parent.parent, repository / "copy")
    listed = call(repository / "copy", "dvc", "stage", "list", "--name-only").split()
    assert len(listed) <= 60


def test_a_clone_without_data_says_that_its_results_belong_to_its_code(
    repository: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "--quiet", str(repository), str(clone))
    check = ("dvc", "repro", "--allow-missing", "--dry")
    assert "up to date" in call(clone, *check)
    with (clone / "stages" / "training" / "sgd.py").open("a", encoding="utf-8") as module:
        module.write("# another code\n")
    # DVC 3.67 stops at the first changed stage whose inputs are not there; its order varies.
    told = call(clone, *check, status=255)
    assert re.search(r"failed to reproduce '(train@digits-0\.\d|candidate@digits)'", told)


@pytest.mark.parametrize(
    "file",
    [
        "data/processed/digits.npz",
        f"data/runs/digits/{GRID[0]}/history.csv",
        f"metrics/runs/digits/{GRID[0]}/networks.csv",
    ],
)
@pytest.mark.parametrize("content", [None, b"damage"])
def test_outputs_damaged_by_hand_are_recreated(
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


MISTAKES = {
    "a value": ({"lr": -1}, "error: params.yaml: lr = -1: "),
    "a duplicate": ({"learning_rates": [0.1, 0.10]}, "error: params.yaml: learning_rates = "),
    "an unknown key": ({"lrr": 0.5}, "error: params.yaml: unknown key lrr: "),
    "an unknown key in a section": (
        {"training.epoch": 3},
        "error: params.yaml: unknown key training.epoch: ",
    ),
    "an unknown key of the audit": (
        {"audit.recipes.core": {"rate": 0.1}},
        "error: params.yaml: unknown key audit.recipes.core.rate: ",
    ),
    "a command": (
        {"learning_rates": [0.1, "0.4; touch harm;#"]},
        "error: params.yaml: learning_rates.1 = ",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_params_yaml_ends_in_one_line_before_anything_runs(
    repository: Path, mistake: str
) -> None:
    changes, told = MISTAKES[mistake]
    change_params(repository, **changes)  # type: ignore[arg-type]
    output = call(repository, "dvc", "repro", status=255)
    assert ran(output) == ["check"]
    assert sum(line.startswith(told) for line in output.splitlines()) == 1, output
    assert "Traceback" not in output
    assert not (repository / "harm").exists()
    assert call(repository, "git", "status", "--porcelain") == " M params.yaml\n"


def test_nothing_from_params_yaml_reaches_a_shell_even_if_the_check_is_passed_by(
    repository: Path,
) -> None:
    change_params(repository, learning_rates=[0.1, "0.4; touch harm;#"])
    stage = "train@digits-0.4; touch harm;#"
    output = call(repository, "dvc", "repro", "--single-item", stage, status=255)
    told = "error: --lr 0.4; touch harm;#: not a finite number above 0; give a rate, such as 0.3"
    assert told in output.splitlines()
    assert "Traceback" not in output
    assert not (repository / "harm").exists()


@pytest.mark.skipif(sys.platform == "darwin", reason="the device exists there")
def test_an_absent_device_is_named(repository: Path) -> None:
    change_params(repository, device="mps")
    output = run(repository, "dvc", "repro").stdout
    assert (
        "error: params.yaml: device = mps: this machine has no such device; give auto or one of: "
        in output
    )


@pytest.mark.parametrize("target", ["repro", "audit"])
def test_make_tells_the_way_on_from_a_lock_that_dvc_cannot_read(
    repository: Path, target: str
) -> None:
    make = ("make", "--silent", "--old-file=.venv/ready", target)
    (repository / "dvc.lock").write_text("<<<<<<< HEAD\nschema: '2.0'\n", encoding="utf-8")
    told, *rest = call(repository, *make, status=2).splitlines()
    assert told.startswith("error: dvc.lock cannot be read by DVC (line 2: ")
    assert "bring it back with git restore dvc.lock (in a merge: " in told
    assert [line for line in rest if not re.match(r"make(\[\d+\])?: ", line)] == []
    call(repository, "git", "restore", "dvc.lock")
    assert ran(call(repository, "dvc", "repro")) == []
