"""How a network ended, on runs short enough to judge by hand."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.diagnostics.outcomes import outcomes, running_accuracy, running_window
from stages.diagnostics.parameters import Outcome
from stages.training.run_files import Run

NAN, INF = float("nan"), float("inf")
PER_EPOCH, EPOCHS, BATCH = 10, 3, 400
STEPS = PER_EPOCH * EPOCHS
RULE = Outcome(
    threshold_accuracy={"mnist": 0.9, "digits": 0.2}, trained_accuracy=0.5, burst_gradient_norm=50
)


def series(usual: float | Sequence[float], unusual: Mapping[int, float]) -> np.ndarray:
    """Make one network's steps; the unusual ones are given by their number, from 1."""
    values = np.empty(STEPS, np.float32)
    values[:] = usual
    for step, value in unusual.items():
        values[step - 1] = value
    return values


def network(
    accuracy: Sequence[float] | float = 0.8,
    norms: Mapping[int, float] | None = None,
    losses: Mapping[int, float] | None = None,
    weight: float = 1.5,
    validation: Sequence[float] = (NAN, NAN, NAN),
    *,
    silent: Iterable[int] = (),
) -> dict[str, Any]:
    """Describe a network.

    `weight` is one of its parameters at the end; at the silent steps, its first layer has no
    gradient. Its second layer has none at any odd step.
    """
    first, second = series(1.5, dict.fromkeys(silent, 0)), series([0, 2] * (STEPS // 2), {})
    return {
        "accuracy": series(accuracy, {}),
        "gradient_norm": series(2.5, norms or {}),
        "loss": series(0.7, losses or {}),
        "layer_gradient_norm": np.stack([first, second], axis=1),
        "weight": weight,
        "validation": validation,
    }


def judged(*networks: dict[str, Any], seeds: Sequence[int] = ()) -> pd.DataFrame:
    """Judge networks that ran side by side."""
    seeds = seeds or range(len(networks))
    steps = {
        name: np.stack([each[name] for each in networks], axis=1)
        for name in ("accuracy", "gradient_norm", "loss", "layer_gradient_norm")
    }
    weights = np.ones((EPOCHS + 1, len(networks), 3, 2), np.float32)
    weights[-1, :, 2, 1] = [each["weight"] for each in networks]
    history = pd.DataFrame(
        [
            {"seed": seed, "epoch": epoch, "step": epoch * PER_EPOCH, "validation_accuracy": value}
            for seed, each in zip(seeds, networks, strict=True)
            for epoch, value in enumerate(each["validation"], start=1)
        ]
    ).sort_values(["seed", "epoch"])
    facts = {"dataset": "mnist", "seeds": list(seeds)}
    facts |= {"batch_size": BATCH, "steps_per_epoch": PER_EPOCH, "epochs": EPOCHS}
    parameters = {"weight_0": weights, "bias_0": np.zeros_like(weights[:, :, :1])}
    return outcomes(Run(facts, history, steps, parameters), RULE)


def ending(**described: Any) -> tuple[Any, ...]:
    """Judge a network between a trained and an undertrained one."""
    table = judged(network(0.9), network(**described), network(0.1))
    assert table["outcome"].tolist()[::2] == ["trained", "undertrained"]
    row = table.loc[1, ["outcome", "lost_epoch", "lost_step", "lost_how"]]
    return tuple(None if pd.isna(value) else value for value in row)


TRAINED, UNDERTRAINED = ("trained", None, None, None), ("undertrained", None, None, None)
FALLS_AT_17 = [0.8] * 16 + [0.1] * 14
"""The running accuracy is 0.625 at step 17 and 0.45 at step 18."""
DIES_AT_17 = [0.8] * 16 + [0.1] * 4 + [NAN] * 10
"""It stops at the end of its second epoch."""
NOT_TAKEN = dict.fromkeys(range(21, 31), NAN)


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        pytest.param({}, TRAINED, id="trained"),
        pytest.param(
            {"accuracy": [0.1] * 26 + [0.25, 0.75, 0.25, 0.75]},
            TRAINED,
            id="exactly as accurate as a trained network",
        ),
        pytest.param(
            {"accuracy": [0.1] * 26 + [0.25, 0.75, 0.25, 0.74]},
            UNDERTRAINED,
            id="not quite as accurate",
        ),
        pytest.param({"accuracy": 0.1}, UNDERTRAINED, id="slow, as at a rate of 1e-5"),
        pytest.param(
            {"accuracy": 0.1, "norms": {7: 50.0}}, UNDERTRAINED, id="a gradient as large as allowed"
        ),
        pytest.param(
            {"accuracy": 0.1, "norms": {7: 50.01}},
            ("lost", 1, 7, "collapsed"),
            id="a larger one, before it was ever good",
        ),
        pytest.param(
            {"accuracy": [0.1] * 10 + [NAN] * 20, "norms": {1: INF}, "weight": NAN},
            ("lost", 1, 1, "exploded"),
            id="lost at its very first step",
        ),
        pytest.param(
            {"norms": {30: 51.0}, "weight": INF},
            ("lost", 3, 30, "exploded"),
            id="lost in its last step",
        ),
        pytest.param(
            {"weight": INF},
            ("lost", 3, 30, "exploded"),
            id="broken by its last step without a burst",
        ),
        pytest.param(
            {"losses": {30: INF}},
            ("lost", 3, 30, "exploded"),
            id="an endless loss at the end, of finite parameters",
        ),
        pytest.param({"norms": {9: 3e4}}, TRAINED, id="a burst survived"),
        pytest.param(
            {"norms": {9: INF}, "losses": {10: NAN, 11: INF}},
            TRAINED,
            id="a loss that becomes finite again",
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17, "norms": {16: 400.0}},
            ("lost", 2, 16, "collapsed"),
            id="falls after a burst",
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17, "norms": {15: 60.0, 16: 400.0, 18: 80.0}},
            ("lost", 2, 15, "collapsed"),
            id="falls after several, of which the first counts",
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17}, ("lost", 2, 18, "collapsed"), id="falls without a burst"
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17, "norms": {3: 90.0, 13: 90.0}},
            ("lost", 2, 18, "collapsed"),
            id="falls a window after a burst that it survived",
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17, "norms": {3: 90.0, 14: 90.0}},
            ("lost", 2, 14, "collapsed"),
            id="falls within a window of a burst",
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17, "norms": {23: 90.0}},
            ("lost", 3, 23, "collapsed"),
            id="limps until a burst",
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17, "losses": {16: NAN}},
            ("lost", 2, 16, "collapsed"),
            id="the loss alone bursts",
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17, "norms": {16: NAN}},
            ("lost", 2, 16, "collapsed"),
            id="a gradient norm that is no number",
        ),
        pytest.param(
            {
                "accuracy": DIES_AT_17,
                "norms": {17: 700.0, 18: NAN, **NOT_TAKEN},
                "losses": {18: INF, 19: NAN, 20: NAN, **NOT_TAKEN},
                "weight": NAN,
            },
            ("lost", 2, 17, "exploded"),
            id="explodes and takes no more steps",
        ),
        pytest.param(
            {"accuracy": [0.1] * 16 + [0.9] * 10 + [0.1] * 4, "norms": {10: 60.0, 11: 70.0}},
            ("lost", 3, 29, "collapsed"),
            id="recovers from a burst, is good, and falls without another",
        ),
        pytest.param(
            {"accuracy": [0.8] * 10 + [0.1] * 20, "norms": {10: 60.0}},
            ("lost", 1, 10, "collapsed"),
            id="lost in the last step of an epoch",
        ),
        pytest.param(
            {"accuracy": 0.1, "silent": range(27, 31)},
            ("lost", 3, 27, "collapsed"),
            id="dead for a window",
        ),
        pytest.param(
            {"accuracy": 0.1, "silent": range(28, 31)}, UNDERTRAINED, id="silent, not for a window"
        ),
        pytest.param(
            {"accuracy": 0.1, "silent": range(1, 30)}, UNDERTRAINED, id="silent until it woke up"
        ),
        pytest.param(
            {"accuracy": 0.1, "silent": range(1, 31)},
            ("lost", 1, 1, "collapsed"),
            id="dead from the start",
        ),
        pytest.param({"silent": range(9, 31)}, TRAINED, id="accurate, with nothing left to learn"),
        pytest.param(
            {"accuracy": 0.1, "norms": {12: 60.0}, "silent": range(20, 31)},
            ("lost", 2, 12, "collapsed"),
            id="dead after a burst",
        ),
        pytest.param(
            {"accuracy": FALLS_AT_17, "silent": [5, 6, *range(16, 31)]},
            ("lost", 2, 16, "collapsed"),
            id="dead without a burst",
        ),
    ],
)
def test_a_network_ends_as_the_rule_says(
    described: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    assert ending(**described) == expected


def test_a_network_that_dies_shortly_before_the_end_of_a_real_run_is_lost() -> None:
    per_epoch, epochs, dies = 1688, 10, 16_692
    steps = per_epoch * epochs
    accuracy = np.full((steps, 1), 0.875, np.float32)
    accuracy[dies:] = 0.1
    norms = np.full((steps, 1), 8.5, np.float32)
    norms[[5_000, dies - 1]] = [[75], [193]]
    assert accuracy[-per_epoch:].mean() == pytest.approx(0.7887, abs=1e-3)
    run = Run(
        {"dataset": "mnist", "seeds": [46], "batch_size": 32, "steps_per_epoch": per_epoch},
        pd.DataFrame({"seed": 46, "epoch": [1], "step": per_epoch, "validation_accuracy": 0.89}),
        {
            "accuracy": accuracy,
            "gradient_norm": norms,
            "loss": np.full_like(norms, 2.3),
            "layer_gradient_norm": np.repeat(norms[..., None], 3, axis=2),
        },
        {"weight_0": np.ones((2, 1, 3, 2), "f"), "bias_0": np.ones((2, 1, 1, 2), "f")},
    )
    (found,) = outcomes(run, RULE)[["outcome", "lost_epoch", "lost_step"]].to_numpy().tolist()
    assert found == ["lost", 10, dies]


def test_every_network_has_a_row_in_the_order_of_the_seeds() -> None:
    table = judged(
        network([0.2] * 5 + [1.0] * 25, {4: 16.5, 30: 3.5}, validation=(0.7, 0.8, 0.95)),
        network(DIES_AT_17, {17: 700.0, 18: INF, **NOT_TAKEN}, NOT_TAKEN, NAN, (0.3, 0.91, 0.1)),
        network([0.1] * 29 + [0.3], validation=(0.12, 0.11, 0.15)),
        network(FALLS_AT_17, {2: 55.5}, validation=(0.4, 0.5, 0.6)),
        seeds=(44, 7, 12, 9),
    )
    expected = pd.DataFrame(
        {
            "seed": [44, 7, 12, 9],
            "outcome": ["trained", "lost", "undertrained", "lost"],
            "lost_epoch": pd.array([None, 2, None, 2], dtype="Int64"),
            "lost_step": pd.array([None, 17, None, 18], dtype="Int64"),
            "lost_how": [None, "exploded", None, "collapsed"],
            "running_accuracy": [1.0, NAN, 0.15, 0.1],
            "steps_to_threshold": pd.array([9, 20, None, None], dtype="Int64"),
            "peak_gradient_norm": [16.5, 700.0, 2.5, 55.5],
        }
    )
    pd.testing.assert_frame_equal(table, expected)


def test_a_network_without_a_finite_gradient_has_no_peak() -> None:
    table = judged(network(norms=dict.fromkeys(range(1, 31), INF)), network(norms={3: 0.5}))
    assert table["peak_gradient_norm"].tolist() == pytest.approx([NAN, 2.5], nan_ok=True)


@pytest.mark.parametrize(
    ("accuracy", "validation", "expected"),
    [
        pytest.param([0.9] * 30, (0.1, 0.1, 0.1), 4, id="no sooner than a window was seen"),
        pytest.param([0.5] * 4 + [0.9] * 26, (0.1, 0.1, 0.1), 8, id="exactly the accuracy"),
        pytest.param([0.5] * 6 + [0.9] * 24, (0.91, 0.1, 0.1), 10, id="the epoch's last step"),
        pytest.param([0.5] * 7 + [0.9] * 23, (0.1, 0.1, 0.1), None, id="only a step later"),
        pytest.param([0.1] * 30, (0.9, 0.95, 0.2), 10, id="validation after the first epoch"),
        pytest.param([0.1] * 30, (0.89, 0.2, 0.9), 30, id="validation after the last"),
        pytest.param([0.1] * 30, (0.89, 0.92, 0.93), 20, id="validation, the first time"),
        pytest.param([0.95] * 3 + [0.1] * 27, (NAN, NAN, NAN), None, id="no validation split"),
    ],
)
def test_steps_to_the_threshold_are_counted_on_unseen_examples(
    accuracy: list[float], validation: tuple[float, ...], expected: int | None
) -> None:
    table = judged(network(0.1), network(accuracy, validation=validation))
    first, found = table["steps_to_threshold"]
    assert pd.isna(first)
    assert (None if pd.isna(found) else found) == expected


def test_running_accuracy_is_a_rolling_mean_that_forgets_missing_steps() -> None:
    generator = np.random.default_rng(3)
    accuracy = generator.integers(0, 33, (40, 3)).astype(np.float32) / 32
    accuracy[11, 1] = accuracy[30:, 2] = np.nan
    expected = pd.DataFrame(accuracy.astype(float)).rolling(7).mean().to_numpy()
    np.testing.assert_allclose(running_accuracy(accuracy, 7), expected, atol=5.1e-7)


@pytest.mark.parametrize(("window", "known"), [(1, [0.25, 0.5]), (2, [NAN, 0.375]), (3, [NAN] * 2)])
def test_running_accuracy_is_missing_until_a_window_was_seen(
    window: int, known: list[float]
) -> None:
    found = running_accuracy(np.array([[0.25], [0.5]], np.float32), window)
    np.testing.assert_array_equal(found, np.array(known)[:, None])


def test_rounding_of_the_shares_does_not_decide_at_a_bound() -> None:
    shares = np.array([[0.9], [0.1]], np.float32)
    assert shares.mean(dtype=float) < 0.5
    assert running_accuracy(shares, 2)[1, 0] == 0.5


@pytest.mark.parametrize(
    ("batch_size", "per_epoch", "window"),
    [(32, 1688, 50), (1, 54_000, 1600), (1000, 54, 2), (1200, 45, 1), (5000, 11, 1), (32, 7, 7)],
)
def test_a_window_is_the_steps_of_the_last_1600_examples(
    batch_size: int, per_epoch: int, window: int
) -> None:
    assert running_window(batch_size, per_epoch) == window
