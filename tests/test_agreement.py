"""Two sets of networks agree unless they differ by more than seeds do."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans

from tools.agreement import agreement, same_shares, same_total, shared_cells, welch


def networks(seed: int, rates: tuple[float, ...] = (0.1, 0.2), count: int = 8) -> pd.DataFrame:
    """Draw trained networks. Those of all rates have the same distribution."""
    chance = np.random.default_rng(seed)
    size = len(rates) * count
    return pd.DataFrame(
        {
            "dataset": "mnist",
            "role": "grid",
            "learning_rate": np.repeat(rates, count),
            "seed": [*range(count)] * len(rates),
            "outcome": "trained",
            "validation_accuracy": chance.normal(0.97, 0.002, size),
            "test_accuracy": chance.normal(0.97, 0.002, size),
            "test_loss": chance.lognormal(-2, 0.1, size),
            "train_loss": chance.lognormal(-4, 0.2, size),
            "steps_to_threshold": chance.integers(600, 800, size),
            "feature_sparsity_1": chance.normal(0.3, 0.01, size),
            "feature_sparsity_2": chance.normal(0.2, 0.01, size),
        }
    )


def compared(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    return agreement(shared_cells({"seeds": (old, new)}))


def differing(found: pd.DataFrame) -> list[tuple[str, str]]:
    rows = found.loc[found["differs"], ["cell", "quantity"]]
    return [*rows.itertuples(index=False, name=None)]


QUANTITIES = [
    "outcomes",
    "validation accuracy",
    "test accuracy",
    "training loss",
    "test loss",
    "steps to threshold",
    "active features",
]


def test_every_quantity_of_every_rate_is_compared() -> None:
    found = compared(networks(0), networks(1))
    assert set(found["table"]) == {"seeds"}
    assert found["cell"].tolist() == [
        *["mnist grid 0.1"] * 7,
        *["mnist grid 0.2"] * 7,
        *["all cells of seeds"] * 2,
    ]
    assert found["quantity"].tolist() == [*QUANTITIES * 2, "outcomes", "outcomes"]
    assert differing(found) == []


def test_the_same_networks_in_another_order_are_the_same() -> None:
    old, new = networks(0), networks(0).iloc[::-1]
    assert [cell.is_same() for cell in shared_cells({"seeds": (old, new)})] == [True, True]
    found = compared(old, new)
    assert (found["p"] == 1).all()
    assert (found["corrected"] == 1).all()


CHANGES: dict[str, object] = {
    "outcome": "lost",
    "validation_accuracy": 0.5,
    "test_accuracy": np.nan,
    "train_loss": 0.5,
    "test_loss": 0.5,
    "steps_to_threshold": 100,
    "feature_sparsity_2": 0.5,
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_cell_in_which_one_network_has_another_value_is_not_the_same(column: str) -> None:
    new = networks(0)
    new.loc[3, column] = CHANGES[column]
    cells = shared_cells({"seeds": (networks(0), new)})
    assert [cell.is_same() for cell in cells] == [False, True]


@pytest.mark.parametrize("column", ["feature_sparsity_1", "sharpness"])
def test_what_is_not_compared_may_differ_in_the_same_networks(column: str) -> None:
    new = networks(0).assign(**{column: 0.5}).astype({"steps_to_threshold": float})
    assert all(cell.is_same() for cell in shared_cells({"seeds": (networks(0), new)}))


def test_a_loss_that_doubles_at_one_rate_is_found_there_alone() -> None:
    old, new = networks(0), networks(1)
    new.loc[new["learning_rate"] == 0.2, "train_loss"] *= 2
    found = compared(old, new)
    assert differing(found) == [("mnist grid 0.2", "training loss")]
    row = found[found["differs"]].iloc[0]
    sides = [np.log(each.query("learning_rate == 0.2")["train_loss"]) for each in (old, new)]
    means = CompareMeans.from_data(sides[1], sides[0])
    difference = sides[1].mean() - sides[0].mean()
    values = len(found) - 4  # the others are outcomes
    low, high = means.tconfint_diff(0.025 / values, usevar="unequal")
    times = [f"{value:.3g}" for value in np.exp([difference, low, high])]
    assert row["change"] == "× {} ({} to {})".format(*times).replace("-", "−")
    assert row["p"] == pytest.approx(means.ttest_ind(usevar="unequal")[1])
    assert row["corrected"] == pytest.approx(2 * values * row["p"])
    assert row["old_shown"] == f"{np.exp(sides[0].mean()):.4g}"


def test_a_difference_is_shown_in_percentage_points() -> None:
    old, new = networks(0, rates=(0.1,)), networks(0, rates=(0.1,))
    old["test_accuracy"] = [0.97, 0.98] * 4
    new["test_accuracy"] = [0.95, 0.96] * 4
    row = compared(old, new).set_index("quantity").loc["test accuracy"]
    reach = stats.t.ppf(1 - 0.025 / 6 / 2, df=14) * np.sqrt(2 * 0.005**2 / 7)
    assert row["change"] == f"−2.00 points (−{2 + 100 * reach:.2f} to −{2 - 100 * reach:.2f})"
    assert (row["old_shown"], row["new_shown"]) == ("97.50 %", "95.50 %")
    assert row["differs"]


def test_networks_that_train_no_longer_are_found() -> None:
    new = networks(1)
    new.loc[new["learning_rate"] == 0.2, "outcome"] = "lost"
    found = compared(networks(0), new)
    assert differing(found) == [
        ("mnist grid 0.2", "outcomes"),
        *[("all cells of seeds", "outcomes")] * 2,
    ]
    row = found[found["differs"]].iloc[0]
    assert row["old_shown"] == "8 trained, 0 undertrained, 0 lost"
    assert row["new_shown"] == "0 trained, 0 undertrained, 8 lost"
    # Of the 12,870 ways to choose 8 of 16, two are this uneven.
    assert row["p"] == pytest.approx(2 / 12_870)


def test_only_trained_networks_are_averaged_and_only_three_or_more_are_compared() -> None:
    old, new = networks(0, rates=(0.1,)), networks(0, rates=(0.1,))
    new.loc[:3, ["outcome", "test_accuracy"]] = ["lost", 0.1]
    assert "test accuracy" in compared(old, new)["quantity"].tolist()
    assert differing(compared(old, new)) == []
    new.loc[:5, "outcome"] = "lost"
    assert compared(old, new)["quantity"].tolist() == ["outcomes"] * 3


def test_values_that_are_missing_or_have_no_logarithm_are_left_out() -> None:
    old, new = networks(0, rates=(0.1,)), networks(0, rates=(0.1,))
    new.loc[0, ["train_loss", "test_accuracy"]] = [0.0, np.nan]
    new.loc[1, ["train_loss", "test_accuracy"]] = np.inf
    new.loc[2, ["train_loss", "test_accuracy"]] = -1.0
    found = compared(old, new)
    assert found["quantity"].tolist() == [*QUANTITIES, "outcomes", "outcomes"]
    assert found["p"].notna().all()


@pytest.mark.filterwarnings("error")
def test_a_loss_beyond_all_bounds_differs() -> None:
    new = networks(0, rates=(0.1,)).assign(train_loss=1e308)
    found = compared(networks(0, rates=(0.1,)).assign(train_loss=1e-300), new)
    assert differing(found) == [("mnist grid 0.1", "training loss")]
    change = found.set_index("quantity").loc["training loss", "change"]
    assert change == "× inf (inf to inf)"


def test_a_share_of_zero_is_a_value() -> None:
    old, new = networks(0, rates=(0.1,)), networks(1, rates=(0.1,))
    new["feature_sparsity_2"] = 0.0
    assert differing(compared(old, new)) == [("mnist grid 0.1", "active features")]


def test_the_last_hidden_layer_is_the_one_with_the_largest_number() -> None:
    old, new = networks(0), networks(1)
    old["feature_sparsity_10"], new["feature_sparsity_10"] = 0.1, 0.9
    shown = compared(old, new).set_index("quantity").loc["active features", "new_shown"]
    assert shown.tolist() == ["90.00 %"] * 2


def test_rates_and_columns_of_one_side_alone_are_not_compared() -> None:
    old = networks(0, rates=(0.1, 0.3)).drop(columns=["test_loss"])
    found = compared(old, networks(1))
    assert found["cell"].unique().tolist() == ["mnist grid 0.1", "all cells of seeds"]
    names = [name for name in QUANTITIES if name != "test loss"]
    assert found["quantity"].tolist() == [*names, "outcomes", "outcomes"]


@pytest.mark.parametrize("counts", [((8, 0), (5, 3)), ((3, 9), (7, 2)), ((0, 4), (0, 6))])
def test_two_classes_are_compared_by_fisher_exact_test(
    counts: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    assert same_shares(*counts) == pytest.approx(stats.fisher_exact(counts).pvalue)


def test_three_classes_are_compared_by_the_test_of_freeman_and_halton() -> None:
    # 20 ways to choose 3 of 6. Only (0, 2, 1) and (3, 0, 0) have no more than one way each.
    assert same_shares((3, 0, 0), (0, 2, 1)) == pytest.approx(2 / 20)
    # Besides, (1, 2, 0) and (2, 0, 1) have three ways each.
    assert same_shares((2, 0, 1), (1, 2, 0)) == pytest.approx(8 / 20)
    assert same_shares((2, 1, 0), (1, 1, 1)) == 1


def test_a_few_networks_lost_at_every_rate_are_found_together() -> None:
    rates = tuple(rate / 10 for rate in range(1, 7))
    old, new = networks(0, rates), networks(1, rates)
    new.loc[new["seed"] < 3, "outcome"] = "lost"
    found = compared(old, new)
    assert differing(found) == [("all cells of seeds", "outcomes")] * 2
    last = found[found["cell"] == "all cells of seeds"]
    assert last["old_shown"].tolist() == ["48 of 48 trained", "0 of 48 lost"]
    assert last["new_shown"].tolist() == ["30 of 48 trained", "18 of 48 lost"]
    # In a cell, all three lost fall on one side with a probability of C(13, 5) / C(16, 8) = 0.1.
    assert last["p"].tolist() == [pytest.approx(2 * 0.1**6)] * 2


@pytest.mark.parametrize("counts", [(8, 8, 5, 8), (3, 12, 7, 9), (0, 4, 0, 6)])
def test_a_single_stratum_is_compared_by_fisher_exact_test(
    counts: tuple[int, int, int, int],
) -> None:
    have, size, other, other_size = counts
    table = [[have, size - have], [other, other_size - other]]
    assert same_total([counts]) == pytest.approx(stats.fisher_exact(table).pvalue)


def test_strata_with_different_shares_do_not_make_groups_of_different_sizes_differ() -> None:
    # Of all together, 11 of 20 and 11 of 40 have it; in each stratum, the shares are the same.
    assert same_total([(10, 10, 5, 5), (1, 10, 4, 40)]) == pytest.approx(1)
    assert same_total([(4, 4, 0, 4), (4, 4, 0, 4)]) == pytest.approx(2 / 70**2)


def test_constants_of_groups_of_different_sizes_are_the_same() -> None:
    # log 50 has another mean in the last digit over 18 values than over 19.
    steps = np.log([50.0])
    assert welch(pd.Series(np.repeat(steps, 19)), pd.Series(np.repeat(steps, 18)), 0.05)[3] == 1


def test_values_without_any_spread_are_compared_by_how_they_fall_apart() -> None:
    alike, other = pd.Series([0.5] * 4), pd.Series([0.25] * 4)
    assert welch(alike, alike, 0.05) == (0, 0, 0, 1)
    # Of the 70 ways to choose 4 of 8, two fall apart.
    assert welch(alike, other, 0.05) == (-0.25, -0.25, -0.25, 2 / 70)
