"""The audit's pipeline for real, on the digits."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.conftest import SMALL_AUDIT
from tests.repositories import call, copied, ran
from tools.demo import change_params

AUDIT = "audit/dvc.yaml"
LADDER = SMALL_AUDIT["audit.ladder"]
LAST = [f"{AUDIT}:{name}" for name in ("claims", "ladder", "ladder_figures")]


def recipes_in(repository: Path) -> dict[str, Any]:
    content: Any = YAML(typ="safe").load(repository / "params.yaml")
    return dict(content["audit"]["recipes"])


def both(*recipes: str) -> list[str]:
    """Name the stages of some recipes."""
    return [f"{AUDIT}:{stage}@digits-{name}" for stage in ("rung", "measure") for name in recipes]


@pytest.fixture
def repository(finished_audit: Path, tmp_path: Path) -> Path:
    return copied(finished_audit, tmp_path / "repository")


def test_a_second_run_of_all_pipelines_runs_nothing(repository: Path) -> None:
    assert ran(call(repository, "dvc", "repro", "--all-pipelines")) == []
    assert ran(call(repository, "dvc", "repro", AUDIT)) == []
    assert call(repository, "git", "status", "--porcelain") == ""


def test_tables_hold_every_rung_and_boundary(finished_audit: Path) -> None:
    ladder = pd.read_csv(finished_audit / "metrics" / "ladder.csv")
    assert ladder.groupby("rung", sort=False).size().to_dict() == {
        "as_published": 6,
        "standardized": 6,
        "core": 9,
        "clipped": 6,
        "conventional": 3,
    }
    seeds = pd.read_csv(finished_audit / "metrics" / "seeds.csv")
    core = ladder[ladder["rung"] == "core"].set_index(["learning_rate", "seed"])
    expected = seeds.set_index(["learning_rate", "seed"])["test_accuracy"]
    assert core["test_accuracy"].to_dict() == expected.to_dict()
    boundary = pd.read_csv(finished_audit / "metrics" / "boundary.csv")
    assert boundary["recipe"].tolist() == ["core"] * 3 + ["clipped"] * 3
    assert (boundary["high"] / boundary["low"]).between(1, 3).all()


def test_the_first_rate_of_a_carried_recipe_is_that_of_a_fresh_one(finished_audit: Path) -> None:
    """Digits have no published statistics, so that nothing else differs before the second rate."""
    ladder = pd.read_csv(finished_audit / "metrics" / "ladder.csv")
    first = ladder[ladder["learning_rate"] == 0.1].set_index(["rung", "seed"])["test_loss"]
    assert first["as_published"].tolist() == first["standardized"].tolist()
    second = ladder[ladder["learning_rate"] == 0.2].set_index(["rung", "seed"])["test_loss"]
    assert second["as_published"].tolist() != second["standardized"].tolist()


def test_report_and_figures_are_there(finished_audit: Path) -> None:
    report = (finished_audit / "metrics" / "claims.md").read_text(encoding="utf-8")
    claims = pd.read_csv(finished_audit / "metrics" / "claims.csv")
    assert all(verdict in report for verdict in claims["verdict"])
    figures = sorted(path.name for path in (finished_audit / "metrics" / "ladder").iterdir())
    assert figures == ["digits-dark.png", "digits-light.png"]


def test_an_added_recipe_is_the_only_one_trained(repository: Path) -> None:
    recipes = recipes_in(repository)
    changes = {
        "audit.ladder": [*LADDER, "gentle"],
        "audit.recipes.gentle": recipes["clipped"] | {"clip_norm": 0.1},
    }
    change_params(repository, **changes)
    expected = sorted(["check", *both("gentle"), *LAST])
    assert ran(call(repository, "dvc", "repro", AUDIT)) == expected
    assert "gentle" in set(pd.read_csv(repository / "metrics" / "ladder.csv")["rung"])


def test_an_edited_recipe_retrains_itself_and_its_boundary(repository: Path) -> None:
    change_params(repository, **{"audit.recipes.clipped.clip_norm": 0.5})
    expected = ["check", *both("clipped"), f"{AUDIT}:boundary@digits-clipped", *LAST]
    assert ran(call(repository, "dvc", "repro", AUDIT)) == sorted(expected)


def test_another_candidate_retrains_nothing_of_the_audit(repository: Path) -> None:
    call(repository, "dvc", "exp", "run", "-S", "lr=0.25")
    assert ran(call(repository, "dvc", "repro", AUDIT)) == sorted(LAST)


def test_another_way_to_measure_retrains_nothing_of_the_audit(repository: Path) -> None:
    with (repository / "stages" / "diagnostics" / "features.py").open("a") as module:
        module.write("# edited\n")
    stages = ran(call(repository, "dvc", "repro", AUDIT))
    assert [stage for stage in stages if "rung" in stage or "train" in stage] == []
    assert [stage for stage in stages if "boundary" in stage] == []


@pytest.mark.parametrize("lost", ["clipped.csv", "boundary-core.csv"])
def test_a_lost_part_is_named_with_the_command_that_makes_it(repository: Path, lost: str) -> None:
    part = repository / "metrics" / "audit" / "digits" / lost
    part.unlink()
    command = ["python", "-m", "stages.audit.ladder", "metrics/seeds.csv", "metrics/audit"]
    told = call(repository, *command, "metrics", status=1)
    name = f"metrics/audit/digits/{lost}"
    assert told.startswith(f"error: {name} does not exist: make it with: dvc repro ")
    remedy = told.strip().partition("make it with: ")[2].split()
    call(repository, *remedy)
    call(repository, *command, "metrics")
