"""Every claim's rule, on tables in which the claim holds, fails and cannot be decided."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.audit.judging.breaking import contradictions
from stages.audit.judging.claims import CLAIMS, headline
from stages.audit.judging.evidence import Evidence, Finding, Verdict
from stages.audit.judging.ladder_order import before, rungs
from stages.audit.judging.rules import printed
from stages.audit.report import ReportParams, changes, judged, report
from stages.audit.training.parameters import CORE
from stages.common.parameters import read_params
from tests.conftest import PROJECT

SEEDS = range(5)
GRID = (0.1, 0.2, 0.3, 0.384, 0.48, 0.6)
SCATTER = np.array([-0.002, -0.001, 0.0, 0.001, 0.002])
NO_BOUNDARY = pd.DataFrame(columns=["dataset", "recipe", "seed", "low", "high"])
BY_NAME = {claim.name: claim for claim in CLAIMS}

ENDS = {
    "trained": ("trained", None, np.nan),
    "undertrained": ("undertrained", None, np.nan),
    "collapsed": ("lost", "collapsed", 17.0),
    "exploded": ("lost", "exploded", 9.0),
    "could not begin": ("lost", "exploded", 1.0),
}
"""How a network may end → its outcome, how it was lost and at which step."""

Rates = Mapping[float, object]


def networks(
    rung: str = CORE,
    dataset: str = "mnist",
    *,
    rates: tuple[float, ...] = GRID,
    seeds: range = SEEDS,
    accuracy: Rates | None = None,
    steps: Rates | None = None,
    outcome: Rates | None = None,
    sparsity: Rates | None = None,
) -> pd.DataFrame:
    """Lay out a rung: rate → one value for all seeds, or one each. All train unless told.

    The outcome is one of `ENDS`.
    """
    rows = []
    for rate in rates:
        for place, seed in enumerate(seeds):

            def of(
                given: Rates | None, usual: object, rate: float = rate, place: int = place
            ) -> object:
                value = (given or {}).get(rate, usual)
                return value[place] if isinstance(value, list | np.ndarray) else value

            ended, lost_how, lost_step = ENDS[str(of(outcome, "trained"))]
            rows.append(
                {
                    "dataset": dataset,
                    "rung": rung,
                    "learning_rate": rate,
                    "seed": seed,
                    "outcome": ended,
                    "lost_how": lost_how,
                    "lost_step": lost_step,
                    "peak_gradient_norm": 400.0 + seed,
                    "test_accuracy": of(accuracy, 0.9 + SCATTER),
                    "validation_accuracy": of(accuracy, 0.9 + SCATTER),
                    "steps_to_threshold": of(steps, 800.0 + 1e4 * SCATTER),
                    "feature_sparsity_1": 0.5,
                    "feature_sparsity_2": of(sparsity, 0.3 + SCATTER),
                }
            )
    return pd.DataFrame(rows)


def broken(recipe: str, at: list[float], dataset: str = "mnist") -> pd.DataFrame:
    """Lay out where the seeds break."""
    return pd.DataFrame(
        {"dataset": dataset, "recipe": recipe, "seed": SEEDS, "low": at, "high": at}
    )


def verdict(name: str, *tables: pd.DataFrame, boundary: pd.DataFrame = NO_BOUNDARY) -> Verdict:
    """Judge a claim; on core if it bears there, else on the one rung it bears on."""
    ladder = pd.concat(tables, ignore_index=True)
    named = list(ladder["rung"].unique())
    clipped = [rung for rung in named if rung == "clipped"]
    scheduled = [rung for rung in named if rung == "scheduled"]
    ladder_rungs = [rung for rung in named if rung != "conventional"]
    evidence = Evidence(ladder, boundary, ladder_rungs, clipped, scheduled)
    return headline(BY_NAME[name].findings(evidence))


def around(*levels: float, scatter: float = 1.0) -> dict[float, np.ndarray]:
    """Give the rates of the grid, in order, levels with a scatter of their own."""
    generator = np.random.default_rng(0)
    return {
        rate: level + scatter * 0.001 * generator.permutation(np.arange(5.0) - 2)
        for rate, level in zip(GRID, levels, strict=False)
    }


def on_both(rung: str = CORE, *, outcome: Rates | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lay out a rung on both datasets: ten seeds."""
    return networks(rung, outcome=outcome), networks(rung, "fashion_mnist", outcome=outcome)


FASHION = {"dataset": "fashion_mnist"}
FAILS = {0.48: "exploded", 0.6: "exploded"}
FEW = ["exploded", "exploded", "exploded", "trained", "trained"]
MOST = ["exploded", "trained", "trained", "trained", "trained"]
FAST = around(800, 700, 600, 500, 400, 300, scatter=5e3)
SLOW = around(300, 400, 500, 600, 700, 800, scatter=5e3)
SAME = around(*[800] * 6, scatter=5e3)
PARTLY = {**SAME, 0.2: FAST[0.6], 0.6: [np.nan] * 5}

CASES = [
    ("faster", Verdict.SUPPORTED, [networks(steps=FAST)]),
    ("faster", Verdict.REFUTED, [networks(steps=SLOW)]),
    ("faster", Verdict.REFUTED, [networks(steps={**SAME, 0.6: [np.nan] * 5})]),
    ("faster", Verdict.MIXED, [networks(steps=PARTLY)]),
    ("faster", Verdict.UNTESTABLE, [networks(steps=SAME)]),
    ("faster", Verdict.UNTESTABLE, [networks(steps=FAST, seeds=range(2))]),
    ("faster", Verdict.UNTESTABLE, [networks(steps=FAST, **FASHION)]),
    ("faster", Verdict.REFUTED, [networks(steps=SAME, outcome={0.2: FEW})]),
    ("faster", Verdict.UNTESTABLE, [networks(steps=FAST, outcome={0.1: FEW})]),
    ("faster", Verdict.MIXED, [networks(steps=FAST, outcome={0.6: MOST})]),
    ("better", Verdict.SUPPORTED, [networks(accuracy=around(0.90, 0.92, 0.93))]),
    ("better", Verdict.REFUTED, [networks(accuracy=around(0.93, 0.92, 0.90))]),
    ("better", Verdict.MIXED, [networks(accuracy=around(0.92, 0.93, 0.90))]),
    ("better", Verdict.UNTESTABLE, [networks(accuracy=around(0.9, 0.9, 0.9))]),
    ("better", Verdict.UNTESTABLE, [networks(rates=(0.1, 0.6))]),
    (
        "better",
        Verdict.UNTESTABLE,
        [networks(rates=(0.1, 0.2), accuracy=around(0.90, 0.92, 0.93))],
    ),
    (
        "better",
        Verdict.MIXED,
        [networks(accuracy=around(0.9, 0.92, 0.93), outcome={0.3: MOST})],
    ),
    (
        "better",
        Verdict.REFUTED,
        [networks(accuracy=around(0.93, 0.9, 0.9), outcome={0.2: MOST, 0.3: FEW})],
    ),
    (
        "better",
        Verdict.UNTESTABLE,
        [networks(accuracy=around(0.93, 0.9, 0.9), outcome={0.1: MOST})],
    ),
    ("best", Verdict.SUPPORTED, [networks(accuracy=around(0.9, 0.91, 0.95, 0.9, 0.8, 0.1))]),
    ("best", Verdict.REFUTED, [networks(accuracy=around(0.98, 0.91, 0.95, 0.9, 0.8, 0.1))]),
    ("best", Verdict.MIXED, [networks(accuracy=around(0.95, 0.95, 0.95, 0.9, 0.8, 0.1))]),
    ("best", Verdict.UNTESTABLE, [networks(accuracy=around(*[0.95] * 6))]),
    ("best", Verdict.UNTESTABLE, [networks(rates=(0.1, 0.2))]),
    ("favours", Verdict.SUPPORTED, [networks(accuracy=around(0.95, 0.9, *[0.8] * 4), **FASHION)]),
    ("favours", Verdict.SUPPORTED, [networks(accuracy=around(0.9, 0.95, *[0.8] * 4), **FASHION)]),
    ("favours", Verdict.REFUTED, [networks(accuracy=around(0.9, 0.9, 0.95, 0.8), **FASHION)]),
    ("favours", Verdict.MIXED, [networks(accuracy=around(0.9, 0.8, 0.9, *[0.8] * 3), **FASHION)]),
    ("favours", Verdict.UNTESTABLE, [networks(accuracy=around(*[0.9] * 6), **FASHION)]),
    ("favours", Verdict.UNTESTABLE, [networks(rates=(0.1, 0.2), **FASHION)]),
    ("unstable", Verdict.SUPPORTED, [networks(outcome=FAILS, **FASHION)]),
    ("unstable", Verdict.REFUTED, [networks(**FASHION)]),
    ("unstable", Verdict.MIXED, [networks(outcome={0.48: MOST}, **FASHION)]),
    ("unstable", Verdict.UNTESTABLE, [networks(rates=(0.1, 0.2), **FASHION)]),
    ("unstable", Verdict.UNTESTABLE, [networks(outcome=FAILS, seeds=range(2), **FASHION)]),
    ("nan", Verdict.SUPPORTED, [networks(outcome={0.384: "exploded"}, **FASHION)]),
    ("nan", Verdict.REFUTED, [networks(outcome=FAILS, **FASHION)]),
    ("nan", Verdict.MIXED, [networks(outcome={0.384: MOST}, **FASHION)]),
    ("nan", Verdict.UNTESTABLE, [networks(rates=(0.1, 0.2), **FASHION)]),
    ("exploding", Verdict.SUPPORTED, [networks(outcome=FAILS, **FASHION)]),
    (
        "exploding",
        Verdict.SUPPORTED,
        [networks(outcome=FAILS, **FASHION), networks("clipped", **FASHION)],
    ),
    ("exploding", Verdict.REFUTED, [networks(outcome={0.6: "collapsed"}, **FASHION)]),
    (
        "exploding",
        Verdict.REFUTED,
        [
            networks(outcome=FAILS, **FASHION),
            networks("clipped", outcome={0.48: "collapsed", 0.6: "collapsed"}, **FASHION),
        ],
    ),
    ("exploding", Verdict.MIXED, [networks(outcome={**FAILS, 0.6: "collapsed"}, **FASHION)]),
    (
        "exploding",
        Verdict.MIXED,
        [networks(outcome=FAILS, **FASHION), networks("clipped", outcome={0.6: MOST}, **FASHION)],
    ),
    ("exploding", Verdict.UNTESTABLE, [networks(**FASHION)]),
    ("exploding", Verdict.UNTESTABLE, [networks(outcome={0.6: MOST}, **FASHION)]),
    ("exploding", Verdict.UNTESTABLE, [networks(outcome={0.6: "undertrained"}, **FASHION)]),
    ("clipping", Verdict.SUPPORTED, [*on_both(outcome=FAILS), *on_both("clipped")]),
    ("clipping", Verdict.REFUTED, [*on_both(), *on_both("clipped", outcome=FAILS)]),
    ("clipping", Verdict.UNTESTABLE, [*on_both(), *on_both("clipped")]),
    ("clipping", Verdict.UNTESTABLE, [*on_both(outcome={0.6: MOST}), *on_both("clipped")]),
    ("clipping", Verdict.UNTESTABLE, [networks(outcome=FAILS), networks("clipped")]),
    ("clipping", Verdict.UNTESTABLE, [networks()]),
    ("scheduling", Verdict.SUPPORTED, [*on_both(outcome=FAILS), *on_both("scheduled")]),
    ("scheduling", Verdict.REFUTED, [*on_both(), *on_both("scheduled", outcome=FAILS)]),
    ("scheduling", Verdict.UNTESTABLE, [*on_both(), *on_both("scheduled")]),
    (
        "sparser_mnist",
        Verdict.SUPPORTED,
        [networks(sparsity=around(0.5, 0.4, 0.3, 0.2, 0.1, 0.05))],
    ),
    ("sparser_mnist", Verdict.REFUTED, [networks(sparsity=around(0.1, 0.2, 0.3, 0.4, 0.5, 0.6))]),
    ("sparser_mnist", Verdict.UNTESTABLE, [networks(sparsity=around(*[0.3] * 6))]),
    ("sparser_mnist", Verdict.UNTESTABLE, [networks(rates=(0.1, 0.2))]),
    (
        "sparser_fashion_mnist",
        Verdict.SUPPORTED,
        [networks(sparsity=around(0.5, 0.4, 0.3, 0.2, 0.1, 0.05), **FASHION)],
    ),
    (
        "sparser_fashion_mnist",
        Verdict.REFUTED,
        [networks(sparsity=around(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), **FASHION)],
    ),
    ("sparser_fashion_mnist", Verdict.UNTESTABLE, [networks()]),
    ("printed", Verdict.REFUTED, [networks(accuracy=around(0.98, 0.98, 0.98, 0.98))]),
    ("printed", Verdict.MIXED, [networks(accuracy=around(0.976, 0.975, 0.9, 0.969))]),
    ("printed", Verdict.UNTESTABLE, [networks(rates=(0.1, 0.2))]),
    ("usable", Verdict.SUPPORTED, [networks(), networks("conventional", rates=(1e-5,))]),
    (
        "usable",
        Verdict.REFUTED,
        [networks(), networks("conventional", rates=(1e-5,), steps={1e-5: np.nan})],
    ),
    (
        "usable",
        Verdict.MIXED,
        [networks(), networks("conventional", rates=(1e-5,), outcome={1e-5: MOST})],
    ),
    (
        "usable",
        Verdict.REFUTED,
        [networks(), networks("conventional", rates=(1e-5,), outcome={1e-5: "undertrained"})],
    ),
    ("usable", Verdict.UNTESTABLE, [networks()]),
]


@pytest.mark.parametrize(("name", "expected", "tables"), CASES)
def test_verdicts_follow_the_rules(
    name: str, expected: Verdict, tables: list[pd.DataFrame]
) -> None:
    assert verdict(name, *tables) == expected


def test_every_claim_is_seen_to_hold_fail_and_stay_open() -> None:
    seen = {(name, expected) for name, expected, _ in CASES}
    seen.add(("printed", Verdict.SUPPORTED))  # below
    needed = (Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNTESTABLE)
    assert {(claim.name, each) for claim in CLAIMS for each in needed} <= seen


def test_printed_numbers_are_supported_when_the_notebook_printed_them() -> None:
    evidence = Evidence(networks(), NO_BOUNDARY, [CORE])
    numbers = {0.1: 0.9763, 0.2: 0.9749}
    found = printed(evidence, CORE, dataset="mnist", claimed=numbers, notebook=numbers)
    assert found.verdict == Verdict.SUPPORTED
    off = {**numbers, 0.2: None}
    found = printed(evidence, CORE, dataset="mnist", claimed=numbers, notebook=off)
    assert found.verdict == Verdict.REFUTED


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([1.1, 1.2, 1.0, 1.3, 1.1], Verdict.SUPPORTED),
        ([0.11, 0.12, 0.1, 0.13, 0.11], Verdict.REFUTED),
        ([0.4, 0.7, 0.5, 0.6, 0.5], Verdict.UNTESTABLE),
    ],
)
def test_clipping_is_also_judged_by_where_seeds_break(at: list[float], expected: Verdict) -> None:
    boundary = pd.concat([broken(CORE, [0.5, 0.6, 0.55, 0.5, 0.6]), broken("clipped", at)])
    assert verdict("clipping", networks(), networks("clipped"), boundary=boundary) == expected


def test_networks_lost_at_an_earlier_rate_are_not_counted() -> None:
    gone = ["could not begin", "could not begin", "collapsed", "trained", "trained"]
    table = networks(outcome={0.48: gone, 0.6: gone}, steps=FAST, **FASHION)
    evidence = Evidence(table, NO_BOUNDARY, [CORE])
    unstable = BY_NAME["unstable"].judge(evidence, CORE)
    assert unstable.verdict == Verdict.MIXED
    assert unstable.result == (
        "0.48: 1 of 3 seeds fail (1 collapsed); 0.6: 1 of 3 seeds fail (1 collapsed)"
    )
    exploding = BY_NAME["exploding"].judge(evidence, CORE)
    assert exploding.result == (
        "0 of 2 lost seeds explode; their largest finite gradient norm: median 402"
    )


def test_it_is_told_how_the_failing_seeds_ended() -> None:
    ends = ["undertrained", "exploded", "trained", "collapsed", "exploded"]
    evidence = Evidence(networks(outcome={0.384: ends}, **FASHION), NO_BOUNDARY, [CORE])
    assert BY_NAME["nan"].judge(evidence, CORE).result == (
        "0.384: 4 of 5 seeds fail (2 exploded, 1 collapsed, 1 undertrained)"
    )


@pytest.mark.parametrize("name", ["unstable", "exploding"])
def test_a_rate_at_which_no_network_could_begin_is_not_judged(name: str) -> None:
    table = networks(
        outcome={0.384: "exploded", 0.48: "could not begin", 0.6: "could not begin"}, **FASHION
    )
    assert verdict(name, table) == Verdict.UNTESTABLE


def test_a_rate_at_which_no_network_could_begin_is_no_slower() -> None:
    table = networks(outcome={0.6: "could not begin"}, steps={**FAST, 0.6: np.nan})
    found = BY_NAME["faster"].judge(Evidence(table, NO_BOUNDARY, [CORE]), CORE)
    assert found.verdict == Verdict.SUPPORTED
    assert found.result.endswith("0.6: 0 of 5 seeds could begin")


def test_a_comparison_is_of_the_seeds_that_train_at_both_rates() -> None:
    accuracy = {0.1: 0.9 + SCATTER, 0.2: 0.92 + SCATTER, 0.3: [0.1, 0.8, 0.81, 0.8, 0.82]}
    table = networks(rates=(0.1, 0.2, 0.3), accuracy=accuracy, outcome={0.3: MOST})
    found = BY_NAME["better"].judge(Evidence(table, NO_BOUNDARY, [CORE]), CORE)
    assert "0.1: 90.00 %; 0.2: 92.00 % (+2.00, p < 0.001)" in found.result
    assert "0.3: 80.75 % (-9.30, p < 0.001), 4 of 5 seeds train" in found.result


def test_networks_that_end_otherwise_than_their_crossing_says_are_counted() -> None:
    table = networks(outcome={0.3: MOST, 0.48: FEW, 0.6: "exploded"})
    boundary = broken(CORE, [0.55] * 5)
    boundary.loc[0, ["low", "high"]] = 0.45, 0.5
    assert contradictions(Evidence(table, boundary, [CORE]), "mnist", CORE) == (3, 29)


def test_contradicting_evidence_is_mixed() -> None:
    boundary = pd.concat(
        [broken(CORE, [0.5, 0.6, 0.5, 0.6, 0.5]), broken("clipped", [0.1, 0.2, 0.1, 0.1, 0.2])]
    )
    tables = [*on_both(outcome=FAILS), *on_both("clipped")]
    assert verdict("clipping", *tables, boundary=boundary) == Verdict.MIXED


def declared() -> ReportParams:
    return read_params(ReportParams, PROJECT / "params.yaml")


def test_rungs_stand_in_the_order_of_the_published_ladder() -> None:
    audit = declared().audit
    order = ["as_published", "fresh_start", "standardized", CORE, "clipped", "warmup_cosine"]
    assert rungs(audit) == order
    assert [before(audit, rung) for rung in order] == [None, *order[:3], CORE, CORE]


def test_recipes_that_differ_in_one_thing_are_found() -> None:
    found = Evidence.of(networks(), NO_BOUNDARY, declared().audit, declared().training)
    assert found.clipped == ["clipped"]
    assert found.scheduled == ["standardized", "warmup_cosine"]


def test_the_rung_that_changes_a_verdict_is_named() -> None:
    def finding(value: Verdict) -> Finding:
        return Finding(value, "", "")

    findings = {
        "as_published": finding(Verdict.SUPPORTED),
        "fresh_start": finding(Verdict.REFUTED),
        "standardized": finding(Verdict.REFUTED),
        CORE: finding(Verdict.REFUTED),
        "clipped": finding(Verdict.UNTESTABLE),
        "warmup_cosine": finding(Verdict.MIXED),
    }
    moves = [("as_published", "fresh_start"), (CORE, "warmup_cosine")]
    assert changes(findings, declared().audit) == moves


def test_report_tells_every_claim_and_verdict() -> None:
    audit = declared().audit
    tables = [
        networks(rung, dataset, outcome={0.6: "exploded"})
        for dataset in ("mnist", "fashion_mnist")
        for rung in rungs(audit)
    ]
    boundary = pd.concat([broken(CORE, [0.5] * 5), broken("clipped", [0.7, 0.8, 0.9, 1, 1.1])])
    evidence = Evidence.of(pd.concat(tables), boundary, audit, declared().training)
    findings = judged(evidence)
    text = report(evidence, findings, declared())
    for claim in CLAIMS:
        assert claim.rule in text
        for finding in findings[claim.name].values():
            assert finding.result in text
    words = " ".join(text.split())
    assert "| mnist | clipped | 0.900 | 0.700 to 1.100 (93.8 % interval) | 5 of 5 |" in words
    assert "on mnist 0 of 5 at 0.48; on fashion_mnist 0 of 5 at 0.384." in words
    assert "5 of 5" in text


def test_report_of_other_datasets_and_unfinished_searches_leaves_out_what_is_not_known() -> None:
    audit = declared().audit
    tables = [networks(rung, "digits") for rung in rungs(audit)]
    boundary = broken(CORE, [np.nan] * 5, "digits")
    evidence = Evidence.of(pd.concat(tables), boundary, audit, declared().training)
    text = report(evidence, judged(evidence), declared())
    assert "The notebook ran none of these datasets." in text
    assert "nan" not in text.split("## Where a dataset breaks")[1].split("## Claim by claim")[0]


def test_published_recipes_are_those_of_the_notebook() -> None:
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))["audit"]
    assert content["recipes"]["as_published"] == {
        "after": None,
        "rates": None,
        "start": "carried",
        "normalization": "published",
        "clip_norm": None,
        "schedule": "notebook",
    }
    assert content["published_normalization"] == {
        "mnist": {"mean": 0.1307, "deviation": 0.3081},
        "fashion_mnist": {"mean": 0.5, "deviation": 0.5},
    }
