"""What the audit's recipes train, and how their networks are measured."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from stages.audit import measure, rung
from stages.audit.training.recipes import RungParams
from stages.common.datasets import Prepared
from stages.common.errors import UserError
from stages.common.parameters import read_params
from stages.diagnostics.features import feature_sparsity
from stages.training.loop import starting_stack, train_run
from stages.training.parameters import Normalization
from stages.training.run_files import load
from stages.training.splits import Splits

SEEDS = [1, 2, 5, 3]


@pytest.fixture
def study(folder: Path) -> Path:
    """Lay out the small dataset under the name of one that has published statistics."""
    (folder / "data" / "processed").mkdir(parents=True)
    (folder / "small.npz").rename(folder / "data" / "processed" / "mnist.npz")
    audit = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["audit"]
    change(folder, audit=audit | {"seeds": SEEDS}, learning_rates=[0.1, 0.2, 40.0])
    return folder


def change(folder: Path, **sections: object) -> None:
    """Replace sections of params.yaml."""
    content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(yaml.safe_dump(content | sections), encoding="utf-8")


def declared_in(folder: Path) -> RungParams:
    return read_params(RungParams, folder / "params.yaml")


def trained(study: Path, monkeypatch: pytest.MonkeyPatch, recipe: str) -> Path:
    """Run the stage that trains a rung, short of a process of its own."""
    command = ["rung", str(study / "data"), "--dataset", "mnist", "--recipe", recipe]
    monkeypatch.setattr("sys.argv", [*command, "--params", str(study / "params.yaml")])
    rung.main()
    return study / "data" / "audit" / "rungs" / "mnist" / recipe


def measured(study: Path, monkeypatch: pytest.MonkeyPatch, recipe: str) -> pd.DataFrame:
    """Run the stage that measures a rung and read its table."""
    command = ["measure", str(study / "data"), str(study / "metrics"), "--dataset", "mnist"]
    parameters = ["--params", str(study / "params.yaml")]
    monkeypatch.setattr("sys.argv", [*command, "--recipe", recipe, *parameters])
    measure.main()
    return pd.read_csv(study / "metrics" / "mnist" / f"{recipe}.csv")


def splits_of(study: Path, normalization: Normalization) -> Splits:
    with np.load(study / "data" / "processed" / "mnist.npz") as arrays:
        return Splits.of(Prepared(**arrays), normalization, torch.device("cpu"))


def test_a_recipe_like_core_repeats_the_core_study(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (study / "params.yaml").read_text(encoding="utf-8")
    (study / "params.yaml").write_text(text.replace("clip_norm: 1.0", "clip_norm: null"))
    target = trained(study, monkeypatch, "clipped")
    core = declared_in(study).core()
    splits = splits_of(study, core.normalization)
    for rate in (0.1, 0.2, 40.0):
        stack = starting_stack(splits, core)
        expected = train_run(stack, splits, rate, core, dataset="mnist")
        found = load(target / f"{rate:g}")
        pd.testing.assert_frame_equal(found.history, expected.history, check_dtype=False)
        assert found.facts == expected.facts
        for name, values in expected.steps.items():
            np.testing.assert_array_equal(found.steps[name], values)


def test_carried_networks_go_on_from_where_the_rate_before_left_them(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "as_published")
    declared = declared_in(study)
    training = declared.applied(declared.recipe("as_published"), "mnist")
    splits = splits_of(study, Normalization(mean=0.1307, deviation=0.3081))
    stack = starting_stack(splits, training)
    for rate in (0.1, 0.2, 40.0):
        expected = train_run(stack, splits, rate, training, dataset="mnist")
        found = load(target / f"{rate:g}")
        pd.testing.assert_frame_equal(found.history, expected.history, check_dtype=False)


def test_a_rung_keeps_the_parameters_of_each_rates_end_alone(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "as_published")
    declared = declared_in(study)
    training = declared.applied(declared.recipe("as_published"), "mnist")
    splits = splits_of(study, training.normalization)
    stack = starting_stack(splits, training)
    train_run(stack, splits, 0.1, training, dataset="mnist")
    kept = load(target / "0.1").parameters
    assert kept["weight_0"].shape == (1, len(SEEDS), 784, 16)
    for name, values in stack.arrays().items():
        np.testing.assert_array_equal(kept[name][0], values)


def test_the_number_of_workers_changes_no_byte(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files(workers: int) -> dict[str, bytes]:
        monkeypatch.setenv("WORKERS", str(workers))
        target = trained(study, monkeypatch, "as_published")
        paths = sorted(path for path in target.rglob("*") if path.is_file())
        return {str(path.relative_to(target)): path.read_bytes() for path in paths}

    alone = files(1)
    assert len(alone) == 3 * 4
    assert json.loads(alone["0.1/run.json"])["seeds"] == SEEDS
    for workers in (2, 3, 5):
        assert files(workers) == alone


def test_the_table_has_one_row_per_rate_and_seed_with_what_the_run_says_of_its_end(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "as_published")
    table = measured(study, monkeypatch, "as_published")
    assert list(table.columns) == [
        *("learning_rate", "seed", "outcome", "lost_epoch", "lost_step", "lost_how"),
        *("running_accuracy", "steps_to_threshold", "peak_gradient_norm", "chance_accuracy"),
        *("validation_accuracy", "test_accuracy", "train_accuracy", "test_loss", "train_loss"),
        "gradient_norm",
        *("feature_sparsity_1", "feature_sparsity_2"),
    ]
    assert table["learning_rate"].tolist() == [0.1] * 4 + [0.2] * 4 + [40] * 4
    assert table["seed"].tolist() == SEEDS * 3
    assert table["outcome"].tolist() == ["trained"] * 8 + ["lost"] * 4
    for rate, rows in table.groupby("learning_rate"):
        history = load(target / f"{rate:g}").history.set_index(["epoch", "seed"]).loc[3]
        for name in ("test_accuracy", "train_accuracy", "validation_accuracy"):
            expected = history[name][SEEDS].tolist()
            assert rows[name].tolist() == pytest.approx(expected, rel=1e-5)
        norms = history["gradient_norm_mean"][SEEDS].where(np.isfinite).tolist()
        assert rows["gradient_norm"].tolist() == pytest.approx(norms, rel=1e-5, nan_ok=True)


def test_sparsity_is_that_of_the_last_networks_on_the_first_training_images(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load((study / "params.yaml").read_text(encoding="utf-8"))
    change(study, diagnose=content["diagnose"] | {"examples": 50})
    trained(study, monkeypatch, "standardized")
    table = measured(study, monkeypatch, "standardized")
    declared = declared_in(study)
    training = declared.applied(declared.recipe("standardized"), "mnist")
    splits = splits_of(study, training.normalization)
    stack = starting_stack(splits, training)
    train_run(stack, splits, 0.2, training, dataset="mnist")
    *hidden, _ = stack.activations(splits.train.inputs[:50])
    rows = table[table["learning_rate"] == 0.2]
    for layer, activations in enumerate(hidden, start=1):
        expected = feature_sparsity(activations).tolist()
        assert rows[f"feature_sparsity_{layer}"].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("recipe", "dataset", "mean", "training"),
    [
        ("as_published", "mnist", 0.1307, (None, "notebook")),
        ("fresh_start", "fashion_mnist", 0.5, (None, "notebook")),
        ("fresh_start", "digits", None, (None, "notebook")),
        ("standardized", "mnist", None, (None, "notebook")),
        ("clipped", "mnist", None, (1.0, "constant")),
        ("warmup_cosine", "mnist", None, (None, "warmup_cosine")),
    ],
)
def test_recipes_change_what_they_say_and_nothing_else(
    folder: Path, recipe: str, dataset: str, mean: float | None, training: tuple[float | None, str]
) -> None:
    declared = declared_in(folder)
    core, applied = declared.core(), declared.applied(declared.recipe(recipe), dataset)
    assert applied.normalization.mean == mean
    assert (applied.training.clip_norm, applied.training.schedule.name) == training
    changed = {"training", "normalization"}
    assert applied.model_dump(exclude=changed) == core.model_dump(exclude=changed)
    for name in ("epochs", "batch_size"):
        assert getattr(applied.training, name) == getattr(core.training, name)


def test_rates_are_the_grids_unless_a_recipe_has_its_own(folder: Path) -> None:
    declared = declared_in(folder)
    assert declared.rates(declared.recipe("clipped")) == declared.learning_rates
    assert declared.rates(declared.recipe("conventional")) == (1e-5,)


def test_an_unknown_recipe_is_refused(folder: Path) -> None:
    with pytest.raises(UserError) as refused:
        declared_in(folder).recipe("warm")
    assert str(refused.value) == (
        "params.yaml: audit.recipes has no warm: give one of as_published, clipped, "
        "conventional, fresh_start, standardized, warmup_cosine"
    )
