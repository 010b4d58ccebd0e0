"""From training to the tables, for networks of any shape: one stage after another."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import yaml

from stages import aggregate, diagnose, record, train
from stages.common.datasets import Prepared, load, save

PLACE = ("--dataset", "digits")
SHAPES = {
    "one layer of one unit": ([1], 8),
    "eleven layers, one of one unit, in one batch": ([9, 8, 7, 6, 5, 1, 5, 6, 7, 8, 9], 100_000),
}
"""Widths of the hidden layers, and the batch's size."""


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out one rate and the candidate, on a dataset without validation examples."""
    prepared = load(Prepared, folder / "small.npz", "")
    images, labels = prepared.validation_images[:0], prepared.validation_labels[:0]
    target = folder / "data" / "processed" / "digits.npz"
    target.parent.mkdir(parents=True)
    save(replace(prepared, validation_images=images, validation_labels=labels), target)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("shape", SHAPES)
def test_any_network_is_trained_measured_and_tabulated(
    study: Path, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(stage: ModuleType, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["", *arguments])
        stage.main()

    hidden, batch_size = SHAPES[shape]
    params = yaml.safe_load((study / "params.yaml").read_text(encoding="utf-8"))
    params |= {"datasets": ["digits"], "learning_rates": [0.1]}
    params["network"]["hidden"] = hidden
    params["training"]["batch_size"] = batch_size
    (study / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for rate in (("--lr", "0.1"), ()):
        run(train, "data", *PLACE, *rate)
        run(diagnose, "data", *PLACE, *rate)
        run(record, "data", "metrics/runs", *PLACE, *rate)
    run(aggregate, "metrics/runs", "metrics")

    seeds = pd.read_csv("metrics/seeds.csv")
    assert seeds[["role", "seed"]].value_counts().to_dict() == {
        (role, seed): 1 for role in ("grid", "candidate") for seed in (1, 2)
    }
    layers = seeds.columns[seeds.columns.str.startswith("feature_sparsity_")]
    assert layers.tolist() == [f"feature_sparsity_{n}" for n in range(1, len(hidden) + 1)]
    assert seeds[layers].notna().any(axis=None)
    readable = Path("metrics/grid.md").read_text(encoding="utf-8")
    assert readable.count("| digits ") == 2
