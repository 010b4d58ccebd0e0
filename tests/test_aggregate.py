"""The tables of metrics/, from runs with known content."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.aggregate import (
    AggregateParams,
    gather,
    grid_table,
    history_table,
    interval,
    seeds_table,
    summary,
)
from stages.core import runs
from stages.core.errors import UserError
from stages.core.params import Aggregate

SEEDS = (7, 8, 9)


def made_run(
    folder: Path, rate: float, accuracies: tuple[float, ...], losses: tuple[float, ...]
) -> None:
    """Write a run of two epochs whose second has these test results; NaN: diverged."""
    rows, evaluations, networks = [], [], []
    for seed, accuracy, loss in zip(SEEDS, accuracies, losses, strict=True):
        for epoch in (1, 2):
            row = {"seed": seed, "epoch": epoch, "step": 10 * epoch, "learning_rate": rate / epoch}
            for split in ("train", "validation", "test"):
                row |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy - (epoch == 1) / 100}
                row |= {f"{split}_mape": loss * 10}
            rows.append(row | {"gradient_norm_mean": loss, "gradient_norm_max": loss * 2})
        for step in (5, 10, 20):
            level = accuracy - 0.2 + step / 100
            evaluations.append({"seed": seed, "step": step, "loss": loss, "accuracy": level})
        fate = (
            {"diverged": True, "epoch": 1, "step": 4} if math.isnan(loss) else {"diverged": False}
        )
        networks.append({"seed": seed, **fate})
    facts = {"dataset": folder.parent.name, "learning_rate": rate, "networks": networks}
    folder.mkdir(parents=True)
    weights = {"weight_0": np.zeros(1, np.float32)}
    runs.save(runs.Run(facts, pd.DataFrame(rows), pd.DataFrame(evaluations), weights), folder)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    made_run(tmp_path / "digits" / "0.1", 0.1, (0.90, 0.92, 0.94), (0.3, 0.2, 0.4))
    made_run(tmp_path / "digits" / "0.5", 0.5, (0.99, 0.1, 0.1), (0.1, math.nan, math.nan))
    made_run(tmp_path / "digits" / "candidate", 0.2, (0.1, 0.1, 0.1), (math.nan,) * 3)
    return tmp_path


DECLARED = AggregateParams(
    lr=0.2,
    learning_rates=(0.1, 0.5),
    datasets=("digits",),
    aggregate=Aggregate(threshold_accuracy={"digits": 0.79}),
)


def test_grid_has_a_row_a_rate_with_statistics_over_the_seeds(study: Path) -> None:
    grid = grid_table(seeds_table(list(gather(DECLARED, study)), DECLARED))
    assert grid[["role", "learning_rate", "seeds", "seeds_diverged"]].values.tolist() == [
        ["grid", 0.1, 3, 0],
        ["grid", 0.5, 3, 2],
        ["candidate", 0.2, 3, 3],
    ]
    first, half, none = (row for _, row in grid.iterrows())
    assert first["test_accuracy_mean"] == pytest.approx(0.92)
    assert first["test_accuracy_std"] == pytest.approx(0.02)
    reach = 4.302652729911275 * 0.02 / math.sqrt(3)  # Student's t, 97.5 %, 2 degrees of freedom
    assert first["test_accuracy_low"] == pytest.approx(0.92 - reach)
    assert first["test_accuracy_high"] == pytest.approx(0.92 + reach)
    assert half["test_accuracy_mean"] == pytest.approx((0.99 + 0.1 + 0.1) / 3)
    assert half["test_loss_mean"] == pytest.approx(0.1)
    assert math.isnan(half["test_loss_std"])
    assert math.isnan(none["test_loss_mean"])


def test_steps_to_the_threshold_are_those_of_the_first_evaluation_there(study: Path) -> None:
    seeds = seeds_table(list(gather(DECLARED, study)), DECLARED)
    # After 5, 10 and 20 steps a seed is 0.15, 0.1 and 0 below its last accuracy.
    assert seeds["steps_to_threshold"].tolist()[:4] == [10, 10, 5, 5]
    assert seeds["steps_to_threshold"].iloc[4:].isna().all()
    assert grid_table(seeds)["seeds_at_threshold"].tolist() == [3, 1, 0]


def test_seeds_say_where_they_diverged(study: Path) -> None:
    seeds = seeds_table(list(gather(DECLARED, study)), DECLARED)
    rows = seeds[seeds["learning_rate"] == 0.5]
    assert rows["diverged"].tolist() == [False, True, True]
    assert rows["diverged_step"].tolist()[1:] == [4, 4]
    assert rows["diverged_step"].isna().tolist() == [True, False, False]


def test_summary_has_finite_numbers_only(study: Path) -> None:
    grid = grid_table(seeds_table(list(gather(DECLARED, study)), DECLARED))
    assert summary(grid) == {
        "digits": {
            "candidate_lr": 0.2,
            "validation_accuracy": 0.1,
            "test_accuracy": 0.1,
            "diverged_share": 1.0,
            "best_grid_lr": 0.1,
            "best_grid_test_accuracy": 0.92,
        }
    }


def test_without_validation_nothing_is_selected(study: Path) -> None:
    seeds = seeds_table(list(gather(DECLARED, study)), DECLARED)
    chosen = summary(grid_table(seeds.assign(validation_accuracy=np.nan)))["digits"]
    assert set(chosen) == {"candidate_lr", "test_accuracy", "diverged_share"}


def test_a_run_that_params_do_not_name_leaves_no_trace(study: Path) -> None:
    before = history_table(list(gather(DECLARED, study)))
    made_run(study / "digits" / "0.7", 0.7, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    pd.testing.assert_frame_equal(history_table(list(gather(DECLARED, study))), before)


def test_history_keeps_the_rate_in_force_beside_the_rate(study: Path) -> None:
    history = history_table(list(gather(DECLARED, study)))
    assert len(history) == 3 * len(SEEDS) * 2
    first = history[(history["role"] == "grid") & (history["learning_rate"] == 0.1)]
    assert first["learning_rate_now"].tolist() == [0.1, 0.05] * 3


def test_an_absent_run_is_named(study: Path) -> None:
    more = DECLARED.model_copy(update={"learning_rates": (0.1, 0.3)})
    with pytest.raises(UserError, match=r"digits/0\.3/run\.json does not exist: .*train@digits-0"):
        list(gather(more, study))


def test_a_run_at_another_rate_is_refused(study: Path) -> None:
    other = DECLARED.model_copy(update={"lr": 0.25})
    with pytest.raises(UserError, match=r"candidate was trained at 0\.2 instead of 0\.25"):
        list(gather(other, study))


def test_interval_is_that_of_scipy() -> None:
    values = pd.Series([0.3, 0.1, np.nan, 0.7, 0.2])
    found = interval(values)
    known = values.dropna()
    low, high = stats.t.interval(0.95, 3, loc=known.mean(), scale=stats.sem(known))
    assert found == pytest.approx({"mean": 0.325, "std": known.std(), "low": low, "high": high})
