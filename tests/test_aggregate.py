"""The tables of metrics/, from runs with known content."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.aggregate import (
    AggregateParams,
    diagnostics_table,
    gather,
    grid_table,
    history_table,
    interval,
    readable,
    seeds_table,
    summary,
)
from stages.core import diagnostics, runs
from stages.core.diagnostics import FEATURES, SHARPNESS, Diagnostics
from stages.core.errors import UserError
from stages.core.params import Aggregate

SEEDS = (7, 8, 9)


def made_run(
    data: Path, name: str, rate: float, accuracies: tuple[float, ...], losses: tuple[float, ...]
) -> None:
    """Write a run of two epochs whose second has these results; a NaN loss: diverged."""
    rows, evaluations, networks, features, sharpness = [], [], [], [], []
    for seed, accuracy, loss in zip(SEEDS, accuracies, losses, strict=True):
        diverged = math.isnan(loss)
        for epoch in (1, 2):
            row = dict.fromkeys(runs.HISTORY, loss)
            row |= {"seed": seed, "epoch": epoch, "step": 10 * epoch, "learning_rate": rate / epoch}
            for split in ("train", "validation", "test"):
                row[f"{split}_accuracy"] = accuracy - (epoch == 1) / 100
            rows.append(row)
        for step in (5, 10, 20):
            level = accuracy - 0.2 + step / 100
            evaluations.append({"seed": seed, "step": step, "loss": loss, "accuracy": level})
        fate = {"epoch": 1, "step": 4, "last_gradient_norms": [1.0, 2.5]} if diverged else {}
        networks.append({"seed": seed, "diverged": diverged, **fate})
        for epoch in (0,) if diverged else (0, 1, 2):
            sharpness.append([seed, epoch, 10 * epoch + seed, 0.01])
            features += [[seed, epoch, layer, 0.5, 0.1, epoch / layer, 3] for layer in (1, 2)]
    facts = {
        "dataset": "digits",
        "learning_rate": rate,
        "chance_accuracy": 0.11,
        "networks": networks,
    }
    folder = data / "runs" / "digits" / name
    folder.mkdir(parents=True)
    tables = runs.Tables(
        facts, pd.DataFrame(rows, columns=list(runs.HISTORY)), pd.DataFrame(evaluations)
    )
    nothing = {"weight_0": np.zeros(1, np.float32)}
    runs.save(runs.Run(tables, nothing, nothing), folder)
    folder = data / "diagnostics" / "digits" / name
    folder.mkdir(parents=True)
    measured = Diagnostics(
        pd.DataFrame(features, columns=list(FEATURES)),
        pd.DataFrame(sharpness, columns=list(SHARPNESS)),
    )
    diagnostics.save(measured, folder)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    made_run(tmp_path, "0.1", 0.1, (0.90, 0.92, 0.94), (0.3, 0.2, 0.4))
    made_run(tmp_path, "0.5", 0.5, (0.99, 0.1, 0.1), (0.1, math.nan, 2.3))
    made_run(tmp_path, "candidate", 0.2, (0.1, 0.1, 0.1), (math.nan,) * 3)
    return tmp_path


DECLARED = AggregateParams(
    lr=0.2,
    learning_rates=(0.1, 0.5),
    datasets=("digits",),
    aggregate=Aggregate(threshold_accuracy={"digits": 0.79}, trained_accuracy=0.5),
)


def seeds_of(study: Path) -> pd.DataFrame:
    return seeds_table(list(gather(DECLARED, study)), DECLARED)


def test_grid_has_a_row_a_rate_with_statistics_over_the_seeds(study: Path) -> None:
    grid = grid_table(seeds_of(study))
    assert grid[["role", "learning_rate", "seeds", "seeds_diverged"]].values.tolist() == [
        ["grid", 0.1, 3, 0],
        ["grid", 0.5, 3, 1],
        ["candidate", 0.2, 3, 3],
    ]
    first, half, none = (row for _, row in grid.iterrows())
    assert first["test_accuracy_mean"] == pytest.approx(0.92)
    assert first["test_accuracy_std"] == pytest.approx(0.02)
    reach = 4.302652729911275 * 0.02 / math.sqrt(3)  # Student's t, 97.5 %, 2 degrees of freedom
    assert first["test_accuracy_low"] == pytest.approx(0.92 - reach)
    assert first["test_accuracy_high"] == pytest.approx(0.92 + reach)
    assert half["test_accuracy_mean"] == pytest.approx((0.99 + 0.1 + 0.1) / 3)
    assert half["test_loss_mean"] == pytest.approx((0.1 + 2.3) / 2)
    assert math.isnan(none["test_loss_mean"])


def test_outcomes_follow_the_rule(study: Path) -> None:
    seeds = seeds_of(study)
    assert seeds["outcome"].tolist() == (
        ["trained"] * 3 + ["trained", "exploded", "collapsed"] + ["exploded"] * 3
    )
    assert set(seeds["chance_accuracy"]) == {0.11}
    shares = grid_table(seeds)[["trained_share", "collapsed_share", "exploded_share"]]
    third = 1 / 3
    expected = [[1, 0, 0], [third, third, third], [0, 0, 1]]
    assert shares.to_numpy().tolist() == [pytest.approx(row) for row in expected]


def test_steps_to_the_threshold_are_those_of_the_first_evaluation_there(study: Path) -> None:
    seeds = seeds_of(study)
    # After 5, 10 and 20 steps a seed is 0.15, 0.1 and 0 below its last accuracy.
    assert seeds["steps_to_threshold"].tolist()[:4] == [10, 10, 5, 5]
    assert seeds["steps_to_threshold"].iloc[4:].isna().all()
    assert grid_table(seeds)["seeds_at_threshold"].tolist() == [3, 1, 0]


def test_seeds_say_where_they_diverged_and_the_norms_before(study: Path) -> None:
    seeds = seeds_of(study)
    rows = seeds[seeds["learning_rate"] == 0.5]
    assert rows["diverged"].tolist() == [False, True, False]
    assert rows["diverged_step"].isna().tolist() == [True, False, True]
    exploded = rows.iloc[1]
    assert exploded[["diverged_epoch", "diverged_step"]].tolist() == [1, 4]
    assert exploded["last_gradient_norms"] == "1 2.5"


def test_diagnostics_of_the_last_epoch_stand_beside_the_scores(study: Path) -> None:
    seeds = seeds_of(study)
    assert seeds["sharpness"].tolist()[:4] == [27, 28, 29, 27]
    assert seeds["feature_sparsity_1"].tolist()[:4] == [2, 2, 2, 2]
    assert seeds["feature_sparsity_2"].tolist()[:4] == [1, 1, 1, 1]
    assert seeds["sharpness"].isna().tolist()[4:] == [True, False, True, True, True]
    table = diagnostics_table(list(gather(DECLARED, study)))
    assert len(table) == 3 * 3 + (3 + 1 + 3) + 3
    assert table["epoch"].min() == 0


def test_readable_table_keeps_failures_apart_from_scores(study: Path) -> None:
    lines = readable(grid_table(seeds_of(study))).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:4] for row in cells] == [
        ["digits", "0.1", "3, 0, 0", "92.00 ± 4.97"],
        ["digits", "0.2 (candidate)", "0, 0, 3", "–"],
        ["digits", "0.5", "1, 1, 1", "99.00"],
    ]


def test_summary_has_finite_numbers_only(study: Path) -> None:
    assert summary(grid_table(seeds_of(study))) == {
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
    seeds = seeds_of(study).assign(validation_accuracy=np.nan)
    chosen = summary(grid_table(seeds))["digits"]
    assert set(chosen) == {"candidate_lr", "test_accuracy", "diverged_share"}


def test_a_run_that_params_do_not_name_leaves_no_trace(study: Path) -> None:
    before = history_table(list(gather(DECLARED, study)))
    made_run(study, "0.7", 0.7, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
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


@pytest.mark.parametrize("content", [None, "nonsense"])
def test_absent_or_damaged_diagnostics_are_named(study: Path, content: str | None) -> None:
    path = study / "diagnostics" / "digits" / "candidate" / "features.csv"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"digits/candidate.* diagnose_candidate@digits$"):
        list(gather(DECLARED, study))


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


@pytest.mark.parametrize("known", [[], [0.5], [0.5, 0.7]])
def test_fewer_than_three_seeds_have_no_interval(known: list[float]) -> None:
    found = interval(pd.Series([*known, np.nan]))
    assert found["mean"] == pytest.approx(np.mean(known) if known else np.nan, nan_ok=True)
    assert all(math.isnan(found[name]) for name in ("std", "low", "high"))
