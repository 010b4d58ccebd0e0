"""Comparisons: which networks are compared, what becomes of lost ones, what the p values mean."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.audit.judging.claims import (
    ACTIVE,
    BURST,
    FAVOURITE,
    FIRST_EPOCH,
    STEPS,
    TEST_ACCURACY,
    cells,
)
from stages.audit.judging.comparisons import (
    Bound,
    Comparison,
    Difference,
    Interaction,
    Matched,
    NoSurvivor,
    SameNumbers,
    Shares,
)
from stages.audit.judging.evidence import Cell, Evidence, Favourite
from stages.audit.judging.tested import Bounded, Counted, Ranked, Scale, Stated, Tested
from tests.drawn_audit import evidence

CORE_01, CORE_02 = cells("mnist", 0.1), cells("mnist", 0.2)
PLACES = [("mnist", "core", 0.1), ("mnist", "core", 0.2)]
POINTS = Scale("points", 1, 0.2)


def table(**columns: object) -> pd.DataFrame:
    """Lay out the networks of core on MNIST at 0.1, five of them, and at 0.2, four."""
    rates = [0.1] * 5 + [0.2] * 4
    usual = {"dataset": "mnist", "recipe": "core", "learning_rate": rates, "outcome": "trained"}
    seeds = [1004, 1003, 1002, 1001, 1000, 1000, 1001, 1002, 1003]
    usual |= {"seed": seeds, "peak_gradient_norm": 5.0, "began_with_burst": np.nan}
    return pd.DataFrame(usual | {"steps_to_threshold": 800.0} | columns)


def of(networks: pd.DataFrame) -> Evidence:
    return Evidence(networks, evidence(cells=[]).epochs)


def ranked(comparison: Comparison, networks: pd.DataFrame) -> Ranked:
    tested = comparison.tested(of(networks))
    assert isinstance(tested, Ranked)
    return tested


def test_better_is_larger_in_the_unit_of_the_margin() -> None:
    networks = table(test_accuracy=np.linspace(0.9, 0.98, 9), feature_sparsity=0.25)
    found = ranked(Difference(TEST_ACCURACY, CORE_02, CORE_01), networks)
    assert found.first == pytest.approx([95, 96, 97, 98])
    assert sorted(found.second) == pytest.approx([90, 91, 92, 93, 94])
    assert found.scale == Scale("points", 1, 0.2)
    found = ranked(Difference(ACTIVE, CORE_02, CORE_01), networks)
    assert found.first == pytest.approx([-25] * 4)
    assert found.scale == Scale("points", -1, 1.0)
    found = ranked(Difference(STEPS, CORE_02, CORE_01), networks)
    assert found.first == pytest.approx([-np.log(800)] * 4)
    assert found.scale == Scale("factor", -1, 1.1)
    assert found.scale.step == pytest.approx(np.log(1.1))
    assert FIRST_EPOCH.scale("fashion_mnist") == Scale("points", 1, 0.5)


def test_a_lost_network_ranks_last_and_stands_aside_of_the_survivors() -> None:
    outcome = ["trained"] * 5 + ["lost", "undertrained", "trained", "trained"]
    accuracy = [0.9] * 5 + [0.99, 0.5, 0.95, 0.95]
    found = ranked(
        Difference(TEST_ACCURACY, CORE_02, CORE_01), table(outcome=outcome, test_accuracy=accuracy)
    )
    assert found.first.tolist() == [-np.inf, 50, 95, 95]
    assert found.first_trained.tolist() == [95, 95]
    assert found.second_trained.tolist() == [90] * 5
    assert found.survivors_effect() == pytest.approx(5)
    assert found.effect.value == pytest.approx(-17.5)


def test_a_threshold_never_reached_ranks_last_like_a_lost_network() -> None:
    outcome = ["trained"] * 5 + ["lost", "trained", "trained", "trained"]
    steps = [500.0] * 5 + [100.0, np.nan, 500.0, 500.0]
    found = ranked(
        Difference(STEPS, CORE_02, CORE_01), table(outcome=outcome, steps_to_threshold=steps)
    )
    assert found.first == pytest.approx([-np.inf, -np.inf, -np.log(500), -np.log(500)])


def test_a_lost_network_has_no_active_features_to_compare() -> None:
    outcome = ["trained"] * 5 + ["lost", "trained", "trained", "trained"]
    found = ranked(
        Difference(ACTIVE, CORE_02, CORE_01), table(outcome=outcome, feature_sparsity=0.25)
    )
    assert found.sizes == (3, 5)


def test_p_values_of_a_difference_are_those_of_shifted_samples() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(0.3, 0.2, 8), generator.normal(0, 0.2, 9)
    found = Ranked(POINTS, first, second, first, second)

    def scipys(shift: float, alternative: str) -> float:
        tested = stats.mannwhitneyu(first, second + shift, alternative=alternative, method="exact")
        return float(tested.pvalue)

    assert found.ahead
    assert found.p_difference == pytest.approx(scipys(0, "two-sided"))
    assert found.p_supported == found.p_difference
    assert found.p_not_better == pytest.approx(scipys(0.2, "less"))
    assert found.p_not_worse == pytest.approx(scipys(-0.2, "greater"))
    assert found.p_equivalent == found.p_not_better
    turned = Ranked(POINTS, second, first, second, first)
    assert not turned.ahead
    assert turned.p_supported == 1
    assert turned.p_equivalent == pytest.approx(found.p_equivalent)


def test_gains_are_over_the_network_with_the_same_seed() -> None:
    accuracy = [0.94, 0.93, 0.92, 0.91, 0.90, 0.95, 0.95, 0.95, 0.99]
    there = table(test_accuracy=accuracy)
    here = table(test_accuracy=[0.9] * 9, dataset="fashion_mnist")
    found = ranked(
        Interaction(
            TEST_ACCURACY,
            (CORE_02, CORE_01),
            (cells("fashion_mnist", 0.2), cells("fashion_mnist", 0.1)),
        ),
        pd.concat([there, here]),
    )
    assert found.first == pytest.approx(np.array([5, 4, 3, 6]) / 0.2)
    assert found.second == pytest.approx([0] * 4)
    assert found.scale == Scale("margins", 1, 1.0)


def test_gains_from_and_to_lost_networks_are_endless() -> None:
    outcome = ["trained", "trained", "lost", "lost", "trained", "lost", "lost", "trained"]
    there = table(test_accuracy=0.9, outcome=[*outcome, "trained"])
    here = table(test_accuracy=0.9, recipe="clipped")
    change = Difference(TEST_ACCURACY, CORE_02, CORE_01).change("clipped", "core")
    found = ranked(change, pd.concat([there, here]))
    # Seeds 1000 to 1003: at 0.1 trained, lost, lost, trained; at 0.2 lost, lost, trained, trained.
    assert found.first.tolist() == [-np.inf, 0, np.inf, 0]
    assert found.first_trained.tolist() == [0]
    assert found.second.tolist() == [0] * 4
    assert found.scale == POINTS


def test_shares_are_of_networks_that_are_as_the_claim_says() -> None:
    outcome = ["lost", "trained", "trained", "trained", "undertrained"] + ["lost"] * 3 + ["trained"]
    networks = table(outcome=outcome)
    more = Shares(CORE_02, CORE_01, "more").tested(of(networks))
    assert more == Counted(Scale("share", 1, 20.0), 3, 4, 1, 5)
    fewer = Shares(CORE_02, CORE_01, "fewer").tested(of(networks))
    assert fewer == Counted(Scale("share", -1, 20.0), 1, 4, 4, 5)
    assert isinstance(more, Counted)
    assert isinstance(fewer, Counted)
    assert (more.ahead, fewer.ahead) == (True, False)
    assert more.effect.value == pytest.approx(55)
    assert fewer.scale.shown(fewer.effect).value == pytest.approx(55)
    assert more.p_difference == pytest.approx(fewer.p_difference)
    assert more.p_not_worse == pytest.approx(fewer.p_not_better)
    assert more.sizes == (4, 5)
    assert more.statistic == 3
    equal = Counted(Scale("share", 1, 20.0), 2, 4, 1, 2)
    assert not equal.ahead


def test_a_bound_is_on_the_share_of_all_lost_or_burst_networks() -> None:
    outcome = ["trained"] * 4 + ["lost"] + ["lost", "lost", "trained", "undertrained"]
    burst = [np.nan] * 4 + [1, 0, 1, np.nan, np.nan]
    peak = [5.0, 5, 5, 60, 400, 5, np.nan, 50, 5]
    steps = [800.0] * 7 + [np.nan, 800.0]
    networks = table(
        outcome=outcome, began_with_burst=burst, peak_gradient_norm=peak, steps_to_threshold=steps
    )
    both = (*CORE_01, *CORE_02)
    scale = Scale("share", 1, 20.0)

    def tested(comparison: Comparison) -> Tested | None:
        return comparison.tested(of(networks))

    assert tested(Bound("lost", both, 0.25)) == Bounded(scale, 3, 9, 0.25)
    assert tested(Bound("learned", both, 0.8)) == Bounded(scale, 4, 9, 0.8)
    assert tested(Bound("burst first", both, 0.8, "lost")) == Bounded(scale, 2, 3, 0.8)
    assert tested(Bound("lost", both, 0.8, "burst", BURST)) == Bounded(scale, 2, 3, 0.8)
    told = "largest of the others 60, smallest of a lost one 5"
    assert tested(NoSurvivor(both, BURST)) == Stated(scale, False, told)
    told = "largest of the others 50, smallest of a lost one 5"
    assert tested(NoSurvivor(CORE_02, BURST)) == Stated(scale, True, told)


def test_the_gap_between_survivors_and_lost_networks_leaves_unknown_norms_out() -> None:
    networks = table(outcome="lost", peak_gradient_norm=np.nan)
    found = NoSurvivor(CORE_02, BURST).tested(of(networks))
    assert isinstance(found, Stated)
    assert found.told == "largest of the others –, smallest of a lost one –"


def test_a_share_is_ahead_of_its_bound_only_above_it() -> None:
    scale = Scale("share", 1, 20.0)
    at = Bounded(scale, 4, 5, 0.8)
    above = Bounded(scale, 5, 5, 0.8)
    assert (at.ahead, above.ahead) == (False, True)
    assert above.p_supported == pytest.approx(0.8**5)
    assert at.p_supported == 1
    assert at.p_not_better == pytest.approx(1 - 0.8**5)
    assert np.isnan(at.p_not_worse)
    assert at.p_equivalent == 1
    assert above.effect.value == pytest.approx(20)
    assert above.sizes == (5, 0)


def test_a_fact_needs_no_networks() -> None:
    scale = Scale("share", 1, 20.0)
    so, not_so = Stated(scale, True), Stated(scale, False)
    assert (so.p_supported, so.p_not_better, so.p_equivalent) == (0, 1, 1)
    assert (not_so.p_supported, not_so.p_not_better, not_so.p_equivalent) == (1, 0, 1)
    assert so.enough(0.05, 0.05, 0.05).supported == 0
    assert not_so.enough(0.05, 0.05, 0.05).supported == np.inf


def test_the_favourite_is_chosen_in_the_half_that_is_not_compared() -> None:
    validation = [0.9, 0.9, 0.8, 0.99, 0.99, 0.95, 0.95, 0.1, 0.1]
    networks = table(validation_accuracy=validation, test_accuracy=0.9)
    cell = Cell("mnist", "core", Favourite((0.1, 0.2)), upper_half=True)
    # In the lower half, two seeds of each: 0.99 against 0.95.
    assert of(networks).rate(cell) == 0.1
    found = of(networks).of((cell,))
    assert found is not None
    assert found["seed"].tolist() == [1002, 1003, 1004]
    lost = networks.assign(outcome=["trained"] * 4 + ["lost"] + ["trained"] * 4)
    lost.loc[3, "outcome"] = "lost"
    assert of(lost).rate(cell) == 0.2
    equal = networks.assign(validation_accuracy=0.9)
    assert of(equal).rate(cell) == 0.1
    assert of(networks[networks["learning_rate"] == 0.1]).rate(cell) is None


def test_halves_are_of_each_cells_own_seeds() -> None:
    drawn = of(table())
    assert sorted(drawn.half("lower").networks["seed"]) == [1000, 1000, 1001, 1001]
    assert sorted(drawn.half("upper").networks["seed"]) == [1002, 1002, 1003, 1003, 1004]


def test_a_half_has_the_courses_of_its_own_networks() -> None:
    drawn = evidence(cells=[("mnist", "small", 0.1), ("mnist", "large_1", 0.1)])
    lower = drawn.half("lower")
    assert sorted(lower.epochs["seed"].unique()) == list(range(1000, 1005))
    assert len(lower.epochs) == 2 * 5 * 21
    assert set(lower.matched["recipe"]) == {"small", "large_1"}


def test_arms_are_compared_at_equal_training_loss() -> None:
    told = {("mnist", "large_1"): {"feature_sparsity": 0.3}}
    drawn = evidence(arms=told, cells=[("mnist", "small", 0.1), ("mnist", "large_1", 0.1)])
    comparison = Matched(ACTIVE, "mnist", "large_1", "small")
    found = comparison.tested(drawn)
    assert isinstance(found, Ranked)
    assert found.sizes == (10, 10)
    assert found.effect.value == pytest.approx(20, abs=1)
    assert comparison.when(drawn) == "matched"
    assert Matched(ACTIVE, "mnist", "large_5", "small").tested(drawn) is None


def test_a_comparison_moves_to_another_rung_with_all_its_cells() -> None:
    moved = Difference(TEST_ACCURACY, CORE_02, CORE_01).on("clipped")
    assert [side[0].recipe for side in moved.sides] == ["clipped", "clipped"]
    steep = (*CORE_02, *cells("mnist", 0.5, recipe="core_steep"))
    bound = Bound("lost", steep, 0.25).on("clipped")
    assert bound is not None
    assert bound.sides == (cells("mnist", 0.2, recipe="clipped"),)
    assert Bound("lost", cells("mnist", 1e-5, recipe="conventional"), 0.8).on("clipped") is None
    shares = Shares(CORE_02, CORE_01, "more").on("clipped")
    assert shares is not None
    assert shares.sides == tuple(cells("mnist", rate, recipe="clipped") for rate in (0.2, 0.1))
    across = Shares(cells("mnist", 0.2, recipe="clipped"), CORE_02, "fewer")
    assert across.on("warmup_cosine") is None
    assert Matched(ACTIVE, "mnist", "large", "small").on("clipped") is None
    survivor = NoSurvivor(CORE_02, BURST).on("clipped")
    assert survivor is not None
    assert survivor.sides == (cells("mnist", 0.2, recipe="clipped"),)
    assert NoSurvivor(cells("mnist", 0.5, recipe="core_steep"), BURST).on("clipped") is None


def test_a_change_is_the_second_recipe_less_the_first() -> None:
    change = Difference(TEST_ACCURACY, CORE_02, CORE_01).change("standardized", "core")
    recipes = [side[0].recipe for side in change.sides]
    assert recipes == ["core", "core", "standardized", "standardized"]
    assert change.label == "0.2 against 0.1 (MNIST), core minus standardized"
    shares = Bound("lost", CORE_02, 0.25).change("core", "clipped")
    assert shares == Shares(cells("mnist", 0.2, recipe="clipped"), CORE_02, "more")
    bursts = Bound("burst first", CORE_02, 0.8, "lost").change("core", "clipped")
    assert bursts is not None
    assert (bursts.event, bursts.among) == ("burst first", "lost")
    assert Bound("lost", CORE_02, 0.8, "burst", BURST).change("core", "clipped") is None
    assert Bound("lost", cells("mnist", 1e-5, recipe="conventional"), 0.8).change("a", "b") is None
    assert Shares(CORE_02, CORE_01, "more").change("core", "clipped") is None


def test_what_cannot_refute_a_claim_says_so() -> None:
    assert Difference(TEST_ACCURACY, CORE_02, CORE_01).can_refute
    assert SameNumbers({}, {}).can_refute
    assert not NoSurvivor(CORE_02, BURST).can_refute
    assert not Shares(CORE_02, CORE_01, "more", can_refute=False).can_refute
    assert Shares(CORE_02, CORE_01, "more").can_refute


def test_a_comparison_without_a_cell_was_not_run() -> None:
    drawn = of(table(test_accuracy=0.9))
    other = cells("mnist", 0.3)
    for comparison in (
        Difference(TEST_ACCURACY, CORE_02, other),
        Difference(TEST_ACCURACY, other, CORE_02),
        Interaction(TEST_ACCURACY, (CORE_02, CORE_01), (CORE_02, other)),
        Shares(CORE_02, other, "more"),
        Bound("lost", (*CORE_02, *other), 0.25),
        NoSurvivor(other, BURST),
        Difference(TEST_ACCURACY, FAVOURITE, CORE_01),
    ):
        assert comparison.tested(drawn) is None


def test_cells_know_how_many_networks_they_have() -> None:
    drawn = of(table(validation_accuracy=0.9))
    assert drawn.size(Cell("mnist", "core", 0.2)) == 4
    assert drawn.size(Cell("mnist", "core", None)) == 9
    assert drawn.size(Cell("mnist", "core", Favourite((0.2, 0.1)), upper_half=True)) == 4
    assert drawn.size(Cell("mnist", "clipped", 0.2)) == 0


def test_effects_are_shown_in_the_unit_of_readers() -> None:
    effect = Ranked(
        Scale("factor", -1, 1.1), np.log([0.5, 0.5]), np.zeros(2), np.zeros(0), np.zeros(0)
    ).effect
    shown = Scale("factor", -1, 1.1).shown(effect)
    # Half a step more on the logarithm's scale of speed is twice as many steps.
    assert (shown.value, shown.low, shown.high) == pytest.approx((2, 2, 2))
    effect = effect.minus(1).times(1)
    shown = Scale("points", -1, 1.0).shown(effect)
    assert (shown.value, shown.low) == pytest.approx((1 - np.log(0.5), 1 - np.log(0.5)))
