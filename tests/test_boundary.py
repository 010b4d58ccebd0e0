"""The search for the rate at which a seed breaks, on seeds whose boundary is known."""

import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from stages.audit import boundary
from stages.audit.boundary import MOST_ROUNDS, ends_trained, search
from stages.audit.training.parameters import Search
from stages.common.datasets import Prepared
from stages.common.parameters import read_params
from stages.training.loop import starting_stack, train
from stages.training.parameters import TrainParams
from stages.training.splits import Splits

BEGIN = Search(low=0.4, high=1.6, resolution=1.05)


@pytest.mark.parametrize("breaks_at", [0.02, 0.3, 0.41, 0.55, 0.8, 1.59, 1.7, 40.0])
def test_the_boundary_is_bracketed_within_the_resolution(breaks_at: float) -> None:
    last = search([7], BEGIN, lambda rates: {7: rates[7] < breaks_at}).iloc[-1]
    assert last["low"] < breaks_at <= last["high"]
    assert last["high"] / last["low"] <= 1.05


def test_every_seed_is_searched_on_its_own() -> None:
    boundaries = {1: 0.3, 2: 0.7, 3: 2.5}
    tried: list[set[int]] = []

    def trial(rates: Mapping[int, float]) -> dict[int, bool]:
        tried.append(set(rates))
        return {seed: rate < boundaries[seed] for seed, rate in rates.items()}

    table = search(list(boundaries), BEGIN, trial)
    for seed, at in boundaries.items():
        rows = table[table["seed"] == seed]
        assert rows["low"].iloc[-1] < at <= rows["high"].iloc[-1]
        assert rows["trained"].tolist() == (rows["learning_rate"] < at).tolist()
        alone = search([seed], BEGIN, lambda rates, s=seed: {s: rates[s] < boundaries[s]})
        assert rows["learning_rate"].tolist() == alone["learning_rate"].tolist()
    assert tried[0] == {1, 2, 3}
    assert tried[-1] < {1, 2, 3}


def test_what_never_breaks_has_no_upper_end() -> None:
    table = search([7], BEGIN, lambda rates: {7: True})
    assert len(table) == MOST_ROUNDS
    assert math.isnan(table["high"].iloc[-1])


def test_a_stack_of_rates_ends_as_each_rate_alone(folder: Path) -> None:
    declared = read_params(TrainParams, folder / "params.yaml")
    with np.load(folder / "small.npz") as arrays:
        splits = Splits.of(Prepared(**arrays), declared.normalization, torch.device("cpu"))
    rates = {1: 0.1, 2: 1e30, 3: 1e-6}
    together = ends_trained(rates, splits, declared, trained_accuracy=0.5)
    alone = {
        seed: ends_trained({seed: rate}, splits, declared, trained_accuracy=0.5)[seed]
        for seed, rate in rates.items()
    }
    assert together == alone == {1: True, 2: False, 3: False}


def test_the_end_is_judged_by_the_last_1600_examples(folder: Path) -> None:
    declared = read_params(TrainParams, folder / "params.yaml")
    with np.load(folder / "small.npz") as arrays:
        content = dict(arrays)
    for name in ("train_images", "train_labels"):
        content[name] = np.concatenate([content[name][:90]] * 20)
    splits = Splits.of(Prepared(**content), declared.normalization, torch.device("cpu"))
    chosen = declared.model_copy(update={"seeds": (7,)})
    stack = starting_stack(splits, chosen)
    *_, last = train(stack, splits, torch.tensor([0.001], dtype=torch.float64), chosen)
    examples = 8 * last.steps.accuracy[:, 0].double()
    assert len(examples) == 1800 / 8
    share = float(examples[-200:].sum()) / 1600
    assert 0.2 < share < 0.8
    assert ends_trained({7: 0.001}, splits, declared, share - 0.0005) == {7: True}
    assert ends_trained({7: 0.001}, splits, declared, share + 0.0005) == {7: False}
    assert abs(share - float(examples.mean()) / 8) > 0.0005


def test_the_number_of_workers_changes_no_byte_of_the_trials(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    content["audit"]["seeds"] = [9, 1, 5]
    content["audit"]["search"] = {"low": 0.3, "high": 2.0, "resolution": 1.5}
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "data" / "processed").mkdir(parents=True)
    (folder / "small.npz").rename(folder / "data" / "processed" / "mnist.npz")
    command = ["boundary", str(folder / "data"), str(folder / "metrics"), "--dataset", "mnist"]

    def trials(workers: int, *recipe: str) -> bytes:
        monkeypatch.setenv("WORKERS", str(workers))
        parameters = ["--params", str(folder / "params.yaml")]
        monkeypatch.setattr("sys.argv", [*command, *recipe, *parameters])
        boundary.main()
        name = f"boundary-{recipe[-1] if recipe else 'core'}.csv"
        return (folder / "metrics" / "mnist" / name).read_bytes()

    alone = trials(1)
    assert trials(2) == trials(3) == alone
    table = pd.read_csv(io.BytesIO(alone))
    last = table.drop_duplicates("seed", keep="last")
    assert last["seed"].tolist() == [1, 5, 9]
    assert (last["high"] / last["low"]).between(1, 1.5).all()
    assert trials(2, "--recipe", "clipped") != alone
