"""What the audit's recipes train, against the core study's own stage."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stages.audit import rung
from stages.audit.applied import RecipeParams, recipe_named
from stages.core import params
from stages.core.datasets import Prepared
from stages.core.errors import UserError
from stages.core.examples import Splits
from stages.core.features import feature_sparsity
from stages.core.runs import HISTORY, load_tables
from stages.train import starting_stack, train_run

RATES = [0.1, 0.2]


def climbed(folder: Path, monkeypatch: pytest.MonkeyPatch, recipe: str) -> Path:
    """Run the stage as DVC does, short of a process of its own."""
    target = folder / "rungs" / recipe
    command = ["rung", str(folder / "small.npz"), str(target), "--recipe", recipe]
    monkeypatch.setattr("sys.argv", [*command, "--params", str(folder / "params.yaml")])
    rung.main()
    return target


def declared_in(folder: Path) -> RecipeParams:
    return params.load(RecipeParams, folder / "params.yaml")


def splits_of(folder: Path, normalization: params.Normalization) -> Splits:
    with np.load(folder / "small.npz") as arrays:
        return Splits.of(Prepared(**arrays), normalization, torch.device("cpu"))


def test_a_recipe_like_core_repeats_the_core_study(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(text.replace("clip_norm: 1.0", "clip_norm: null"))
    target = climbed(folder, monkeypatch, "clipped")
    core = declared_in(folder).core()
    splits = splits_of(folder, core.normalization)
    for rate in declared_in(folder).learning_rates:
        stack = starting_stack(splits, core)
        expected = train_run(stack, splits, float(rate), core, dataset="small", title="")
        found = load_tables(target / f"{rate:g}")
        pd.testing.assert_frame_equal(found.history, expected.tables.history, check_dtype=False)
        assert found.facts == expected.tables.facts


def test_carried_weights_are_those_the_rate_before_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = climbed(folder, monkeypatch, "as_published")
    declared = declared_in(folder)
    training = declared.applied(declared.audit.recipes["as_published"], "small")
    splits = splits_of(folder, training.normalization)
    stack = starting_stack(splits, training)
    for rate in declared.learning_rates[:2]:
        expected = train_run(stack, splits, float(rate), training, dataset="small", title="")
        history = load_tables(target / f"{rate:g}").history
        pd.testing.assert_frame_equal(history, expected.tables.history, check_dtype=False)
    assert set(history["learning_rate"]) == {0.2}
    assert tuple(history.columns) == HISTORY


def test_features_are_those_of_the_last_epoch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = pd.read_csv(climbed(folder, monkeypatch, "clipped") / "features.csv")
    declared = declared_in(folder)
    training = declared.applied(declared.audit.recipes["clipped"], "small")
    splits = splits_of(folder, training.normalization)
    stack = starting_stack(splits, training)
    train_run(stack, splits, 0.1, training, dataset="small", title="")
    *hidden, _ = stack.activations(splits.train.inputs[: declared.diagnose.examples])
    for layer, activations in enumerate(hidden, start=1):
        rows = features[(features["learning_rate"] == 0.1) & (features["layer"] == layer)]
        assert rows["seed"].tolist() == [1, 2]
        expected = feature_sparsity(activations).tolist()
        assert rows["feature_sparsity"].tolist() == pytest.approx(expected)


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
    core, applied = declared.core(), declared.applied(declared.audit.recipes[recipe], dataset)
    assert applied.normalization.mean == mean
    assert (applied.training.clip_norm, applied.training.schedule.name) == training
    changed = {"training", "normalization"}
    assert applied.model_dump(exclude=changed) == core.model_dump(exclude=changed)
    for name in ("epochs", "batch_size"):
        assert getattr(applied.training, name) == getattr(core.training, name)


def test_rates_are_the_grids_unless_a_recipe_has_its_own(folder: Path) -> None:
    declared = declared_in(folder)
    assert recipe_named("clipped", declared).rates == declared.learning_rates
    assert recipe_named("conventional", declared).rates == (1e-5,)


def test_an_unknown_recipe_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"audit\.recipes has no warm: give one of as_published, "):
        recipe_named("warm", declared_in(folder))
