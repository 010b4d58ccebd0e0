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
    "one layer of one unit": ([1], 8, True),
    "eleven layers, one of one unit, in one batch without validation": (
        *([9, 8, 7, 6, 5, 1, 5, 6, 7, 8, 9], 100_000, False),
    ),
}
"""Widths of the hidden layers, the batch's size, and whether examples are held out."""


def lay_out(prepared: Prepared, *, validated: bool) -> None:
    """Write a dataset where training reads it, with or without its validation examples."""
    images, labels = prepared.validation_images, prepared.validation_labels
    kept = len(labels) if validated else 0
    target = Path("data/processed/digits.npz")
    target.parent.mkdir(parents=True)
    held_out = {"validation_images": images[:kept], "validation_labels": labels[:kept]}
    save(replace(prepared, **held_out), target)


@pytest.mark.parametrize("shape", SHAPES)
def test_any_network_is_trained_measured_and_tabulated(
    folder: Path, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)

    def run(stage: ModuleType, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["", *arguments])
        stage.main()

    hidden, batch_size, validated = SHAPES[shape]
    lay_out(load(Prepared, Path("small.npz"), ""), validated=validated)
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params |= {"datasets": ["digits"], "learning_rates": [0.1], "seeds": [1]}
    params["network"]["hidden"] = hidden
    params["training"]["batch_size"] = batch_size
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    for rate in (("--lr", "0.1"), ()):
        run(train, "data", *PLACE, *rate)
        run(diagnose, "data", *PLACE, *rate)
        run(record, "data", "metrics/runs", *PLACE, *rate)
    run(aggregate, "metrics/runs", "metrics")

    seeds = pd.read_csv("metrics/seeds.csv")
    assert seeds[["role", "seed"]].to_numpy().tolist() == [["grid", 1], ["candidate", 1]]
    assert seeds["validation_accuracy"].notna().all() == validated
    layers = seeds.columns[seeds.columns.str.startswith("feature_sparsity_")]
    assert layers.tolist() == [f"feature_sparsity_{n}" for n in range(1, len(hidden) + 1)]
    assert seeds[layers].notna().any(axis=None)
    readable = Path("metrics/grid.md").read_text(encoding="utf-8")
    assert readable.count("| digits ") == 2
