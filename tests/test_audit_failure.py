"""The probability that a network is lost, against closed forms, another fit and known truths."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from stages.audit.judging import failure
from stages.audit.judging.failure import (
    Failure,
    Fitted,
    Losses,
    Unfitted,
    curve,
    failures,
    observed,
    percentiles,
    ratio,
)
from stages.audit.judging.failure_tables import COLUMNS, curves_table, failure_table
from stages.common.errors import UserError

EPOCHS = 10


def networks(
    lost: dict[float, list[int]],
    size: int = 10,
    recipe: str = "core",
    dataset: str = "mnist",
) -> pd.DataFrame:
    """Make networks of which some are lost: rate → in which epochs; the others never are."""
    rows = []
    for rate, epochs in lost.items():
        for seed in range(size):
            ended = seed < len(epochs)
            when = epochs[seed] if ended else np.nan
            outcome = "lost" if ended else "trained"
            rows.append([dataset, recipe, rate, 1000 + seed, outcome, when])
    columns = ["dataset", "recipe", "learning_rate", "seed", "outcome", "lost_epoch"]
    return pd.DataFrame(rows, columns=columns)


def fitted(lost: dict[float, list[int]], size: int = 10) -> Fitted:
    found = curve(Losses.of(networks(lost, size), EPOCHS))
    assert isinstance(found, Fitted)
    return found


def state(lost: dict[float, list[int]]) -> str:
    return curve(Losses.of(networks(lost), EPOCHS)).state


RISING = {0.1: [], 0.4: [7], 0.5: [1, 2, 3, 9], 0.6: [1, 1, 1, 2, 3, 4, 8]}


def test_two_rates_and_one_epoch_are_fitted_exactly() -> None:
    table = networks({0.2: [1], 0.4: [1] * 6})
    found = curve(Losses.of(table, 1))
    assert isinstance(found, Fitted)
    ours = np.log(-np.log1p(-0.6)) - np.log(-np.log1p(-0.1))
    assert found.slope == pytest.approx(ours / np.log(2))
    rates = np.array([0.2, 0.4])
    assert found.share_lost(rates)[0] == pytest.approx([0.1, 0.6])
    assert found.rate_lost(0.1) == pytest.approx((0.2, 0.2))
    assert found.rate_lost(0.6) == pytest.approx((0.4, 0.4))


def test_the_fit_maximizes_the_likelihood_of_every_networks_epochs() -> None:
    table = networks(RISING)
    found = fitted(RISING)

    def minus_log_likelihood(parameters: np.ndarray) -> float:
        slope, *levels = parameters
        total = 0.0
        for network in table.itertuples():
            lost = network.outcome == "lost"
            for epoch in range(1, (int(network.lost_epoch) if lost else EPOCHS) + 1):
                level = levels[0 if epoch == 1 else 1 if epoch <= 3 else 2]
                risk = np.exp(level + slope * np.log(network.learning_rate))
                ends = lost and epoch == network.lost_epoch
                total += np.log(-np.expm1(-risk)) if ends else -risk
        return -total

    ours = np.array([found.slope, *found.levels])
    best = optimize.minimize(minus_log_likelihood, ours + 0.3, method="BFGS").x
    assert ours == pytest.approx(best, abs=2e-3)


def test_a_period_without_losses_has_no_hazard() -> None:
    found = fitted({0.3: [1], 0.4: [1, 7], 0.5: [1, 1, 1, 8]})
    assert found.levels[1] == -np.inf
    assert found.hazard_shares[1] == 0
    assert sum(found.hazard_shares) == pytest.approx(1)


def test_the_share_lost_follows_from_the_hazards_of_all_epochs() -> None:
    found = Fitted(8.0, np.array([2.0, 1.0, -1.0]), np.array([1, 2, 7]))
    alive = 1.0
    for level, epochs in zip((2.0, 1.0, -1.0), (1, 2, 7), strict=True):
        alive *= np.exp(-np.exp(level) * 0.7**8) ** epochs
    assert found.share_lost(np.array([0.7]))[0] == pytest.approx([1 - alive])
    assert found.rate_lost(1 - alive)[0] == pytest.approx(0.7)
    total = np.exp(2) + 2 * np.exp(1) + 7 * np.exp(-1)
    shares = [np.exp(2) / total, 2 * np.exp(1) / total, 7 * np.exp(-1) / total]
    assert found.hazard_shares == pytest.approx(shares)


def test_short_runs_have_the_periods_that_they_reach() -> None:
    found = curve(Losses.of(networks({0.2: [1], 0.3: [2, 2], 0.4: [1, 1, 2]}), 2))
    assert isinstance(found, Fitted)
    assert found.lengths.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ({0.1: [], 0.6: []}, "none lost"),
        ({0.1: [1] * 10, 0.6: [3] * 10}, "all lost"),
        ({0.1: [], 0.5: [], 0.6: [1] * 10}, "separated"),
        ({0.1: [], 0.5: [], 0.6: [1, 4, 4]}, "separated"),
        ({0.1: [], 0.5: [1, 4], 0.6: [1] * 10}, "separated"),
        ({0.5: [1, 4]}, "separated"),
        ({0.1: [], 0.5: [7], 0.6: [1] * 9 + [2]}, "one level"),
        ({0.1: [1] * 10, 0.5: [1, 4], 0.6: []}, "not rising"),
        ({0.1: [1, 1, 4], 0.5: [1, 4], 0.6: [4]}, "not rising"),
        ({0.1: [], 0.5: [1], 0.6: [1, 4]}, "fitted"),
    ],
)
def test_what_cannot_be_fitted_is_said(lost: dict[float, list[int]], expected: str) -> None:
    assert state(lost) == expected


def test_one_level_serves_where_the_periods_leave_no_slope() -> None:
    found = fitted({0.5: [7], 0.6: [1] * 9 + [2]})
    assert found.state == "one level"
    assert found.lengths.tolist() == [EPOCHS]
    # 1 loss in 97 epochs that networks began at 0.5; 10 in 11 at 0.6.
    risks = [-np.log1p(-1 / 97), -np.log1p(-10 / 11)]
    assert found.slope == pytest.approx(np.log(risks[1] / risks[0]) / np.log(0.6 / 0.5))
    shares, _ = found.share_lost(np.array([0.5, 0.6]))
    assert shares == pytest.approx([-np.expm1(-10 * risk) for risk in risks])


def test_unfitted_losses_bound_the_rate_by_the_neighbours_that_were_tried() -> None:
    separated = curve(Losses.of(networks({0.1: [], 0.5: [], 0.6: [1, 1, 1], 0.7: [1] * 10}), 10))
    assert separated.state == "separated"
    assert separated.rate_lost(0.1) == (0.5, 0.6)
    assert separated.rate_lost(0.3) == (0.5, 0.6)
    assert separated.rate_lost(0.5) == (0.6, 0.7)
    none = Losses.of(networks({0.1: [], 0.5: []}), 10)
    assert curve(none).rate_lost(0.5) == (0.5, np.inf)
    every = Losses.of(networks({0.1: [1] * 10}), 10)
    assert curve(every).rate_lost(0.5) == (0, 0.1)
    assert Unfitted("not rising", none).rate_lost(0.5) == (0, np.inf)


def test_unfitted_losses_bound_the_share_by_the_neighbours_that_were_tried() -> None:
    separated = curve(Losses.of(networks({0.5: [], 0.6: [1, 1, 1], 0.7: [1] * 10}), 10))
    rates = np.array([0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8])
    low, high = separated.share_lost(rates)
    assert low.tolist() == [0, 0, 0, 0.3, 0.3, 1, 1]
    assert high.tolist() == [0, 0, 0.3, 0.3, 1, 1, 1]
    low, high = Unfitted("not rising", Losses.of(networks({0.5: []}), 10)).share_lost(rates)
    assert (low.max(), high.min()) == (0, 1)


def test_the_slope_of_unfitted_losses_is_unbounded() -> None:
    losses = Losses.of(networks({0.5: []}), 10)
    assert Unfitted("separated", losses).slopes() == (np.inf, np.inf)
    assert Unfitted("none lost", losses).slopes() == (0, np.inf)


def test_percentiles_are_draws() -> None:
    bounds = [(float(number), float(number) + 0.5) for number in range(1, 1000)]
    low, high = percentiles(bounds)
    assert (low, high) == (25, 975.5)
    low, high = percentiles([(1.0, np.inf), *[(2.0, 2.0)] * 20])
    assert (low, high) == (1, np.inf)


def test_draws_keep_the_number_of_networks_at_each_rate() -> None:
    losses = Losses.of(networks({0.1: [], 0.5: [1, 4], 0.6: [3] * 10}), EPOCHS)
    drawn = list(losses.resampled(500, 3))
    assert all(each.networks.tolist() == [10, 10, 10] for each in drawn)
    assert all(each.lost[[0, 2]].tolist() == [0, 10] for each in drawn)
    assert np.mean([each.lost[1] for each in drawn]) == pytest.approx(2, abs=0.3)
    assert [each.lost[1] for each in losses.resampled(500, 4)] != [each.lost[1] for each in drawn]


def simulated(slope: float, half: float, size: int, seed: int) -> pd.DataFrame:
    """Draw networks from a hazard that is the same in every epoch."""
    generator = np.random.default_rng(seed)
    lost = {}
    for rate in (0.2, 0.3, 0.4, 0.44, 0.48, 0.52, 0.56, 0.6):
        risk = np.log(2) / EPOCHS * (rate / half) ** slope
        epochs = generator.geometric(-np.expm1(-risk), size)
        lost[rate] = sorted(epochs[epochs <= EPOCHS].tolist())
    return networks(lost, size)


def test_a_simulated_hazard_is_found_again() -> None:
    found = curve(Losses.of(simulated(14, 0.5, 4000, 1), EPOCHS))
    assert isinstance(found, Fitted)
    assert found.slope == pytest.approx(14, rel=0.03)
    assert found.rate_lost(0.5)[0] == pytest.approx(0.5, rel=0.005)
    assert found.rate_lost(0.1)[0] == pytest.approx(
        0.5 * (np.log(0.9) / np.log(0.5)) ** (1 / 14), rel=0.01
    )
    assert found.hazard_shares == pytest.approx([0.1, 0.2, 0.7], abs=0.02)


def test_intervals_cover_the_truth_about_as_often_as_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failure, "DRAWS", 59)
    covered = 0
    for seed in range(10):
        _, low, high = failure.failure(simulated(14, 0.5, 20, seed), EPOCHS).rate_lost(0.5)
        covered += low <= 0.5 <= high
    assert covered >= 8


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "DRAWS", 49)


@pytest.mark.usefixtures("few_draws")
def test_the_steep_recipes_count_with_their_families() -> None:
    table = pd.concat(
        [
            networks(RISING),
            networks({0.55: [1, 2, 3, 4, 5]}, recipe="core_steep"),
            networks({0.6: []}, recipe="clipped"),
            networks({0.1: [1] * 9}, recipe="core_permuted"),
        ]
    )
    found = failures(table, EPOCHS)
    assert list(found) == [("mnist", "core"), ("mnist", "clipped")]
    losses = found["mnist", "core"].losses
    assert losses.rates.tolist() == [0.1, 0.4, 0.5, 0.55, 0.6]
    assert losses.lost.tolist() == [0, 1, 4, 5, 7]
    shares = observed(table)
    columns = ["recipe", "learning_rate", "networks", "lost"]
    assert shares[columns].to_numpy().tolist() == [
        ["clipped", 0.6, 10, 0],
        ["core", 0.1, 10, 0],
        ["core", 0.4, 10, 1],
        ["core", 0.5, 10, 4],
        ["core", 0.55, 10, 5],
        ["core", 0.6, 10, 7],
    ]


def test_observed_shares_have_wilsons_interval() -> None:
    shares = observed(networks({0.5: [1, 4, 9]}))
    assert shares["share"].tolist() == [0.3]
    # Wilson (1927), by hand: z = 1.959964, n = 10, p = 0.3.
    centre = (0.3 + 3.841459 / 20) / 1.3841459
    z = 1.959964
    half = z * np.sqrt(0.3 * 0.7 / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert (shares["low"][0], shares["high"][0]) == pytest.approx((centre - half, centre + half))


@pytest.mark.usefixtures("few_draws")
def test_a_ratio_is_that_of_the_two_rates_draw_by_draw() -> None:
    first = failure.failure(networks(RISING), EPOCHS, seed=1)
    second = failure.failure(networks({2 * rate: e for rate, e in RISING.items()}), EPOCHS, seed=1)
    found = ratio(second, first, 0.5)
    assert found == pytest.approx((2, 2, 2))
    none = failure.failure(networks({0.1: [], 0.6: []}), EPOCHS)
    value, low, high = ratio(none, first, 0.5)
    assert np.isnan(value)
    assert low == pytest.approx(0.6 / max(d.rate_lost(0.5)[1] for d in first.draws), rel=0.05)
    assert high == np.inf
    every = failure.failure(networks({0.6: [1] * 10}), EPOCHS)
    assert ratio(first, every, 0.5).high == np.inf


@pytest.mark.usefixtures("few_draws")
def test_the_table_says_what_was_found_and_what_was_not() -> None:
    table = pd.concat(
        [
            networks(RISING),
            networks({0.5: [], 0.6: [1] * 10}, recipe="clipped"),
            networks({0.1: [], 0.6: []}, recipe="warmup_cosine"),
        ]
    )
    found = failures(table, EPOCHS)
    rows = failure_table(found, observed(table)).set_index("recipe")
    assert rows["state"].to_dict() == {
        "core": "fitted",
        "clipped": "separated",
        "warmup_cosine": "none lost",
    }
    assert rows["dataset"].tolist() == ["mnist"] * 3
    assert rows["smallest_rate"].tolist() == [0.1, 0.5, 0.1]
    assert rows["largest_rate"].tolist() == [0.6, 0.6, 0.6]
    assert rows["networks"].tolist() == [40, 20, 20]
    assert rows["lost"].tolist() == [12, 10, 0]
    core = found["mnist", "core"]
    slopes = ["slope", "slope_low", "slope_high"]
    assert rows.loc["core", slopes].tolist() == pytest.approx(core.slope())
    assert rows.loc["warmup_cosine", slopes].isna().all()
    for share in (10, 50, 90):
        names = [f"rate_{share}{end}" for end in ("", "_low", "_high")]
        assert rows.loc["core", names].tolist() == pytest.approx(core.rate_lost(share / 100))
        assert rows.loc["clipped", names[1:]].tolist() == [0.5, 0.6]
        assert rows.loc["warmup_cosine", names[1]] == 0.6
    missing = rows[["rate_50", "rate_50_low", "rate_50_high", "slope_high", "rates_outside"]]
    assert missing.loc["clipped"].isna().tolist() == [True, False, False, True, True]
    assert missing.loc["warmup_cosine"].isna().tolist() == [True, False, True, True, True]
    assert rows.loc["core", "rates_outside"] == 0
    assert rows.loc["core", "times_core"] == 1
    hazards = rows.loc["core", COLUMNS[10:13]].tolist()
    curve_found = core.curve
    assert isinstance(curve_found, Fitted)
    assert hazards == pytest.approx(curve_found.hazard_shares.tolist())


@pytest.mark.usefixtures("few_draws")
def test_a_fit_that_misses_the_shares_is_told() -> None:
    bent = {0.1: [1] * 8, 0.2: [], 0.3: [], 0.6: [1] * 10}
    found = failures(networks(bent), EPOCHS)
    table = failure_table(found, observed(networks(bent)))
    outside = int(table["rates_outside"][0])
    fit = found["mnist", "core"].curve.share_lost(np.array([0.1, 0.2, 0.3, 0.6]))[0]
    shares = observed(networks(bent))
    assert outside == sum((fit < shares["low"]) | (fit > shares["high"]))
    assert outside >= 2


@pytest.mark.usefixtures("few_draws")
def test_curves_run_over_the_rates_tried() -> None:
    others = networks({0.2: [], 0.3: []}, recipe="clipped")
    found = failures(pd.concat([networks(RISING), others]), EPOCHS)
    tables = curves_table(found)
    assert tables["recipe"].value_counts(sort=False).to_dict() == {"core": 181, "clipped": 181}
    table = tables[tables["recipe"] == "core"]
    assert (table["learning_rate"].iloc[0], table["learning_rate"].iloc[-1]) == pytest.approx(
        (0.1, 0.6)
    )
    core: Failure = found["mnist", "core"]
    middle = table.iloc[90]
    at = np.array([middle["learning_rate"]])
    assert middle["share"] == core.curve.share_lost(at)[0][0]
    ends = sorted(drawn.share_lost(at)[0][0] for drawn in core.draws)
    assert middle["low"] == pytest.approx(ends[1])
    assert middle["high"] == pytest.approx(ends[47])
    assert (np.diff(table["share"]) > 0).all()


def test_without_networks_tables_are_empty() -> None:
    table = networks(RISING, recipe="fresh_start")
    assert failures(table, EPOCHS) == {}
    assert observed(table).empty
    assert list(failure_table({}, observed(table))) == COLUMNS
    assert list(curves_table({})) == ["dataset", "recipe", "learning_rate", "share", "low", "high"]


@pytest.mark.parametrize("epoch", [np.nan, 0, 11])
def test_a_loss_outside_of_the_run_is_refused(epoch: float) -> None:
    table = networks(RISING)
    table.loc[table["lost_epoch"] == 9, "lost_epoch"] = epoch
    with pytest.raises(UserError) as told:
        failures(table, EPOCHS)
    assert str(told.value) == (
        f"networks.csv: a lost network has lost_epoch {epoch:g}, not one of 1 to 10: "
        "if its recipe in params.yaml has epochs of its own, remove them; "
        "then recreate the table with: make audit"
    )


def test_steep_and_ill_fitting_losses_are_fitted_all_the_same() -> None:
    """Cases at which reweighted least squares oscillates or runs away."""
    rates = [0.02, 0.384, 0.48, 0.52, 0.6, 2.4]
    counts = [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5],
        [0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 7],
        [0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [3, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [2, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    found = curve(Losses(np.array(rates), np.array(counts)))
    assert isinstance(found, Fitted)
    assert 0 < found.slope < 20
    likelihoods = [log_likelihood(found, rates, counts)]
    for place, step in itertools.product(range(4), (-0.01, 0.01)):
        moved = np.array([found.slope, *found.levels])
        moved[place] += step
        near = Fitted(moved[0], moved[1:], found.lengths)
        likelihoods.append(log_likelihood(near, rates, counts))
    assert max(likelihoods) == likelihoods[0]


def log_likelihood(found: Fitted, rates: list[float], counts: list[list[int]]) -> float:
    levels = np.repeat(found.levels, found.lengths)
    total = 0.0
    for rate, row in zip(rates, counts, strict=True):
        risk = np.exp(levels + found.slope * np.log(rate))
        before = np.concatenate([[0], np.cumsum(risk)])
        for epoch, number in enumerate(row[:-1]):
            if number:
                total += number * (np.log(-np.expm1(-risk[epoch])) - before[epoch])
        total -= row[-1] * before[-1]
    return total
