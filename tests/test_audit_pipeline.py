"""The audit's pipeline for real, on the digits."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages.demo import change_params, copy_project
from tests.conftest import PROJECT
from tests.repositories import begin, call, commit, ran

pytestmark = pytest.mark.xdist_group("audit")

AUDIT = "audit/dvc.yaml"
LADDER = ["as_published", "standardized", "clipped", "conventional"]
LAST = [f"{AUDIT}:{name}" for name in ("claims", "ladder", "ladder_figures")]


def declared_in(repository: Path) -> dict[str, Any]:
    """Read params.yaml as DVC does; PyYAML takes 1e-05 for a string."""
    return dict(YAML(typ="safe").load(repository / "params.yaml"))


def rungs(*recipes: str) -> list[str]:
    """Name the stages of some recipes."""
    return [f"{AUDIT}:rung@digits-{recipe}" for recipe in recipes]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a small study and its audit, side by side, and commit the results."""
    repository = tmp_path_factory.mktemp("audit") / "repository"
    copy_project(PROJECT, repository)
    content = declared_in(repository)
    change_params(
        repository,
        datasets=["digits"],
        learning_rates=[0.1, 0.2],
        seeds=[1, 2, 3],
        training=content["training"] | {"epochs": 2},
        audit=content["audit"]
        | {"ladder": LADDER, "search": {"low": 0.1, "high": 6.4, "resolution": 3}},
    )
    begin(repository)
    printed = call(repository, sys.executable, "-m", "stages.jobs", "2", "dvc.yaml", AUDIT)
    assert ran(printed) == sorted(["aggregate", "plot", *LAST])
    commit(repository, "Results")
    return repository


@pytest.fixture
def repository(finished: Path, tmp_path: Path) -> Path:
    """Copy the finished audit, cache and all."""
    return Path(shutil.copytree(finished, tmp_path / "repository", symlinks=True))


def test_a_second_run_of_all_pipelines_runs_nothing(repository: Path) -> None:
    assert ran(call(repository, "dvc", "repro", "--all-pipelines")) == []
    assert ran(call(repository, "dvc", "repro", AUDIT)) == []
    assert call(repository, "git", "status", "--porcelain") == ""


def test_tables_hold_every_rung_and_boundary(finished: Path) -> None:
    ladder = pd.read_csv(finished / "metrics" / "ladder.csv")
    counts = ladder.groupby("rung", sort=False).size()
    assert counts.to_dict() == {
        "as_published": 6,
        "standardized": 6,
        "core": 9,
        "clipped": 6,
        "conventional": 3,
    }
    seeds = pd.read_csv(finished / "metrics" / "seeds.csv")
    core = ladder[ladder["rung"] == "core"].set_index(["learning_rate", "seed"])
    expected = seeds.set_index(["learning_rate", "seed"])["test_accuracy"]
    assert core["test_accuracy"].to_dict() == expected.to_dict()
    boundary = pd.read_csv(finished / "metrics" / "boundary.csv")
    assert boundary["recipe"].tolist() == ["core"] * 3 + ["clipped"] * 3
    assert (boundary["high"] / boundary["low"]).between(1, 3).all()


def test_the_first_rate_of_a_carried_recipe_is_that_of_a_fresh_one(finished: Path) -> None:
    """Digits have no published statistics, so that nothing else differs before the second rate."""
    ladder = pd.read_csv(finished / "metrics" / "ladder.csv")
    first = ladder[ladder["learning_rate"] == 0.1].set_index(["rung", "seed"])["test_loss"]
    assert first["as_published"].tolist() == first["standardized"].tolist()
    second = ladder[ladder["learning_rate"] == 0.2].set_index(["rung", "seed"])["test_loss"]
    assert second["as_published"].tolist() != second["standardized"].tolist()


def test_report_and_figures_are_there(finished: Path) -> None:
    report = (finished / "metrics" / "claims.md").read_text(encoding="utf-8")
    claims = pd.read_csv(finished / "metrics" / "claims.csv")
    assert all(verdict in report for verdict in claims["verdict"])
    figures = sorted(path.name for path in (finished / "metrics" / "ladder").iterdir())
    assert figures == ["digits-dark.png", "digits-light.png"]


def test_an_added_recipe_is_the_only_one_trained(repository: Path) -> None:
    content = declared_in(repository)["audit"]
    gentle = content["recipes"]["clipped"] | {"clip_norm": 0.1}
    change_params(
        repository,
        audit=content
        | {"ladder": [*LADDER, "gentle"], "recipes": content["recipes"] | {"gentle": gentle}},
    )
    assert ran(call(repository, "dvc", "repro", AUDIT)) == sorted([*rungs("gentle"), *LAST])
    assert "gentle" in set(pd.read_csv(repository / "metrics" / "ladder.csv")["rung"])


def test_an_edited_recipe_retrains_itself_and_its_boundary(repository: Path) -> None:
    content = declared_in(repository)["audit"]
    content["recipes"]["clipped"]["clip_norm"] = 0.5
    change_params(repository, audit=content)
    expected = [*rungs("clipped"), f"{AUDIT}:boundary@digits-clipped", *LAST]
    assert ran(call(repository, "dvc", "repro", AUDIT)) == sorted(expected)


def test_another_candidate_retrains_nothing_of_the_audit(repository: Path) -> None:
    call(repository, "dvc", "exp", "run", "-S", "lr=0.25")
    assert ran(call(repository, "dvc", "repro", AUDIT)) == sorted(LAST)


@pytest.mark.parametrize(
    "lost",
    ["rungs/digits/clipped/0.2/run.json", "boundary/digits/core/trials.csv"],
)
def test_a_lost_part_is_named_with_the_command_that_makes_it(repository: Path, lost: str) -> None:
    (repository / "data" / "audit" / lost).unlink()
    command = [sys.executable, "-m", "stages.audit.ladder", "metrics", "data/audit", "metrics"]
    told = call(repository, *command, status=1)
    assert told.startswith(f"error: data/audit/{lost} does not exist: make it with: dvc repro ")
    remedy = told.strip().partition("make it with: ")[2].split()
    call(repository, *remedy)
    call(repository, *command)
