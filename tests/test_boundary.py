"""The search for the rate at which a seed breaks, on seeds whose boundary is known."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.audit.boundary import MOST_ROUNDS, ends_trained, search
from stages.core import params
from stages.core.datasets import Prepared
from stages.core.examples import Splits
from stages.core.params import Search
from stages.train import TrainParams

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
    declared = params.load(TrainParams, folder / "params.yaml")
    with np.load(folder / "small.npz") as arrays:
        splits = Splits.of(Prepared(**arrays), declared.normalization, torch.device("cpu"))
    rates = {1: 0.1, 2: 1e30, 3: 1e-6}
    together = ends_trained(rates, splits, declared, trained_accuracy=0.5)
    alone = {
        seed: ends_trained({seed: rate}, splits, declared, trained_accuracy=0.5)[seed]
        for seed, rate in rates.items()
    }
    assert together == alone == {1: True, 2: False, 3: False}
