"""Arms at matched training loss, and what rounding spreads, by cases computed by hand."""

import numpy as np
import pandas as pd
import pytest

from stages.audit.judging.mechanism import bound, matched, pair
from stages.audit.judging.rounding import rounding, sentence

LAST = 12


def trained(arm: str, losses: dict[int, list[float]], dataset: str = "mnist") -> pd.DataFrame:
    """Make rows of epochs.csv: seed → training losses, the first after epoch 1.

    After the last one given, the loss stays; all else tells the arm, the seed and the epoch.
    """
    rows = []
    for seed, given in losses.items():
        whole = [2.3, *given, *[given[-1]] * LAST][: LAST + 1]
        for epoch, loss in enumerate(whole):
            rows.append([dataset, arm, seed, epoch, loss, seed + epoch / 100, epoch / 100, 9, 8])
    columns = ["dataset", "recipe", "seed", "epoch", "train_loss", "feature_sparsity"]
    columns += ["test_accuracy", "effective_rank", "parameter_norm"]
    return pd.DataFrame(rows, columns=columns)


def outcomes(epochs: pd.DataFrame, lost: tuple[tuple[str, int], ...] = ()) -> pd.DataFrame:
    """Make the rows of networks.csv that belong to rows of epochs.csv."""
    table = epochs[["dataset", "recipe", "seed"]].drop_duplicates()
    keys = zip(table["recipe"], table["seed"], strict=True)
    ended = ["lost" if key in lost else "trained" for key in keys]
    other = pd.DataFrame({"dataset": ["mnist"], "recipe": ["core"], "seed": [1]})
    return pd.concat([table.assign(outcome=ended), other.assign(outcome="trained")])


FALLING = [0.5, 0.4, 0.3, 0.2, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.04, 0.03]
EPOCHS = pd.concat(
    [
        trained("small", {1: FALLING, 2: FALLING, 3: [0.5, 0.02]}),
        trained("large_5", {1: [0.05], 2: [0.3] * 7 + [0.06, 0.04], 3: [0.3] * 7 + [0.06]}),
        trained("large", {1: [0.3], 2: [0.3], 3: [0.05]}),
        trained("large_batch", {1: FALLING, 2: [0.3], 3: [0.3, 0.05]}),
    ]
)
"""The arms that end small have the median final losses 0.03 and 0.05."""


def test_the_bound_is_the_largest_median_final_loss_of_the_arms_that_end_small() -> None:
    assert bound(EPOCHS) == 0.05
    assert bound(EPOCHS[EPOCHS["recipe"] == "small"]) == 0.03
    assert np.isnan(bound(EPOCHS[EPOCHS["recipe"] == "large"]))


def at(table: pd.DataFrame, arm: str, column: str) -> list[float | None]:
    values = table.loc[table["recipe"] == arm, column]
    return [None if pd.isna(value) else value for value in values]


def test_a_network_is_taken_at_its_first_epoch_at_or_below_the_bound() -> None:
    table = matched(EPOCHS, outcomes(EPOCHS))
    assert set(table["bound"]) == {0.05}
    assert at(table, "small", "matched_epoch") == [10, 10, 2]
    assert at(table, "small", "matched_train_loss") == [0.05, 0.05, 0.02]
    assert at(table, "large", "matched_epoch") == [None, None, 1]
    assert at(table, "large_batch", "matched_epoch") == [10, None, 2]


def test_a_network_whose_rate_decays_is_taken_after_the_decay() -> None:
    table = matched(EPOCHS, outcomes(EPOCHS))
    assert at(table, "large_5", "matched_epoch") == [6, 9, None]
    assert at(table, "large_5", "matched_feature_sparsity") == [1.06, 2.09, None]
    assert at(table, "large_5", "matched_test_accuracy") == [0.06, 0.09, None]


def test_every_network_of_an_arm_is_taken_at_the_end() -> None:
    table = matched(EPOCHS, outcomes(EPOCHS))
    assert len(table) == 12
    assert set(table["last_epoch"]) == {LAST}
    assert at(table, "large_5", "last_feature_sparsity") == [1.12, 2.12, 3.12]
    assert at(table, "large_5", "last_train_loss") == [0.05, 0.04, 0.06]
    assert (table["last_effective_rank"] == 9).all()
    assert (table["last_parameter_norm"] == 8).all()


def test_lost_networks_are_left_out_and_do_not_move_the_bound() -> None:
    table = matched(EPOCHS, outcomes(EPOCHS, lost=(("large_5", 2), ("large_5", 1))))
    assert set(table["bound"]) == {0.06}
    assert at(table, "large_5", "outcome") == ["lost", "lost", "trained"]
    assert at(table, "large_5", "matched_epoch") == [None, None, 8]
    assert at(table, "large_5", "last_train_loss") == [None, None, 0.06]


def test_each_dataset_has_its_bound() -> None:
    both = pd.concat([EPOCHS, trained("small", {1: [0.7], 2: [0.8]}, "fashion_mnist")])
    table = matched(both, outcomes(both))
    assert table.groupby("dataset")["bound"].first().to_dict() == {
        "mnist": 0.05,
        "fashion_mnist": pytest.approx(0.75),
    }
    assert at(table[table["dataset"] == "fashion_mnist"], "small", "matched_epoch") == [1, None]


def test_a_pair_is_compared_at_the_bound_where_half_of_each_arm_reach_it() -> None:
    table = matched(EPOCHS, outcomes(EPOCHS))
    found = pair(table, "mnist", "large_5", "small", "feature_sparsity")
    assert found.when == "matched"
    assert found.values.tolist() == [1.06, 2.09]
    assert found.others.tolist() == [1.10, 2.10, 3.02]


def test_a_pair_is_compared_at_the_end_where_fewer_reach_the_bound() -> None:
    table = matched(EPOCHS, outcomes(EPOCHS, lost=(("small", 3),)))
    found = pair(table, "mnist", "small", "large", "test_accuracy")
    assert found.when == "last"
    assert found.values.tolist() == [0.12, 0.12]
    assert found.others.tolist() == [0.12] * 3
    assert pair(table, "mnist", "large", "small", "test_accuracy").when == "last"


def test_exactly_half_is_enough() -> None:
    rows = pd.concat([trained("small", {1: [0.1], 2: [0.3]}), trained("large_1", {1: [0.1, 0.1]})])
    table = matched(rows, outcomes(rows))
    assert table["bound"].iloc[0] == pytest.approx(0.2)
    assert pair(table, "mnist", "small", "large_1", "feature_sparsity").when == "matched"


def test_what_was_not_run_has_no_values() -> None:
    table = matched(EPOCHS, outcomes(EPOCHS))
    found = pair(table, "mnist", "small_batch", "small", "feature_sparsity")
    assert (len(found.values), len(found.others)) == (0, 3)
    assert len(pair(table, "digits", "small", "large", "feature_sparsity").others) == 0
    none = matched(EPOCHS.head(0), outcomes(EPOCHS).head(0))
    assert none.empty
    assert "matched_epoch" in none


def orders(values: dict[int, tuple[float, float]], rate: float = 0.1) -> pd.DataFrame:
    """Make networks in two orders of their units: seed → test accuracies."""
    rows = [
        ["mnist", recipe, rate, seed, "trained", value, 100 * value, 0.5]
        for seed, pair_of in values.items()
        for recipe, value in zip(("core", "core_permuted"), pair_of, strict=True)
    ]
    columns = ["dataset", "recipe", "learning_rate", "seed", "outcome"]
    columns += ["test_accuracy", "steps_to_threshold", "feature_sparsity"]
    return pd.DataFrame(rows, columns=columns)


THREE = {1: (0.90, 0.92), 2: (0.94, 0.94), 3: (0.98, 0.94)}


def test_spread_within_seeds_stands_beside_spread_between_them() -> None:
    table = rounding(orders(THREE)).set_index("quantity")
    row = table.loc["test_accuracy"]
    # Differences 0.02, 0, -0.04; variances over seeds 0.0016 and 0.00013333.
    within = np.sqrt((0.0004 + 0 + 0.0016) / 3 / 2)
    between = np.sqrt((0.0016 + 0.0004 / 3) / 2)
    assert row[["within", "between", "ratio"]].tolist() == pytest.approx(
        [within, between, within / between]
    )
    assert row[["seeds", "same_outcome", "pairs"]].tolist() == [3, 3, 3]
    assert table.loc["steps_to_threshold", "within"] == pytest.approx(100 * within)
    same = table.loc["feature_sparsity", ["within", "between", "ratio"]]
    assert same[:2].tolist() == [0, 0]
    assert np.isnan(same["ratio"])


def test_lost_networks_and_seeds_of_one_order_are_no_pairs() -> None:
    networks = orders({**THREE, 4: (0.1, 0.93), 5: (0.9, 0.9)})
    networks.loc[networks["test_accuracy"] == 0.1, "outcome"] = "lost"
    networks.loc[(networks["seed"] == 3), "steps_to_threshold"] = np.nan
    networks = networks.drop(networks.index[(networks["seed"] == 5)][1])
    table = rounding(networks).set_index("quantity")
    assert table.loc["test_accuracy", ["seeds", "same_outcome", "pairs"]].tolist() == [4, 3, 3]
    assert table.loc["steps_to_threshold", "pairs"] == 2


def test_one_pair_has_no_spread() -> None:
    table = rounding(orders({1: (0.9, 0.95)}))
    assert table[["within", "between", "ratio"]].isna().all(axis=None)
    assert sentence(table) == (
        "1 of 1 networks end the same way in both orders of their hidden units."
    )


def test_the_sentence_gives_the_range_over_cells() -> None:
    networks = pd.concat(
        [orders(THREE), orders({1: (0.9, 0.9), 2: (0.8, 0.8)}, 0.48)], ignore_index=True
    )
    networks.loc[networks.index[-1], "outcome"] = "lost"
    networks.loc[networks.index[-2:], "test_accuracy"] = 0.1
    two = orders({1: (0.9, 0.91), 2: (0.8, 0.83)}, 0.384)
    table = rounding(pd.concat([networks, two]))
    assert sentence(table) == (
        "6 of 7 networks end the same way in both orders of their hidden units. Another order "
        "changes nothing but rounding. The spread that it causes, as a multiple of that between "
        "seeds: test accuracy 0.2 to 0.6, the steps to the threshold 0.2 to 0.6."
    )


def test_without_a_second_order_nothing_is_said() -> None:
    networks = orders(THREE)
    table = rounding(networks[networks["recipe"] == "core"])
    assert table.empty
    assert sentence(table) == "No network was trained in two orders of its hidden units."
