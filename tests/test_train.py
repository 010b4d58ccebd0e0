"""A whole training run: what it records, and that nothing but its inputs decides it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from stages.core import params, runs
from stages.core.compute import device_named
from stages.core.datasets import Prepared, save
from stages.core.errors import UserError
from stages.core.examples import Splits
from stages.core.stack import Stack
from stages.train import TrainParams, main, orders, starting_stack, train

PROJECT = Path(__file__).parent.parent
BIG = 1e30


def change(folder: Path, **changes: object) -> None:
    content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    (folder / "params.yaml").write_text(yaml.safe_dump(content | changes), encoding="utf-8")


def trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, lr: float | None = None
) -> Path:
    """Run the stage as DVC does, short of a process of its own."""
    target = folder / "runs" / "small" / name
    rate = [] if lr is None else ["--lr", str(lr)]
    command = ["train", str(folder / "small.npz"), str(target), *rate]
    monkeypatch.setattr("sys.argv", [*command, "--params", str(folder / "params.yaml")])
    main()
    return target


def contents(target: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(target.iterdir())}


def test_two_runs_write_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = contents(trained(folder, monkeypatch, "a", 0.1))
    torch.rand(7)
    assert contents(trained(folder, monkeypatch, "b", 0.1)) == first
    assert set(first) == {
        "history.csv",
        "parameters.npz",
        "run.json",
        "steps.npz",
        "validation.csv",
    }


def test_the_candidate_at_a_rate_of_the_grid_is_that_rate(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(folder, lr=0.2)
    grid = contents(trained(folder, monkeypatch, "0.2", 0.2))
    assert contents(trained(folder, monkeypatch, runs.CANDIDATE)) == grid


def test_each_epoch_scores_the_parameters_saved_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(folder, monkeypatch, "0.1", 0.1)
    history, parameters = runs.load_tables(target).history, runs.load_parameters(target)
    declared = params.load(TrainParams, folder / "params.yaml")
    with np.load(folder / "small.npz") as arrays:
        prepared = Prepared(**arrays)
    splits = Splits.of(prepared, declared.normalization, torch.device("cpu"))
    for epoch in (1, 2, 3):
        stack = Stack.from_arrays({name: each[epoch] for name, each in parameters.items()})
        rows = history[history["epoch"] == epoch]
        for split in ("validation", "test"):
            scores = getattr(splits, split).scores_of(stack)
            for name, values in scores._asdict().items():
                assert rows[f"{split}_{name}"].tolist() == values.tolist()


def test_the_saved_start_is_that_of_the_seeds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = runs.load_parameters(trained(folder, monkeypatch, "0.1", 0.1))
    for name, values in Stack.initialized((784, 16, 12, 10), [1, 2]).arrays().items():
        assert np.array_equal(parameters[name][0], values)


def test_history_condenses_the_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = trained(folder, monkeypatch, "0.1", 0.1)
    history, steps = runs.load_tables(target).history, runs.load_steps(target)
    second = history[history["epoch"] == 2]
    for quantity in ("gradient_norm", "relative_update"):
        values = steps[quantity][12:24].astype(np.float64)
        expected = {
            "mean": values.mean(axis=0),
            "median": np.median(values, axis=0),
            "p95": np.quantile(values, 0.95, axis=0),
            "max": values.max(axis=0),
        }
        for name, numbers in expected.items():
            assert second[f"{quantity}_{name}"].tolist() == pytest.approx(numbers.tolist())
    layers = np.sqrt(np.square(steps["layer_gradient_norm"]).sum(axis=2))
    np.testing.assert_allclose(layers, steps["gradient_norm"], rtol=1e-5)


def test_history_has_a_row_a_seed_and_epoch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs.load_tables(trained(folder, monkeypatch, "0.1", 0.1))
    assert run.history[["seed", "epoch", "step"]].to_numpy().tolist() == [
        [seed, epoch, 12 * epoch] for seed in (1, 2) for epoch in (1, 2, 3)
    ]
    assert run.validation[["seed", "step"]].to_numpy().tolist() == [
        [seed, step] for seed in (1, 2) for step in (5, 10, 12, 24, 36)
    ]
    assert np.isfinite(run.history.to_numpy()).all()
    assert run.facts == {
        "dataset": "small",
        "learning_rate": 0.1,
        "epochs": 3,
        "steps_per_epoch": 12,
        "chance_accuracy": 0.1,
        "networks": [{"seed": 1, "diverged": False}, {"seed": 2, "diverged": False}],
    }


def test_a_seed_decides_its_order_whoever_shares_the_stack() -> None:
    together, alone = orders([5, 6], 40), orders([6], 40)
    for _ in range(3):
        both, one = next(together), next(alone)
        assert torch.equal(both[1], one[0])
        assert sorted(one[0].tolist()) == list(range(40))
        assert not torch.equal(both[0], both[1])


def test_divergence_is_recorded_where_the_loss_first_was_not_finite(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = trained(folder, monkeypatch, "wild", BIG)
    run = runs.load_tables(target)
    for seed, network in zip((1, 2), run.facts["networks"], strict=True):
        (norm,) = network.pop("last_gradient_norms")
        assert 0 < norm < 100
        assert network == {"seed": seed, "diverged": True, "epoch": 1, "step": 2}
    assert run.history["test_loss"].isna().all()
    assert "NaN" not in (target / "run.json").read_text(encoding="utf-8")
    share_of_class_0 = 0.1
    assert run.history["test_accuracy"].tolist() == [share_of_class_0] * 6


def test_fixed_normalization_replaces_the_statistics(folder: Path) -> None:
    with np.load(folder / "small.npz") as arrays:
        prepared = Prepared(**arrays)
    for normalization, mean, deviation in (
        (params.Normalization(mean=0.5, deviation=0.2), 0.5, 0.2),
        (params.Normalization(mean=None, deviation=None), 0.3, 0.25),
    ):
        inputs = Splits.of(prepared, normalization, torch.device("cpu")).test.inputs
        expected = (prepared.test_images.reshape(30, -1) / 255 - mean) / deviation
        np.testing.assert_allclose(inputs[:].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_without_a_validation_split_its_columns_are_empty(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(folder / "small.npz") as arrays:
        prepared = Prepared(**arrays)
    nothing = {"validation_images": prepared.validation_images[:0]}
    nothing["validation_labels"] = prepared.validation_labels[:0]
    save(Prepared(**(prepared.__dict__ | nothing)), folder / "small.npz")
    history = runs.load_tables(trained(folder, monkeypatch, "0.1", 0.1)).history
    assert history["validation_accuracy"].isna().all()
    assert history["test_accuracy"].notna().all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_an_absent_device_is_refused() -> None:
    with pytest.raises(UserError, match=r"compute\.device = cuda: this machine has none; give"):
        device_named("cuda")


LOADERS = {
    "run.json": runs.load_tables,
    "history.csv": runs.load_tables,
    "validation.csv": runs.load_tables,
    "steps.npz": runs.load_steps,
    "parameters.npz": runs.load_parameters,
}


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("damage", [None, b"{", b""])
def test_a_damaged_run_is_refused_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: bytes | None
) -> None:
    target = trained(folder, monkeypatch, "0.1", 0.1)
    (target / name).unlink()
    if damage is not None:
        (target / name).write_bytes(damage)
    with pytest.raises(UserError, match=r"small.*0\.1.*dvc repro .*train@small-0\.1"):
        LOADERS[name](target)


def test_json_of_a_run_is_strict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = trained(folder, monkeypatch, "wild", BIG)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((target / "run.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert isinstance(pd.read_csv(target / "history.csv"), pd.DataFrame)


def test_a_network_that_exploded_steps_no_more_and_disturbs_none(folder: Path) -> None:
    declared = params.load(TrainParams, folder / "params.yaml")
    with np.load(folder / "small.npz") as arrays:
        prepared = Prepared(**arrays)
    splits = Splits.of(prepared, declared.normalization, torch.device("cpu"))
    ended = []
    for second in (0.1, BIG):
        stack = starting_stack(splits, declared)
        rates = torch.tensor([0.1, second], dtype=torch.float64)
        ended.append(list(train(stack, splits, rates, declared)))
    share_of_class_0 = 0.1
    for calm, wild in zip(*ended, strict=True):
        for name, values in vars(calm.steps).items():
            assert torch.equal(getattr(wild.steps, name)[:, 0], values[:, 0])
        for split in ("train", "validation", "test"):
            ours, theirs = getattr(wild, split), getattr(calm, split)
            assert [float(each[0]) for each in ours] == [float(each[0]) for each in theirs]
            assert torch.isnan(ours.loss[1])
            if wild is ended[1][-1]:
                assert float(ours.accuracy[1]) == pytest.approx(share_of_class_0)
        assert wild.early.keys() == calm.early.keys()
    assert torch.isnan(ended[1][-1].steps.loss[:, 1]).all()
