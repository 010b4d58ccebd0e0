"""What the audit's recipes train, and how their networks are measured."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from numpy.typing import NDArray

from stages.audit import gather, measure, train
from stages.audit.train import permute_units
from stages.audit.training.recipes import RecipeParams
from stages.common.datasets import Prepared
from stages.common.errors import UserError
from stages.common.parameters import read_params
from stages.diagnostics.features import effective_rank, feature_sparsity
from stages.training.loop import starting_stack, train_run
from stages.training.parameters import Normalization, TrainParams
from stages.training.run_files import load
from stages.training.splits import Splits
from stages.training.stack import Stack
from tools.demo import change_params

SEEDS = [5, 6, 7, 8]
RATES = [0.1, 0.2, 40.0]
EPOCHS = (
    "learning_rate,seed,epoch,train_loss,test_accuracy,validation_accuracy,feature_sparsity,"
    "effective_rank,parameter_norm"
)


@pytest.fixture
def study(folder: Path) -> Path:
    """Lay out the small dataset under the name of one that has published statistics."""
    (folder / "data" / "processed").mkdir(parents=True)
    (folder / "small.npz").rename(folder / "data" / "processed" / "mnist.npz")
    audit = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["audit"]
    audit["recipes"]["large_1"] |= {"epochs": 4, "rates": [0.2]}
    change(folder, audit=audit | {"groups": [5, 100], "networks": 4, "rates": RATES})
    return folder


def change(folder: Path, **sections: object) -> None:
    """Replace sections of params.yaml."""
    content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(yaml.safe_dump(content | sections), encoding="utf-8")


def declared_in(folder: Path) -> RecipeParams:
    return read_params(RecipeParams, folder / "params.yaml")


def applied(folder: Path, recipe: str) -> TrainParams:
    declared = declared_in(folder)
    return declared.applied(declared.recipe(recipe), "mnist", tuple(SEEDS))


def trained(study: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, group: int = 5) -> Path:
    """Run the stage that trains a recipe, short of a process of its own."""
    command = ["train", str(study / "data"), "--dataset", "mnist", "--recipe", recipe]
    parameters = ["--group", str(group), "--params", str(study / "params.yaml")]
    monkeypatch.setattr("sys.argv", [*command, *parameters])
    train.main()
    return study / "data" / "audit" / "mnist" / recipe / str(group)


def measured(study: Path, monkeypatch: pytest.MonkeyPatch, recipe: str) -> Path:
    """Run the stage that measures a recipe."""
    cells = study / "metrics" / "cells"
    command = ["measure", str(study / "data"), str(cells), "--dataset", "mnist", "--group", "5"]
    parameters = ["--params", str(study / "params.yaml")]
    monkeypatch.setattr("sys.argv", [*command, "--recipe", recipe, *parameters])
    measure.main()
    return cells / "mnist" / recipe / "5"


def splits_of(study: Path, normalization: Normalization) -> Splits:
    with np.load(study / "data" / "processed" / "mnist.npz") as arrays:
        return Splits.of(Prepared(**arrays), normalization, torch.device("cpu"))


def stack_at_end(study: Path, recipe: str, rate: float) -> tuple[Stack, Splits]:
    training = applied(study, recipe)
    splits = splits_of(study, training.normalization)
    stack = starting_stack(splits, training)
    train_run(stack, splits, rate, training, dataset="mnist")
    return stack, splits


def files_in(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_core_trains_as_the_core_study_does(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = trained(study, monkeypatch, "core")
    content = yaml.safe_load((study / "params.yaml").read_text(encoding="utf-8"))
    core = TrainParams.model_validate(content | {"seeds": SEEDS})
    splits = splits_of(study, core.normalization)
    for rate in RATES:
        stack = starting_stack(splits, core)
        expected = train_run(stack, splits, rate, core, dataset="mnist")
        found = load(target / f"{rate:g}", "mnist", by_epoch=False)
        pd.testing.assert_frame_equal(found.history, expected.history, check_dtype=False)
        assert found.facts == expected.facts
        for name, values in expected.steps.items():
            np.testing.assert_array_equal(found.steps[name], values)


def test_a_group_has_the_seeds_from_its_first_on(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "core", group=100)
    assert load(target / "0.1", "mnist", by_epoch=False).facts["seeds"] == [100, 101, 102, 103]


def test_carried_networks_go_on_from_where_the_rate_before_left_them(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "as_published")
    training = applied(study, "as_published")
    splits = splits_of(study, Normalization(mean=0.1307, deviation=0.3081))
    stack = starting_stack(splits, training)
    for rate in RATES:
        expected = train_run(stack, splits, rate, training, dataset="mnist")
        found = load(target / f"{rate:g}", "mnist", by_epoch=False)
        pd.testing.assert_frame_equal(found.history, expected.history, check_dtype=False)
        for name, values in stack.arrays().items():
            assert found.parameters[name].shape == (1, *values.shape)
            np.testing.assert_array_equal(found.parameters[name][0], values)


def test_a_recipe_by_epoch_keeps_the_parameters_after_every_epoch(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "large_1")
    training = applied(study, "large_1")
    splits = splits_of(study, training.normalization)
    expected = train_run(starting_stack(splits, training), splits, 0.2, training, dataset="mnist")
    found = load(target / "0.2", "mnist")
    assert found.history.loc[:3, "learning_rate"].tolist() == pytest.approx(
        [0.2, *[0.2 * 0.26041667] * 3]
    )
    for name, values in expected.parameters.items():
        assert len(found.parameters[name]) == 5
        np.testing.assert_array_equal(found.parameters[name], values)


def test_permuted_units_compute_the_same_function_in_another_order(study: Path) -> None:
    training = applied(study, "core")
    splits = splits_of(study, training.normalization)
    drawn, permuted = (starting_stack(splits, training) for _ in range(2))
    permute_units(permuted, SEEDS)
    inputs = splits.test.inputs[:]
    torch.testing.assert_close(permuted.logits(inputs), drawn.logits(inputs))
    for network in range(len(SEEDS)):
        columns = permuted.weights[0][network].T
        assert not torch.equal(columns, drawn.weights[0][network].T)
        assert sorted(columns.tolist()) == sorted(drawn.weights[0][network].T.tolist())


def test_the_order_of_units_is_the_seeds_own(study: Path) -> None:
    training = applied(study, "core")
    splits = splits_of(study, training.normalization)
    together, alone = starting_stack(splits, training), starting_stack(splits, training)
    permute_units(together, SEEDS)
    alone = alone.only(torch.tensor([2]))
    permute_units(alone, SEEDS[2:3])
    for all_weights, weights in zip(together.weights, alone.weights, strict=True):
        torch.testing.assert_close(all_weights[2:3], weights, rtol=0, atol=0)


def test_the_stage_trains_permuted_networks(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = load(trained(study, monkeypatch, "core") / "0.1", "mnist", by_epoch=False)
    permuted = load(trained(study, monkeypatch, "core_permuted") / "0.1", "mnist", by_epoch=False)
    assert permuted.steps["loss"].tolist() != drawn.steps["loss"].tolist()
    np.testing.assert_allclose(permuted.steps["loss"][:5], drawn.steps["loss"][:5], rtol=1e-4)


@pytest.mark.parametrize("recipe", ["as_published", "core"])
def test_the_number_of_workers_changes_no_byte(
    study: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    def files(workers: int) -> dict[str, bytes]:
        monkeypatch.setenv("WORKERS", str(workers))
        return files_in(trained(study, monkeypatch, recipe))

    alone = files(1)
    assert len(alone) == 3 * 4
    assert json.loads(alone["0.1/run.json"])["seeds"] == SEEDS
    for workers in (2, 3, 5, 12):
        assert files(workers) == alone


def test_the_number_of_workers_changes_no_byte_of_what_is_measured(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(study, monkeypatch, "large_1")
    monkeypatch.setenv("WORKERS", "1")
    alone = files_in(measured(study, monkeypatch, "large_1"))
    assert set(alone) == {"networks.csv", "epochs.csv"}
    monkeypatch.setenv("WORKERS", "3")
    assert files_in(measured(study, monkeypatch, "large_1")) == alone


def test_the_table_has_one_row_per_rate_and_seed_with_what_the_run_says_of_its_end(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "as_published")
    table = pd.read_csv(measured(study, monkeypatch, "as_published") / "networks.csv")
    assert list(table.columns) == [
        *("learning_rate", "seed", "outcome", "lost_epoch", "lost_step", "lost_how"),
        *("running_accuracy", "steps_to_threshold", "peak_gradient_norm"),
        *("steps_to_lower_threshold", "began_with_burst", "chance_accuracy"),
        *("first_epoch_accuracy", "validation_accuracy", "test_accuracy", "train_accuracy"),
        *("test_loss", "train_loss", "gradient_norm"),
        *("feature_sparsity_1", "feature_sparsity_2", "effective_rank_1", "effective_rank_2"),
    ]
    assert table["learning_rate"].tolist() == [0.1] * 4 + [0.2] * 4 + [40] * 4
    assert table["seed"].tolist() == SEEDS * 3
    assert table["outcome"].tolist() == ["trained"] * 8 + ["lost"] * 4
    for rate, rows in table.groupby("learning_rate"):
        history = load(target / f"{rate:g}", "mnist", by_epoch=False).history.set_index(
            ["epoch", "seed"]
        )
        for name in ("test_accuracy", "train_accuracy", "validation_accuracy"):
            expected = history.loc[3][name][SEEDS].tolist()
            assert rows[name].tolist() == pytest.approx(expected, rel=1e-5)
        first = history.loc[1]["validation_accuracy"][SEEDS].tolist()
        assert rows["first_epoch_accuracy"].tolist() == pytest.approx(first, rel=1e-5)
        norms = history.loc[3]["gradient_norm_mean"][SEEDS].where(np.isfinite).tolist()
        assert rows["gradient_norm"].tolist() == pytest.approx(norms, rel=1e-5, nan_ok=True)


def test_a_loss_that_began_with_a_burst_is_told(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "core")
    table = pd.read_csv(measured(study, monkeypatch, "core") / "networks.csv")
    lost = table[table["outcome"] == "lost"]
    assert len(lost) == 4
    norms = load(target / "40", "mnist", by_epoch=False).steps["gradient_norm"]
    steps = zip(lost["lost_step"].astype(int), range(4), strict=True)
    assert lost["began_with_burst"].tolist() == [
        float(not norms[step - 1, network] <= 50) for step, network in steps
    ]
    assert table.loc[table["outcome"] != "lost", "began_with_burst"].isna().all()


def test_the_lower_threshold_is_reached_first(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load((study / "params.yaml").read_text(encoding="utf-8"))
    content["outcome"]["threshold_accuracy"]["mnist"] = 0.5
    content["audit"]["lower_threshold_accuracy"]["mnist"] = 0.2
    change(study, **content)
    trained(study, monkeypatch, "core")
    table = pd.read_csv(measured(study, monkeypatch, "core") / "networks.csv")
    slow = table[table["learning_rate"] == 0.1]
    assert slow["steps_to_lower_threshold"].notna().all()
    assert (slow["steps_to_lower_threshold"] < slow["steps_to_threshold"].fillna(np.inf)).all()


def test_units_are_those_of_the_last_networks_on_the_first_training_images(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load((study / "params.yaml").read_text(encoding="utf-8"))
    change(study, diagnose=content["diagnose"] | {"examples": 50})
    trained(study, monkeypatch, "standardized")
    table = pd.read_csv(measured(study, monkeypatch, "standardized") / "networks.csv")
    stack, splits = stack_at_end(study, "standardized", 0.2)
    *hidden, _ = stack.activations(splits.train.inputs[:50])
    rows = table[table["learning_rate"] == 0.2]
    for layer, activations in enumerate(hidden, start=1):
        for quantity in (feature_sparsity, effective_rank):
            expected = quantity(activations).tolist()
            found = rows[f"{quantity.__name__}_{layer}"].tolist()
            assert found == pytest.approx(expected, rel=1e-4)


def test_epochs_are_measured_on_all_training_examples(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(study, monkeypatch, "large_1")
    cells = measured(study, monkeypatch, "large_1")
    table = pd.read_csv(cells / "epochs.csv")
    networks = pd.read_csv(cells / "networks.csv")
    assert list(table.columns) == [
        *("learning_rate", "seed", "epoch", "train_loss", "test_accuracy", "validation_accuracy"),
        *("feature_sparsity", "effective_rank", "parameter_norm"),
    ]
    assert table["seed"].tolist() == [seed for seed in SEEDS for _ in range(4)]
    assert table["epoch"].tolist() == [1, 2, 3, 4] * 4
    kept = load(target / "0.2", "mnist")
    splits = splits_of(study, applied(study, "large_1").normalization)
    inputs, labels = splits.train.inputs[:], splits.train.labels
    for place, row in table.iterrows():
        network, epoch = divmod(int(str(place)), 4)
        now: dict[str, NDArray[Any]] = {
            name: values[epoch + 1, network : network + 1]
            for name, values in kept.parameters.items()
        }
        logits = Stack.from_arrays(now).logits(inputs)[0]
        expected = float(torch.nn.functional.cross_entropy(logits, labels))
        assert row["train_loss"] == pytest.approx(expected, rel=1e-4)
        norm = np.sqrt(sum(float((part.astype(float) ** 2).sum()) for part in now.values()))
        assert row["parameter_norm"] == pytest.approx(norm, rel=1e-5)
    last = table[table["epoch"] == 4]
    assert last["feature_sparsity"].tolist() == networks["feature_sparsity_2"].tolist()
    assert last["effective_rank"].tolist() == networks["effective_rank_2"].tolist()
    history = kept.history["test_accuracy"].tolist()
    assert table["test_accuracy"].tolist() == pytest.approx(history, rel=1e-5)


@pytest.mark.parametrize(
    ("recipe", "dataset", "mean", "training"),
    [
        ("as_published", "mnist", 0.1307, (None, "notebook", 3, 8)),
        ("fresh_start", "fashion_mnist", 0.5, (None, "notebook", 3, 8)),
        ("fresh_start", "digits", None, (None, "notebook", 3, 8)),
        ("standardized", "mnist", None, (None, "notebook", 3, 8)),
        ("core", "mnist", None, (None, "constant", 3, 8)),
        ("clipped", "mnist", None, (1.0, "constant", 3, 8)),
        ("warmup_cosine", "mnist", None, (None, "warmup_cosine", 3, 8)),
        ("large_10", "mnist", None, (None, "drop", 20, 8)),
        ("large_batch", "mnist", None, (None, "constant", 20, 123)),
    ],
)
def test_recipes_change_what_they_say_and_nothing_else(
    folder: Path,
    recipe: str,
    dataset: str,
    mean: float | None,
    training: tuple[float | None, str, int, int],
) -> None:
    declared = declared_in(folder)
    found = declared.applied(declared.recipe(recipe), dataset, (3, 4))
    assert found.normalization.mean == mean
    recipe_now = found.training
    assert training == (
        recipe_now.clip_norm,
        recipe_now.schedule.name,
        recipe_now.epochs,
        recipe_now.batch_size,
    )
    assert (found.seeds, found.network, found.device) == ((3, 4), declared.network, declared.device)
    assert recipe_now.schedule.warmup_epochs == declared.training.schedule.warmup_epochs


def test_a_recipe_that_does_not_fit_is_refused_by_every_stage(folder: Path) -> None:
    change_params(folder, **{"training.schedule.warmup_epochs": 11})
    with pytest.raises(UserError) as refused:
        declared_in(folder)
    assert "audit.recipes.warmup_cosine: schedule.warmup_epochs = 11 is longer" in str(
        refused.value
    )


def test_the_decay_of_a_large_rate_ends_at_the_small_one(folder: Path) -> None:
    declared = declared_in(folder)
    for name, epochs in (("large_1", 1), ("large_5", 5), ("large_10", 10)):
        recipe = declared.recipe(name)
        schedule = declared.changed(recipe).schedule
        assert declared.rates_of(recipe) == (0.384,)
        assert (schedule.name, schedule.decay_epochs) == ("drop", epochs)
        assert 0.384 * schedule.decay == pytest.approx(0.1, abs=1e-8)


def test_rates_are_the_audits_unless_a_recipe_has_its_own(folder: Path) -> None:
    declared = declared_in(folder)
    assert declared.rates_of(declared.recipe("clipped")) == declared.audit.rates
    assert declared.rates_of(declared.recipe("conventional")) == (1e-5,)


def test_an_unknown_recipe_and_an_unknown_group_are_refused(folder: Path) -> None:
    declared = declared_in(folder)
    with pytest.raises(UserError) as refused:
        declared.recipe("warm")
    assert str(refused.value) == (
        "--recipe warm: not one of audit.recipes; give one of as_published, clipped, "
        "clipped_steep, conventional, core, core_permuted, core_steep, fresh_start, large, "
        "large_1, large_10, large_5, large_batch, small, small_batch, smallest, standardized, "
        "warmup_cosine, warmup_cosine_steep"
    )
    with pytest.raises(UserError) as refused:
        declared.seeds_of(7)
    assert str(refused.value) == "--group 7: not one of audit.groups; give one of 1000, 1010"


def laid_out(folder: Path) -> tuple[Path, list[str]]:
    """Lay out cells of two recipes of the ladder in two groups, and one beside it."""
    audit = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["audit"]
    audit["recipes"]["large"]["epochs"] = 1
    change(
        folder,
        datasets=["mnist"],
        audit=audit
        | {"ladder": ["core", "clipped"], "apart": ["large"], "groups": [7, 2], "networks": 1}
        | {"rates": [0.1]},
    )
    cells = folder / "cells"
    places = ["core/7", "core/2", "clipped/7", "clipped/2", "large/7", "large/2", "gone/7"]
    for place in places:
        target = cells / "mnist" / place
        target.mkdir(parents=True)
        seed = place.partition("/")[2]
        rate = 0.384 if place.startswith("large") else 0.1
        text = f"learning_rate,seed,outcome,lost_how,lost_step\n{rate},{seed},trained,,\n"
        (target / "networks.csv").write_text(text, encoding="utf-8")
        text = f"{EPOCHS}\n0.384,{seed},1,0.25,0.9,0.8,0.1,12,7\n"
        (target / "epochs.csv").write_text(text, encoding="utf-8")
    return cells, places


def gather_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["gather", str(folder / "cells"), str(folder / "tables")]
    monkeypatch.setattr("sys.argv", [*command, "--params", str(folder / "params.yaml")])
    gather.main()


def test_what_params_name_is_gathered_in_their_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out(folder)
    gather_in(folder, monkeypatch)
    assert (folder / "tables" / "networks.csv").read_text(encoding="utf-8") == (
        "dataset,recipe,learning_rate,seed,outcome,lost_how,lost_step\n"
        "mnist,core,0.1,7,trained,,\n"
        "mnist,core,0.1,2,trained,,\n"
        "mnist,clipped,0.1,7,trained,,\n"
        "mnist,clipped,0.1,2,trained,,\n"
        "mnist,large,0.384,7,trained,,\n"
    )
    assert (folder / "tables" / "epochs.csv").read_text(encoding="utf-8") == (
        f"dataset,recipe,{EPOCHS}\nmnist,large,0.384,7,1,0.25,0.9,0.8,0.1,12,7\n"
    )


def test_without_a_recipe_by_epoch_the_table_of_epochs_has_its_columns_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out(folder)
    audit = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["audit"]
    audit["recipes"]["large"]["by_epoch"] = False
    change(folder, audit=audit)
    gather_in(folder, monkeypatch)
    text = (folder / "tables" / "epochs.csv").read_text(encoding="utf-8")
    assert text == f"dataset,recipe,{EPOCHS}\n"


@pytest.mark.parametrize(
    ("lost", "target"), [("clipped/2", "measure@mnist-clipped-2"), ("large/7", "measure_apart@")]
)
def test_an_absent_cell_is_named_with_the_command_that_makes_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, lost: str, target: str
) -> None:
    cells, _ = laid_out(folder)
    path = cells / "mnist" / lost / "networks.csv"
    path.unlink()
    with pytest.raises(UserError) as refused:
        gather_in(folder, monkeypatch)
    told = f"{path} does not exist: create it with: dvc repro --force --single-item audit/dvc.yaml:"
    assert str(refused.value).startswith(told + target)
    assert not (folder / "tables").exists()


HEAD, ROW = "learning_rate,seed,outcome,lost_how,lost_step\n", "0.1,7,trained,,\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learning_rate,outcome\n0.1,trained\n", "it lacks the columns seed, lost_how"),
        (HEAD, "its networks are not those that params.yaml names"),
        (f"{HEAD}0.1,8,trained,,\n", "its networks are not those that params.yaml names"),
        (f"{HEAD}0.2,7,trained,,\n", "its networks are not those that params.yaml names"),
        (HEAD + 2 * ROW, "it holds a row twice"),
        (f"{HEAD}0.1,7,tired,,\n", "outcome is not one of trained, undertrained, lost"),
        (f"{HEAD}0.1,7,,,\n", "outcome is not one of trained, undertrained, lost"),
        (f"{HEAD}0.1,7,lost,exploded,soon\n", "lost_step holds something that is not a number"),
        (f"{HEAD}9,0.1,7,trained,,\n", "row 2 has 6 values instead of 5"),
    ],
)
def test_a_damaged_cell_is_named_with_the_command_that_makes_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    cells, _ = laid_out(folder)
    path = cells / "mnist" / "core" / "7" / "networks.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        gather_in(folder, monkeypatch)
    assert str(refused.value) == (
        f"{path} is damaged ({told}): recreate it with: "
        f"dvc repro --force --single-item audit/dvc.yaml:measure@mnist-core-7"
    )


@pytest.mark.parametrize(
    ("epochs", "told"),
    [
        ("7,1 7,2 8,1 8,1", "it holds a row twice"),
        ("7,1 7,2 8,1", "it lacks rows"),
        ("7,1 7,2 8,2", "it lacks rows"),
        ("7,1 7,2", "it lacks rows"),
        ("", "it lacks rows"),
        ("7,1 7,2 8,1 8,2 9,2", "it lacks rows"),
        ("7,1 7,2 8,1 8,2 6,1", "its networks are not those that params.yaml names"),
        ("7,1 8,1", "it lacks rows"),
        ("7,1 7,2 7,3 8,1 8,2 8,3", "it has epochs after the last, 2"),
        ("7,1 7,2 8,1 8,2 9,1 9,2 9,3", "it has epochs after the last, 2"),
        ("7,1 7,2 8,1 8,2", None),
        ("7,1 7,2 8,1 8,2 9,1", None),
    ],
)
def test_of_epochs_only_those_of_a_network_that_exploded_may_be_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, epochs: str, told: str | None
) -> None:
    laid_out(folder)
    audit = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["audit"]
    audit["recipes"]["large"]["epochs"] = 2
    change(folder, audit={**audit, "ladder": ["core"], "groups": [7], "networks": 3})
    others = "".join(f"0.1,{seed},trained,,\n" for seed in (7, 8, 9))
    (folder / "cells/mnist/core/7/networks.csv").write_text(HEAD + others, encoding="utf-8")
    cell = folder / "cells" / "mnist" / "large" / "7"
    ends = "0.384,7,trained,,\n0.384,8,lost,collapsed,5\n0.384,9,lost,exploded,5\n"
    (cell / "networks.csv").write_text(HEAD + ends, encoding="utf-8")
    rows = [f"0.384,{place},0.25,0.9,0.8,0.1,12,7\n" for place in epochs.split()]
    path = cell / "epochs.csv"
    path.write_text("".join([f"{EPOCHS}\n", *rows]), encoding="utf-8")
    if told is None:
        gather_in(folder, monkeypatch)
        table = (folder / "tables" / "epochs.csv").read_text(encoding="utf-8")
        assert table == "".join(
            [f"dataset,recipe,{EPOCHS}\n", *(f"mnist,large,{row}" for row in rows)]
        )
    else:
        command = "dvc repro --force --single-item audit/dvc.yaml:measure_apart@mnist-large-7"
        refusal = f"{path} is damaged ({told}): recreate it with: {command}"
        with pytest.raises(UserError, match=f"^{re.escape(refusal)}$"):
            gather_in(folder, monkeypatch)
