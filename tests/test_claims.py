"""Every claim's rule, on tables in which it holds, fails, makes no difference or stays open."""

from typing import Any

import pytest

from stages.audit.judging.claims import CLAIMS, Claim
from stages.audit.judging.comparisons import SameNumbers
from stages.audit.judging.verdicts import Verdict, decide, find
from tests.drawn_audit import BY_KEY, Arms, Told, cells_of, evidence

MNIST, FASHION = "mnist", "fashion_mnist"
BOTH = (MNIST, FASHION)


def verdict(claim: Claim, told: Told | None = None, arms: Arms | None = None) -> Verdict:
    """Judge one claim alone, on the cells that it names."""
    drawn = evidence(told, arms, cells=cells_of(claim))
    (decision,) = decide([(claim, find(claim, drawn))])
    return decision.verdict


def core(dataset: str, **levels: Any) -> dict[tuple[str, str, float], dict[str, Any]]:
    """Tell what cells of core are like: quantity → rate → level."""
    told: dict[tuple[str, str, float], dict[str, Any]] = {}
    for quantity, by_rate in levels.items():
        for rate, level in by_rate.items():
            told.setdefault((dataset, "core", rate), {})[quantity] = level
    return told


def at(level: Any, *rates: float) -> dict[float, Any]:
    return dict.fromkeys(rates, level)


LARGER = (0.2, 0.3, 0.384, 0.48)
FASTER = {"steps_to_threshold": at(600.0, *LARGER), "steps_to_lower_threshold": at(300.0, *LARGER)}
WIDE = {"spread": at(40.0, 0.1)}
LOST = {(FASHION, "core", rate): {"lost": 12} for rate in (0.48, 0.6)}
STEEP = {(FASHION, "core_steep", rate): {"lost": 6} for rate in (0.44, 0.52, 0.56)}
BURSTS = {**LOST, **STEEP}
NO_BURSTS = {cell: {**like, "burst": 0.0} for cell, like in BURSTS.items()}
SOME_SURVIVE = {**BURSTS, (FASHION, "core_steep", 0.44): {"peak": 60.0}}
MOST_SURVIVE = {**BURSTS, (FASHION, "core", 0.48): {"peak": 60.0, "lost": 2}}
MOST_SURVIVE |= {(FASHION, "core", 0.6): {"peak": 60.0, "lost": 2}}
IN_VAIN = {(FASHION, "clipped", rate): {"lost": 17} for rate in (0.48, 0.6)}
LOST_MNIST = {(MNIST, "core", rate): {"lost": 12} for rate in (0.48, 0.6)}
ARMS_THEN_SMALL = ("large_1", "large_5", "large_10")


def arms(level: dict[str, float], *names: str, datasets: tuple[str, ...] = BOTH) -> Arms:
    return {(dataset, name): level for dataset in datasets for name in names}


def sparse(*names: str, datasets: tuple[str, ...] = BOTH) -> Arms:
    return arms({"feature_sparsity": 0.3}, *names, datasets=datasets)


def robust(recipe: str, count: int) -> Told:
    return {
        (dataset, recipe, rate): {"lost": count} for dataset in BOTH for rate in (0.48, 0.6)
    } | {**LOST, **LOST_MNIST}


SUPPORTED, REFUTED = Verdict.SUPPORTED, Verdict.REFUTED
EQUIVALENT, UNDECIDED = Verdict.EQUIVALENT, Verdict.UNDECIDED
CASES: list[tuple[str, Verdict, Told, Arms]] = [
    ("faster", SUPPORTED, core(MNIST, **FASTER), {}),
    ("faster", REFUTED, core(MNIST, **FASTER) | core(MNIST, steps_to_threshold=at(900.0, 0.3)), {}),
    ("faster", REFUTED, core(MNIST, **FASTER, lost=at(20, 0.48)), {}),
    ("faster", EQUIVALENT, {}, {}),
    ("faster", UNDECIDED, core(MNIST, **FASTER, **WIDE), {}),
    ("faster", UNDECIDED, core(MNIST, **FASTER, lost=at(10, 0.48)), {}),
    ("better", SUPPORTED, core(MNIST, test_accuracy=at(0.975, 0.2, 0.3)), {}),
    ("better", REFUTED, core(MNIST, test_accuracy={0.2: 0.975, 0.3: 0.97}), {}),
    ("better", REFUTED, core(MNIST, test_accuracy=at(0.975, 0.2, 0.3), lost=at(20, 0.3)), {}),
    ("better", EQUIVALENT, core(MNIST, test_accuracy=at(0.9708, 0.2, 0.3)), {}),
    ("better", UNDECIDED, core(MNIST, test_accuracy=at(0.972, 0.2, 0.3), spread=at(8.0, 0.3)), {}),
    ("best", SUPPORTED, core(MNIST, test_accuracy={0.3: 0.975}), {}),
    ("best", REFUTED, core(MNIST, test_accuracy={0.2: 0.975, 0.3: 0.975}), {}),
    ("best", EQUIVALENT, {}, {}),
    ("best", UNDECIDED, core(MNIST, test_accuracy={0.3: 0.975}, **WIDE), {}),
    ("favours", SUPPORTED, core(FASHION, test_accuracy=at(0.985, 0.1, 0.2)), {}),
    (
        "favours",
        SUPPORTED,
        core(FASHION, test_accuracy=at(0.985, 0.1), validation_accuracy=at(0.98, 0.1)),
        {},
    ),
    (
        "favours",
        REFUTED,
        core(FASHION, test_accuracy=at(0.985, 0.1, 0.3), validation_accuracy=at(0.98, 0.2)),
        {},
    ),
    ("favours", EQUIVALENT, {}, {}),
    (
        "favours",
        UNDECIDED,
        core(FASHION, test_accuracy=at(0.985, 0.1, 0.2), spread={0.3: 40.0}),
        {},
    ),
    ("unstable", SUPPORTED, LOST, {}),
    ("unstable", REFUTED, {**LOST, (FASHION, "core", 0.48): {"lost": 0}}, {}),
    ("unstable", UNDECIDED, {**LOST, (FASHION, "core", 0.48): {"lost": 6}}, {}),
    ("unstable", UNDECIDED, {**LOST, (FASHION, "core", 0.1): {"lost": 10}}, {}),
    ("exploding", SUPPORTED, BURSTS, {}),
    ("exploding", REFUTED, NO_BURSTS, {}),
    ("exploding", REFUTED, MOST_SURVIVE, {}),
    ("exploding", REFUTED, {**BURSTS, **IN_VAIN}, {}),
    ("exploding", UNDECIDED, SOME_SURVIVE, {}),
    ("exploding", UNDECIDED, core(FASHION, lost={0.6: 8}), {}),
    ("unstable_0384", SUPPORTED, core(FASHION, lost=at(12, 0.384)), {}),
    ("unstable_0384", REFUTED, {}, {}),
    ("unstable_0384", UNDECIDED, core(FASHION, lost=at(4, 0.384)), {}),
    ("unstable_0384", UNDECIDED, core(FASHION, lost=at(12, 0.384, 0.1)), {}),
    ("clipping", SUPPORTED, robust("clipped", 0), {}),
    ("clipping", REFUTED, robust("clipped", 20), {}),
    ("clipping", REFUTED, {**robust("clipped", 0), **IN_VAIN}, {}),
    ("clipping", EQUIVALENT, {}, {}),
    ("clipping", UNDECIDED, robust("clipped", 10), {}),
    ("scheduling", SUPPORTED, robust("warmup_cosine", 2), {}),
    ("scheduling", REFUTED, robust("warmup_cosine", 16), {}),
    ("scheduling", EQUIVALENT, {}, {}),
    ("scheduling", UNDECIDED, robust("warmup_cosine", 9), {}),
    ("sparser_mnist", SUPPORTED, core(MNIST, feature_sparsity_2=at(0.2, *LARGER)), {}),
    (
        "sparser_mnist",
        SUPPORTED,
        core(MNIST, feature_sparsity_2=at(0.2, *LARGER), lost={0.3: 10}),
        {},
    ),
    (
        "sparser_mnist",
        REFUTED,
        core(MNIST, feature_sparsity_2={0.2: 0.2, 0.3: 0.4, 0.384: 0.2}),
        {},
    ),
    ("sparser_mnist", EQUIVALENT, {}, {}),
    ("sparser_mnist", UNDECIDED, core(MNIST, feature_sparsity_2=at(0.2, *LARGER), **WIDE), {}),
    ("sparser_fashion_mnist", SUPPORTED, core(FASHION, feature_sparsity_2=at(0.2, *LARGER)), {}),
    ("sparser_fashion_mnist", REFUTED, core(FASHION, feature_sparsity_2=at(0.4, *LARGER)), {}),
    ("sparser_fashion_mnist", EQUIVALENT, {}, {}),
    (
        "sparser_fashion_mnist",
        UNDECIDED,
        core(FASHION, feature_sparsity_2=at(0.2, *LARGER), **WIDE),
        {},
    ),
    ("printed", REFUTED, {}, {}),
    ("usable", SUPPORTED, {}, {}),
    ("usable", REFUTED, {(d, "conventional", 1e-5): {"undertrained": 10} for d in BOTH}, {}),
    ("usable", UNDECIDED, {(MNIST, "conventional", 1e-5): {"undertrained": 4}}, {}),
    (
        "first_epoch",
        SUPPORTED,
        core(MNIST, first_epoch_accuracy=at(0.95, *LARGER))
        | core(FASHION, first_epoch_accuracy=at(0.95, *LARGER)),
        {},
    ),
    ("first_epoch", REFUTED, core(MNIST, first_epoch_accuracy=at(0.95, *LARGER)), {}),
    ("first_epoch", EQUIVALENT, {}, {}),
    ("first_epoch", UNDECIDED, core(MNIST, **WIDE) | core(FASHION, **WIDE), {}),
    ("depends", SUPPORTED, core(MNIST, test_accuracy=at(0.975, 0.2)), {}),
    ("depends", SUPPORTED, core(FASHION, test_accuracy=at(0.95, 0.384)), {}),
    ("depends", SUPPORTED, core(FASHION, test_accuracy=at(0.8, 0.2)), {}),
    ("depends", SUPPORTED, core(MNIST, test_accuracy=at(0.8, 0.384)), {}),
    (
        "depends",
        EQUIVALENT,
        core(MNIST, test_accuracy=at(0.976, 0.2), spread=at(0.2, 0.1, 0.2, 0.384))
        | core(FASHION, test_accuracy=at(0.985, 0.2)),
        {},
    ),
    ("depends", UNDECIDED, core(MNIST, **WIDE), {}),
    ("large_steps", SUPPORTED, {}, sparse(*ARMS_THEN_SMALL)),
    ("large_steps", REFUTED, {}, sparse(*ARMS_THEN_SMALL, datasets=(MNIST,))),
    ("large_steps", EQUIVALENT, {}, {}),
    ("large_steps", UNDECIDED, {}, arms({"spread": 20.0}, "small")),
    ("noise", SUPPORTED, {}, sparse("small_batch")),
    ("noise", REFUTED, {}, sparse("small")),
    ("noise", EQUIVALENT, {}, {}),
    ("noise", UNDECIDED, {}, arms({"spread": 20.0}, "small")),
    ("step_size", SUPPORTED, {}, sparse("large_batch", "large")),
    ("step_size", REFUTED, {}, sparse("large_batch")),
    ("step_size", EQUIVALENT, {}, {}),
    ("step_size", UNDECIDED, {}, arms({"spread": 20.0}, "small", "large")),
    ("predictors", SUPPORTED, {}, arms({"test_accuracy": 0.99}, *ARMS_THEN_SMALL)),
    ("predictors", REFUTED, {}, arms({"test_accuracy": 0.97}, "large_1")),
    ("predictors", EQUIVALENT, {}, {}),
    ("predictors", UNDECIDED, {}, arms({"spread": 30.0}, "small")),
    (
        "insights",
        SUPPORTED,
        {},
        arms({"feature_sparsity": 0.3, "test_accuracy": 0.99}, *ARMS_THEN_SMALL)
        | dict(sparse("small_batch")),
    ),
    ("insights", REFUTED, {}, sparse(*ARMS_THEN_SMALL, "small_batch")),
    ("insights", EQUIVALENT, {}, {}),
    ("insights", UNDECIDED, {}, arms({"spread": 30.0}, "small")),
]


@pytest.mark.parametrize(("key", "expected", "told", "drawn_arms"), CASES)
def test_verdicts_follow_the_rules(
    key: str, expected: Verdict, told: Told, drawn_arms: Arms
) -> None:
    assert verdict(BY_KEY[key], told, drawn_arms) == expected


def test_every_claim_is_seen_to_hold_fail_and_stay_open() -> None:
    seen = {(key, expected) for key, expected, *_ in CASES}
    needed = {(claim.key, each) for claim in CLAIMS for each in (SUPPORTED, REFUTED, UNDECIDED)}
    # Whether numbers are printed twice is not for networks to decide; there is no claim that the
    # dataset makes no difference.
    needed -= {("printed", SUPPORTED), ("printed", UNDECIDED), ("depends", REFUTED)}
    assert needed <= seen


@pytest.mark.parametrize("key", sorted(BY_KEY.keys() - {"printed"}))
def test_a_claim_without_one_of_its_cells_was_not_run(key: str) -> None:
    claim = BY_KEY[key]
    cells = cells_of(claim)
    for missing in cells:
        drawn = evidence(cells=[cell for cell in cells if cell != missing])
        (decision,) = decide([(claim, find(claim, drawn))])
        assert decision.verdict == Verdict.NOT_RUN


@pytest.mark.parametrize(
    ("output", "same"),
    [
        ({0.1: 0.9763, 0.2: 0.9749}, True),
        ({0.1: 0.97634, 0.2: 0.97486}, True),
        ({0.1: 0.97636, 0.2: 0.9749}, False),
        ({0.1: 0.9763, 0.2: None}, False),
        ({0.1: 0.9763}, False),
    ],
)
def test_printed_numbers_are_compared_to_the_digit(
    output: dict[float, float | None], same: bool
) -> None:
    comparison = SameNumbers({0.1: 0.9763, 0.2: 0.9749}, output)
    tested = comparison.tested(evidence(cells=[]))
    assert tested is not None
    assert (tested.p_supported, tested.p_not_better) == ((0.0, 1.0) if same else (1.0, 0.0))


def test_claims_name_their_comparisons() -> None:
    labels = {
        claim.key: [f"{each.label}, {each.quantity_name}" for each in claim.comparisons][-1]
        for claim in CLAIMS
    }
    last_arm = "0.384 for 10 epochs then 0.1, against 0.1 throughout (Fashion-MNIST)"
    assert labels == {
        "faster": "0.48 against 0.1 (MNIST), steps to the lower threshold",
        "better": "0.3 against 0.1 (MNIST), test accuracy",
        "best": "0.3 against 0.6 (MNIST), test accuracy",
        "favours": "the better of 0.1 and 0.2 against 0.6 (Fashion-MNIST), test accuracy",
        "unstable": "0.6 against 0.1 (Fashion-MNIST), share of networks lost",
        "exploding": "clipped against core, 0.48 and 0.6 (Fashion-MNIST), share of networks lost",
        "unstable_0384": "0.384 against 0.1 (Fashion-MNIST), share of networks lost",
        "clipping": "clipped against core, 0.48 and 0.6 (Fashion-MNIST), share of networks lost",
        "scheduling": "warm-up + cosine against core, 0.48 and 0.6 (Fashion-MNIST), "
        "share of networks lost",
        "sparser_mnist": "0.384 against 0.1 (MNIST), active features",
        "sparser_fashion_mnist": "0.384 against 0.1 (Fashion-MNIST), active features",
        "printed": "the numbers in the study's README are those of its notebook, printed numbers",
        "usable": "1e-05 (MNIST and Fashion-MNIST), share of networks that reach the threshold, "
        "against 80 %",
        "first_epoch": "0.384 against 0.1 (Fashion-MNIST), accuracy after the first epoch",
        "depends": "0.384 against 0.1, MNIST minus Fashion-MNIST, test accuracy",
        "large_steps": f"{last_arm}, active features",
        "noise": "0.1 with batches of 8, against 0.1 throughout (Fashion-MNIST), active features",
        "step_size": "0.384, against 0.1 with batches of 8 (Fashion-MNIST), active features",
        "predictors": f"{last_arm}, test accuracy",
        "insights": f"{last_arm}, test accuracy",
    }
