"""The audit's pipeline for real, on the digits."""

from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import SMALL_AUDIT
from tests.repositories import call, copied, ran
from tools.demo import change_params

AUDIT = "audit/dvc.yaml"
LADDER, APART = SMALL_AUDIT["audit.ladder"], SMALL_AUDIT["audit.apart"]
LAST = [f"{AUDIT}:{name}" for name in ("gather", "curves", "judge", "figures", "report")]


def both(*cells: str, apart: bool = False) -> list[str]:
    """Name the stages of some cells, such as core-1."""
    stages = ("train_apart", "measure_apart") if apart else ("train", "measure")
    return [f"{AUDIT}:{stage}@digits-{cell}" for stage in stages for cell in cells]


@pytest.fixture
def repository(finished_audit: Path, tmp_path: Path) -> Path:
    return copied(finished_audit, tmp_path / "repository")


def test_a_second_run_of_all_pipelines_runs_nothing(repository: Path) -> None:
    assert ran(call(repository, "dvc", "repro", "--all-pipelines")) == []
    assert ran(call(repository, "dvc", "repro", AUDIT)) == []
    assert call(repository, "git", "status", "--porcelain") == ""


def test_tables_hold_every_network(finished_audit: Path) -> None:
    tables = finished_audit / "metrics" / "audit"
    networks = pd.read_csv(tables / "networks.csv")
    assert networks.groupby("recipe", sort=False).size().to_dict() == {
        "as_published": 6,
        "core": 6,
        "conventional": 3,
        "large_1": 3,
    }
    epochs = pd.read_csv(tables / "epochs.csv")
    assert epochs.groupby(["recipe", "seed"]).size().to_dict() == {
        ("large_1", 1): 2,
        ("large_1", 2): 2,
        ("large_1", 3): 2,
    }


def test_core_repeats_the_core_study_where_seeds_and_rates_are_the_same(
    finished_audit: Path,
) -> None:
    networks = pd.read_csv(finished_audit / "metrics" / "audit" / "networks.csv")
    seeds = pd.read_csv(finished_audit / "metrics" / "seeds.csv")
    grid = seeds[seeds["role"] == "grid"].set_index(["learning_rate", "seed"])
    core = networks[networks["recipe"] == "core"].set_index(["learning_rate", "seed"])
    core = core.loc[grid.index]
    for name in ("test_accuracy", "feature_sparsity_2", "peak_gradient_norm"):
        assert core[name].to_dict() == grid[name].to_dict()


def test_the_first_rate_of_a_carried_recipe_is_that_of_a_fresh_one(finished_audit: Path) -> None:
    """Digits have no published statistics, and two epochs no other schedule."""
    networks = pd.read_csv(finished_audit / "metrics" / "audit" / "networks.csv")
    first = networks[networks["learning_rate"] == 0.1].groupby("recipe")["test_loss"].agg(list)
    assert first["as_published"] == first["core"]
    second = networks[networks["learning_rate"] == 0.5].groupby("recipe")["test_loss"].agg(list)
    assert second["as_published"] != second["core"]


def test_report_and_figures_are_there(finished_audit: Path) -> None:
    report = (finished_audit / "metrics" / "claims.md").read_text(encoding="utf-8")
    claims = pd.read_csv(finished_audit / "metrics" / "claims.csv")
    assert all(statement in report for statement in claims["statement"])
    figures = sorted(path.name for path in (finished_audit / "metrics" / "audit_figures").iterdir())
    assert {"digits-ladder-dark.png", "digits-ladder-light.png", "effects-light.png"} <= {*figures}


@pytest.mark.slow
def test_an_added_group_is_the_only_one_trained(repository: Path) -> None:
    change_params(repository, **{"audit.groups": [1, 11]})
    expected = ["check", *both(*(f"{name}-11" for name in LADDER)), *LAST]
    assert ran(call(repository, "dvc", "repro", AUDIT)) == sorted(expected)
    networks = pd.read_csv(repository / "metrics" / "audit" / "networks.csv")
    assert networks.groupby("recipe", sort=False)["seed"].agg(set).to_dict() == {
        "as_published": {1, 2, 3, 11, 12, 13},
        "core": {1, 2, 3, 11, 12, 13},
        "conventional": {1, 2, 3},
        "large_1": {1, 2, 3},
    }


@pytest.mark.slow
def test_a_clone_without_data_trains_an_added_recipe_alone(
    repository: Path, tmp_path: Path
) -> None:
    """What others have measured is in git; their networks are not."""
    call(repository, "git", "clone", "--quiet", str(repository), str(tmp_path / "clone"))
    clone = tmp_path / "clone"
    change_params(clone, **{"audit.apart": [*APART, "large_5"], "audit.recipes.large_5.epochs": 2})
    call(clone, "dvc", "repro", "preprocess")
    stages = ran(call(clone, "dvc", "repro", "--allow-missing", f"{AUDIT}:gather"))
    trained = [stage for stage in stages if "train" in stage]
    assert trained == [f"{AUDIT}:train_apart@digits-large_5-1"]
    networks = pd.read_csv(clone / "metrics" / "audit" / "networks.csv")
    assert len(networks) == 21


def would_run(repository: Path) -> list[str]:
    """List the audit's stages that have changed, as far as can be told without running any."""
    told = ran(call(repository, "dvc", "repro", "--dry", "--all-pipelines"))
    return [stage for stage in told if stage.startswith(AUDIT)]


def test_an_edited_recipe_is_the_only_one_trained(repository: Path) -> None:
    change_params(repository, **{"audit.recipes.large_1.decay": 0.5})
    assert would_run(repository) == sorted([*both("large_1-1", apart=True), f"{AUDIT}:gather"])


def test_another_way_to_measure_retrains_nothing_of_the_audit(repository: Path) -> None:
    with (repository / "stages" / "diagnostics" / "features.py").open("a") as module:
        module.write("# edited\n")
    cells = [
        *both(*(f"{name}-1" for name in LADDER)),
        *both("conventional-1", "large_1-1", apart=True),
    ]
    assert would_run(repository) == sorted(cell for cell in cells if ":measure" in cell)


def test_another_study_changes_nothing_of_the_audit_but_its_page(repository: Path) -> None:
    """Other seeds and another candidate change every run, every diagnosis and every table."""
    change_params(repository, lr=0.25, seeds=[3])
    results = [repository / "data" / name for name in ("runs", "diagnostics")]
    results += [path for path in (repository / "metrics").glob("*.csv") if path.stem != "claims"]
    results += [repository / "metrics" / name for name in ("runs", "figures", "summary.json")]
    for place in results:
        for path in [place, *place.rglob("*")]:
            if path.is_file():
                path.write_bytes(path.read_bytes() + b" ")
    assert would_run(repository) == [f"{AUDIT}:report"]


@pytest.mark.parametrize("lost", ["core", "large_1"])
def test_a_lost_part_is_named_with_the_command_that_makes_it(repository: Path, lost: str) -> None:
    name = f"metrics/audit/cells/digits/{lost}/1/networks.csv"
    (repository / name).unlink()
    command = ["python", "-m", "stages.audit.gather", "metrics/audit/cells", "metrics/audit"]
    told = call(repository, *command, status=1)
    assert told.startswith(f"error: {name} does not exist: create it with: dvc repro ")
    remedy = told.strip().partition("create it with: ")[2].split()
    call(repository, *remedy)
    call(repository, *command)
