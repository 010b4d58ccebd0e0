"""claims.csv, changes.csv and claims.md: their texts, and p values that anyone can recompute."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.audit.judging.changes import changes
from stages.audit.judging.claims import CLAIMS
from stages.audit.judging.claims_table import changes_table, claims_table
from stages.audit.judging.evidence import Evidence
from stages.audit.judging.read_tables import FAILURE
from stages.audit.judging.report import (
    between,
    ends,
    failures,
    mechanism_losses,
    mind,
    report,
    reproduction,
    scope,
    section,
    verdicts,
)
from stages.audit.judging.rounding import rounding, sentence
from stages.audit.judging.sentences import (
    headline_effect,
    number,
    p_text,
    tally,
    verdict_sentence,
)
from stages.audit.judging.statistics import holm
from stages.audit.judging.tested import Scale
from stages.audit.judging.verdicts import Judged, Verdict, corrected, judge, networks_needed
from tests.drawn_audit import BY_KEY, Arms, Told, cells_of, evidence
from tests.recomputed_claims import p_values
from tests.repositories import PROJECT

FASHION = "fashion_mnist"
TOLD: Told = {
    ("mnist", "core", 0.2): {"steps_to_threshold": 700.0, "test_accuracy": 0.9705},
    ("mnist", "core", 0.384): {"steps_to_threshold": 1000.0, "feature_sparsity_2": 0.1},
    ("mnist", "core", 0.6): {"lost": 20},
    (FASHION, "core", 0.48): {"lost": 12},
    (FASHION, "core", 0.6): {"lost": 18},
    (FASHION, "core", 0.384): {"lost": 2},
}
NO_FAILURES = pd.DataFrame(columns=list(FAILURE))


@pytest.fixture(scope="module")
def drawn() -> Evidence:
    return evidence(TOLD)


@pytest.fixture(scope="module")
def judged(drawn: Evidence) -> list[Judged]:
    return judge(drawn)


@pytest.fixture(scope="module")
def table(
    judged: list[Judged], drawn: Evidence, tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    """Write claims.csv and read it back, as someone else would."""
    path = tmp_path_factory.mktemp("claims") / "claims.csv"
    claims_table(judged, drawn).to_csv(path, index=False, float_format="%.6g")
    return pd.read_csv(path)


def rows_of(text: str) -> list[dict[str, str]]:
    """Read the Markdown table of a text: one row per line, by the headings of its columns."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heading, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return [dict(zip(heading, row, strict=True)) for row in rows]


def alone(key: str, told: Told | None = None, arms: Arms | None = None) -> tuple[Judged, float]:
    """Judge one claim alone; say how many networks would decide it."""
    claim = BY_KEY[key]
    there = evidence(told, arms, cells=cells_of(claim))
    (found,) = judge(there, [claim])
    return found, networks_needed(found, there) if found.members else np.inf


def test_every_comparison_of_core_decides(table: pd.DataFrame) -> None:
    headline = table[table["headline"] == 1]
    assert headline["claim"].value_counts(sort=False).to_dict() == {
        claim.key: len(claim.comparisons) for claim in CLAIMS
    }
    assert headline["verdict"].notna().all()
    others = table.loc[table["headline"] == 0, ["decides", "verdict", "lower_half", "upper_half"]]
    assert others.isna().all(axis=None)


def test_one_comparison_decides_and_halves_have_verdicts(
    judged: list[Judged], drawn: Evidence
) -> None:
    table = claims_table(judged, drawn)
    rows = table[table["headline"] == 1].set_index("claim")
    assert rows["decides"].groupby("claim").sum().to_dict() == dict.fromkeys(BY_KEY, 1)
    for each in judged:
        mine = rows.loc[[each.claim.key]]
        assert {*mine["lower_half"]} == {each.lower}
        assert {*mine["upper_half"]} == {each.upper}
        told = mine.loc[mine["decides"] == 1, "comparison"].iloc[0]
        assert headline_effect(each).startswith(told)


def test_comparisons_on_other_rungs_have_effects_too(table: pd.DataFrame) -> None:
    names = ["claim", "comparison", "quantity"]
    rows = table[table["kind"] == "difference"].set_index(names)
    effects, core = rows["effect"], rows.loc[rows["recipe"] == "core", "effect"]
    assert effects.notna().all()
    assert {*rows["recipe"]} > {"core", "clipped"}
    clipped = rows.loc[rows["recipe"] == "clipped", "effect"]
    assert not np.isclose(clipped, core[clipped.index]).any()


def test_someone_elses_script_finds_the_same_p_values(table: pd.DataFrame, drawn: Evidence) -> None:
    rows = table[(table["kind"] == "difference") & (table["table"] == "networks.csv")]
    rows = rows[rows["headline"] == 1]
    assert len(rows) == 8 + 2 + 5 + 4 + 3 + 3 + 6
    draws = 999
    for _, row in rows.iterrows():
        found = p_values(row, drawn.networks, draws)
        expected = row[["p_difference", "p_not_better", "p_not_worse"]].to_numpy(dtype=float)
        spread = np.sqrt(expected * (1 - expected) / draws) * np.array([2, 1, 1])
        assert (np.abs(found - expected) < 4 * spread + 3 / draws).all(), row["comparison"]


def test_shares_and_bounds_are_recomputed_from_their_counts(table: pd.DataFrame) -> None:
    shares = table[table["kind"] == "shares"]
    assert len(shares) > 0
    for _, row in shares.iterrows():
        kept = row["statistic"]
        other = kept / row["n"] - row["effect"] / 100 * (1 if row["better"] == "more" else -1)
        if np.isnan(other):
            continue  # on another rung than core: no effect
        theirs = round(other * row["other_n"])
        counts = [[kept, row["n"] - kept], [theirs, row["other_n"] - theirs]]
        assert stats.fisher_exact(counts).pvalue == pytest.approx(row["p_difference"], rel=1e-4)
    bounds = table[table["kind"] == "bound"]
    assert len(bounds) > 0
    for _, row in bounds.iterrows():
        count, size = int(row["statistic"]), int(row["n"])
        if size:
            for column, tail in (("p_difference", "greater"), ("p_not_better", "less")):
                expected = stats.binomtest(count, size, row["bound"], tail).pvalue
                assert row[column] == pytest.approx(expected, rel=1e-4)


CORE = {"recipes": "core", "other_recipes": "core", "seeds": "all", "other_seeds": "all"}
ROWS = {
    ("best", 4): {
        "statement": "0.3 is the best rate for MNIST.",
        "comparison": "0.3 against 0.6 (MNIST)",
        **{"kind": "difference", "table": "networks.csv", "quantity": "test_accuracy"},
        **{"dataset": "mnist", "other_dataset": "mnist", "rates": "0.3", "other_rates": "0.6"},
        **CORE,
        **{"better": "higher", "lost": "ranks last", "unit": "points", "margin": 0.2},
        **{"n": 20, "other_n": 20, "arrangements": math.comb(40, 20)},
        "result": "better",
    },
    ("sparser_mnist", 0): {
        "statement": "Large steps lead to sparser features (MNIST).",
        "comparison": "0.2 against 0.1 (MNIST)",
        **{"kind": "difference", "table": "networks.csv", "quantity": "feature_sparsity_2"},
        **{"dataset": "mnist", "other_dataset": "mnist", "rates": "0.2", "other_rates": "0.1"},
        **CORE,
        **{"better": "fewer", "lost": "is left out", "unit": "points", "margin": 1.0},
        **{"n": 20, "other_n": 20, "arrangements": math.comb(40, 20)},
        "result": "equivalent",
    },
    ("depends", 1): {
        "statement": "The benefits depend on the dataset.",
        "comparison": "0.384 against 0.1, MNIST minus Fashion-MNIST",
        **{"kind": "interaction", "table": "networks.csv", "quantity": "test_accuracy"},
        **{"dataset": "mnist", "other_dataset": FASHION, "rates": "0.384", "other_rates": "0.384"},
        **{"base_rates": "0.1", "other_base_rates": "0.1"},
        **CORE,
        **{"better": "higher", "lost": "ranks last", "unit": "margins", "margin": 1.0},
        **{"n": 20, "other_n": 20, "arrangements": math.comb(40, 20)},
    },
    ("unstable", 0): {
        "statement": "0.48 and 0.6 are unstable on Fashion-MNIST.",
        "comparison": "0.48 (Fashion-MNIST)",
        **{"kind": "bound", "table": "networks.csv", "quantity": "lost", "among": "all"},
        **{"dataset": FASHION, "recipes": "core", "rates": "0.48", "seeds": "all"},
        **{"bound": 0.25, "unit": "share", "n": 20, "other_n": 0, "statistic": 12.0},
        "result": "above",
    },
    ("unstable", 3): {
        "statement": "0.48 and 0.6 are unstable on Fashion-MNIST.",
        "comparison": "0.6 against 0.1 (Fashion-MNIST)",
        **{"kind": "shares", "table": "networks.csv", "quantity": "lost", "among": "all"},
        **{"dataset": FASHION, "other_dataset": FASHION, "rates": "0.6", "other_rates": "0.1"},
        **CORE,
        **{"better": "more", "unit": "share", "margin": 20.0},
        **{"n": 20, "other_n": 20, "arrangements": math.comb(40, 20), "statistic": 18.0},
        "result": "better",
    },
    ("exploding", 0): {
        "statement": "… and the cause is exploding gradients.",
        "comparison": "0.44, 0.48, 0.52, 0.56 and 0.6 (Fashion-MNIST)",
        **{"kind": "bound", "table": "networks.csv", "quantity": "burst first", "among": "lost"},
        **{"dataset": FASHION, "recipes": "core core_steep", "seeds": "all"},
        "rates": "0.48 0.6 0.44 0.52 0.56",
        **{"bound": 0.8, "unit": "share", "n": 30, "other_n": 0, "statistic": 30.0},
        "result": "above",
    },
    ("exploding", 2): {
        "statement": "… and the cause is exploding gradients.",
        "comparison": "0.44, 0.48, 0.52, 0.56 and 0.6 (Fashion-MNIST): no trained network's "
        "gradient norm passed 50",
        **{"kind": "fact", "table": "networks.csv", "quantity": ""},
        **{"dataset": FASHION, "recipes": "core core_steep", "seeds": "all"},
        "rates": "0.48 0.6 0.44 0.52 0.56",
        **{"unit": "", "n": 0, "other_n": 0},
        "result": "so",
    },
    ("printed", 0): {
        "statement": BY_KEY["printed"].statement,
        "comparison": "the numbers in the study's README are those of its notebook",
        **{"kind": "fact", "table": "", "dataset": "", "quantity": ""},
        **{"unit": "", "n": 0, "other_n": 0},
        "result": "not so",
    },
    ("noise", 0): {
        "statement": "More gradient noise leads to sparser features, at the same step size.",
        "comparison": "0.1 with batches of 8, against 0.1 throughout (MNIST)",
        **{"kind": "difference", "table": "mechanism.csv"},
        **{"quantity": "matched_feature_sparsity", "dataset": "mnist", "other_dataset": "mnist"},
        **{"recipes": "small_batch", "other_recipes": "small", "rates": "", "other_rates": ""},
        **{"seeds": "all", "other_seeds": "all", "better": "fewer", "lost": "is left out"},
        **{"unit": "points", "margin": 1.0},
        **{"n": 10, "other_n": 10, "arrangements": math.comb(20, 10)},
        "result": "equivalent",
    },
}
"""Claim and place of a comparison in it → the columns that say what is compared, and its result;
all others that are not p values or effects are missing."""
EFFECTS = {
    **{"effect": "value", "effect_low": "low", "effect_high": "high"},
    **{name: name for name in ("probability", "probability_low", "probability_high")},
}
"""Column → what it has of an effect."""
MEASURED = re.compile("p_|corrected_|effect|gain|probability|survivors|decides|verdict|.*_half")


@pytest.mark.parametrize(("key", "place"), ROWS)
def test_a_row_tells_what_is_compared(key: str, place: int) -> None:
    claim = BY_KEY[key]
    there = evidence(TOLD, cells=cells_of(claim))
    rows = claims_table(judge(there, [claim]), there)
    row = rows[(rows["claim"] == key) & (rows["headline"] == 1)].iloc[place].dropna().to_dict()
    told = {name: value for name, value in row.items() if not MEASURED.match(name)}
    expected = ROWS[key, place] | {"claim": key, "recipe": "core", "headline": 1}
    if "statistic" not in expected:
        told.pop("statistic", None)
    if "result" not in expected:
        told.pop("result")
    assert told == expected


def test_a_row_has_the_numbers_of_its_comparison(judged: list[Judged], drawn: Evidence) -> None:
    rows = claims_table(judged, drawn)
    for each in judged:
        mine = rows[(rows["claim"] == each.claim.key) & (rows["headline"] == 1)]
        corrected = {
            f"corrected_{name}": holm([getattr(member.tested, name) for member in each.members])
            for name in ("p_difference", "p_not_better", "p_not_worse", "p_equivalent")
        }
        for name, values in corrected.items():
            plain = [getattr(member.tested, name[10:]) for member in each.members]
            np.testing.assert_array_equal(mine[name[10:]], plain)
            np.testing.assert_array_equal(mine[name], values)
        shown = [member.tested.scale.shown(member.tested.effect) for member in each.members]
        for column, name in EFFECTS.items():
            np.testing.assert_array_equal(mine[column], [getattr(one, name) for one in shown])


def test_gains_are_in_margins_and_positive_as_the_claim_says(table: pd.DataFrame) -> None:
    rows = table[(table["claim"] == "faster") & (table["headline"] == 1)].set_index("comparison")
    slower = rows.loc["0.384 against 0.1 (MNIST)"].iloc[0]
    assert slower["effect"] == pytest.approx(1000 / 800, rel=0.03)
    assert slower["gain"] == pytest.approx(-np.log(slower["effect"]) / np.log(1.1), rel=1e-4)
    assert slower["gain_low"] == pytest.approx(
        -np.log(slower["effect_high"]) / np.log(1.1), rel=1e-4
    )
    assert slower["result"] == "worse"
    sparser = table[table["claim"] == "sparser_mnist"].iloc[2]
    assert sparser["effect"] == pytest.approx(-20, abs=0.5)
    assert sparser["gain"] == pytest.approx(20, abs=0.5)
    assert sparser["survivors_effect"] == pytest.approx(sparser["effect"])
    lost = table[(table["claim"] == "best") & (table["headline"] == 1)].iloc[-1]
    assert lost["gain"] == np.inf
    assert lost["probability"] == 1


def test_changes_have_a_row_for_every_test(drawn: Evidence) -> None:
    found = changes(drawn, [BY_KEY["faster"]])
    rows = changes_table(found, drawn)
    assert len(rows) == len(found)
    assert set(rows["before"] + " " + rows["after"]) == {
        "as_published fresh_start",
        "fresh_start standardized",
        "standardized core",
        "core clipped",
        "core warmup_cosine",
        "core core_permuted",
    }
    assert rows.loc[rows["changes"] == 0, "effect"].isna().all()
    assert rows.loc[rows["changes"] == 1, "effect"].notna().all()
    row = rows[(rows["after"] == "core") & (rows["rates"] == "0.384")].iloc[0]
    assert row[["recipes", "other_recipes", "base_rates"]].tolist() == [
        "core",
        "standardized",
        "0.1",
    ]
    assert row["effect"] == pytest.approx(1.25, rel=0.05)


def test_a_row_of_changes_has_the_numbers_of_its_test(drawn: Evidence) -> None:
    found = changes(drawn, [BY_KEY["faster"]])
    rows = changes_table(found, drawn).to_dict("records")
    assert {each.significant for each in found} == {True, False}
    for row, each in zip(rows, found, strict=True):
        tested = each.tested
        assert [row[name] for name in ("claim", "before", "after", "comparison")] == [
            *("faster", each.before, each.after),
            each.comparison.label,
        ]
        assert [row[name] for name in ("table", "unit", "margin", "n", "other_n")] == [
            *("networks.csv", "factor", 1.1),
            *tested.sizes,
        ]
        assert row["arrangements"] == math.comb(sum(tested.sizes), tested.sizes[0])
        numbers = ("statistic", "p_difference", "corrected_p_difference", "changes")
        assert [row[name] for name in numbers] == [
            *(tested.statistic, tested.p_difference, each.corrected),
            int(each.significant),
        ]
        shown = tested.scale.shown(tested.effect)
        for column, name in EFFECTS.items():
            expected = getattr(shown, name) if each.significant else np.nan
            np.testing.assert_equal(row[column], expected)


def test_the_report_has_its_parts_in_order(judged: list[Judged], drawn: Evidence) -> None:
    text = report(judged, changes(drawn), drawn, NO_FAILURES)
    assert re.findall("^## .*$", text, re.MULTILINE) == [
        "## What would change our mind",
        "## What was run",
        "## What one change of the recipe changes",
        "## At which rate networks are lost",
        "## How firm: rounding",
        "## Does the first rung reproduce the notebook?",
        "## Claim by claim",
    ]
    run = f"{ends(drawn)}{mechanism_losses(drawn.networks)}"
    assert f"\n## What was run\n\nNetworks lost, of networks trained:\n\n{run}" in text
    firm = sentence(rounding(drawn.networks))
    assert f"\n## How firm: rounding\n\n{firm}\n\n## Does" in text


def test_the_report_says_what_every_undecided_claim_needs_but_for_an_overruled_one() -> None:
    told: Told = {(FASHION, "core", 0.384): {"lost": 4}}
    claim = BY_KEY["unstable_0384"]
    there = evidence(told, cells=cells_of(claim))
    (found,) = judge(there, [claim])
    text = report([found], [], there, NO_FAILURES)
    assert "\n\n- 0.384 is unstable on Fashion-MNIST (the notebook's nan): 441\n\n" in text
    assert "If others are like them, 441 networks per cell would decide it" in text
    overruled = replace(found, overruled=Verdict.SUPPORTED)
    text = report([overruled], [], there, NO_FAILURES)
    assert "Undecided claims" not in text
    assert "networks per cell would decide" not in text


def test_verdicts_are_told_in_a_table() -> None:
    told = {("mnist", "core", rate): {"test_accuracy": 0.98} for rate in (0.2, 0.3)}
    better, printed = alone("better", told)[0], alone("printed")[0]
    not_run = judge(evidence(cells=[("mnist", "core", 0.1)]), [BY_KEY["best"]])[0]
    split = replace(better, lower=Verdict.UNDECIDED)
    decided = {
        "claim": "Larger rates (0.2, 0.3) perform better on MNIST.",
        "verdict": "**supported**",
        "effect (95 % interval)": "0.2 against 0.1 (MNIST), test accuracy: "
        "+0.98 points (+0.93 to +1.03)",
        "p": "< 0.0001",
        "halves": "both as the whole",
    }
    assert rows_of(verdicts([better, split, printed, not_run])) == [
        decided,
        decided | {"halves": "undecided, supported"},
        {
            "claim": printed.claim.statement,
            "verdict": "**refuted**",
            "effect (95 % interval)": "the numbers in the study's README are those of its "
            "notebook: not so",
            "p": "–",
            "halves": "–",
        },
        {
            "claim": "0.3 is the best rate for MNIST.",
            "verdict": "**not run**",
            "effect (95 % interval)": "–",
            "p": "–",
            "halves": "–",
        },
    ]


def test_the_agreement_of_the_halves_and_what_undecided_claims_need_are_told() -> None:
    better, unstable = alone("better")[0], alone("unstable_0384")[0]
    not_run = judge(evidence(cells=[("mnist", "core", 0.1)]), [BY_KEY["best"]])[0]
    same = replace(better, lower=better.decision.verdict, upper=better.decision.verdict)
    other = replace(better, lower=Verdict.UNDECIDED, upper=Verdict.UNDECIDED)
    apart = replace(better, lower=Verdict.UNDECIDED, upper=Verdict.SUPPORTED)
    against = replace(apart, lower=Verdict.REFUTED, overruled=Verdict.EQUIVALENT)
    printed = alone("printed")[0]  # arithmetic, which no half can change
    text = mind([same, other, apart, against, printed, not_run], {})
    assert text.endswith(
        "whatever the whole says. The two halves give the same verdict on 2 of 4 claims; on 1 of "
        "these it is also the verdict of all networks. They contradict each other on 1.\n\n"
    )
    text = mind([same, unstable], {"better": 1000.0, "unstable_0384": 1000.5})
    assert text.endswith(
        "They contradict each other on none.\n\nUndecided claims, and the networks per cell that "
        "would decide them with a probability of 80 %, if others are like those seen:\n\n"
        "- Larger rates (0.2, 0.3) perform better on MNIST: 1000\n"
        "- 0.384 is unstable on Fashion-MNIST (the notebook's nan): more than 1,000\n"
    )


def test_the_ends_of_networks_are_told_by_recipe_and_rate() -> None:
    there = evidence(
        {("mnist", "core", 0.48): {"lost": 3}, (FASHION, "clipped", 0.1): {"lost": 1}},
        cells=[
            *(("mnist", "core", rate) for rate in (0.1, 0.48)),
            *((FASHION, recipe, 0.1) for recipe in ("clipped", "core")),
            ("mnist", "large", 0.384),
        ],
    )
    assert rows_of(ends(there)) == [
        {"dataset": "MNIST", "recipe": "core", "0.1": "0 of 20", "0.48": "3 of 20"},
        {"dataset": "MNIST", "recipe": "clipped", "0.1": "–", "0.48": "–"},
        {"dataset": "Fashion-MNIST", "recipe": "core", "0.1": "0 of 20", "0.48": "–"},
        {"dataset": "Fashion-MNIST", "recipe": "clipped", "0.1": "1 of 20", "0.48": "–"},
    ]
    assert ends(evidence(cells=[("mnist", "large", 0.384)])) == "None of the ladder.\n"


def test_the_report_has_a_section_and_a_verdict_for_every_claim(
    judged: list[Judged], drawn: Evidence
) -> None:
    text = report(judged, changes(drawn), drawn, NO_FAILURES)
    page, _, sections = text.partition("## Claim by claim")
    for each in judged:
        words = " ".join(page.split())
        assert f"| {each.claim.statement} | **{each.decision.verdict}** |" in words
        assert f"\n### {each.claim.statement}\n\n{each.claim.compared}\n\n**" in sections
    assert "**Provisional.**" not in text
    assert "1,740 networks were trained, 20 for each" in " ".join(text.split())
    assert "nan" not in text.replace("the notebook's nan", "").replace("| nan ", "")


def test_with_the_first_group_alone_every_verdict_is_provisional() -> None:
    told = scope(evidence(cells=[("mnist", "core", 0.1)], seeds=10))
    assert told.startswith(
        "**Provisional.** The first of two declared groups of ten seeds was run: 10 networks per "
        "cell.\nThe second will be added, and every claim judged again by the same rules.\n"
    )
    both = scope(evidence(cells=[("mnist", "core", 0.1), (FASHION, "core", 0.1)], seeds=20))
    assert both.startswith(
        "**Scope.** Networks of two hidden layers, trained by plain SGD on MNIST and Fashion-MNIST."
    )
    assert "was run: 0 networks per cell." in scope(evidence(cells=[("mnist", "large", 0.384)]))


@pytest.mark.parametrize(
    ("key", "told", "arms", "sentence"),
    [
        (
            "better",
            {("mnist", "core", rate): {"test_accuracy": 0.98} for rate in (0.2, 0.3)},
            {},
            "Supported: every comparison is as the claim says. The least certain: 0.2 against 0.1 "
            "(MNIST), test accuracy: +0.98 points (+0.93 to +1.03).",
        ),
        (
            "better",
            {("mnist", "core", 0.2): {"test_accuracy": 0.96}},
            {},
            "Refuted: it is the other way round in at least one comparison. "
            "0.2 against 0.1 (MNIST), test "
            "accuracy: −1.02 points (−1.07 to −0.97).",
        ),
        (
            "better",
            {("mnist", "core", 0.2): {"test_accuracy": 0.98}},
            {},
            "Refuted: a gain as large as what matters (0.2 points) is excluded in at least one "
            "comparison. "
            "0.3 against 0.1 (MNIST), test accuracy: +0.02 points (−0.04 to +0.08).",
        ),
        (
            "better",
            {},
            {},
            "Equivalent: every difference is smaller than what matters (0.2 points).",
        ),
        (
            "better",
            {("mnist", "core", 0.3): {"spread": 8.0, "test_accuracy": 0.9725}},
            {},
            "Refuted: a gain as large as what matters (0.2 points) is excluded in at least one "
            "comparison. "
            "0.2 against 0.1 (MNIST), test accuracy: −0.02 points (−0.07 to +0.03).",
        ),
        (
            "unstable_0384",
            {},
            {},
            "Refuted: the share lies below 25 % in at least one comparison. "
            "0.384 (Fashion-MNIST), share of "
            "networks lost, against 25 %: 0 of 20: 0 % (0 to 16 %).",
        ),
        (
            "unstable_0384",
            {(FASHION, "core", 0.384): {"lost": 4}},
            {},
            "Undecided: these networks neither support nor refute it. 0.384 (Fashion-MNIST), share "
            "of networks lost, against 25 %: 4 of 20: 20 % (8 to 42 %). If others are like them, "
            "441 networks per cell would decide it with a probability of 80 %.",
        ),
        (
            "unstable_0384",
            {(FASHION, "core", 0.384): {"lost": 5}},
            {},
            "Undecided: these networks neither support nor refute it. 0.384 (Fashion-MNIST), share "
            "of networks lost, against 25 %: 5 of 20: 25 % (11 to 47 %). Too close to tell: more "
            "than 1,000 networks per cell would be needed.",
        ),
        ("printed", {}, {}, "Refuted: it is not so."),
        (
            "usable",
            {},
            {},
            "Supported: it is as the claim says. 1e-05 (MNIST and Fashion-MNIST), share of "
            "networks that reach the threshold, against 80 %: 20 of 20: 100 % (84 to 100 %).",
        ),
        (
            "usable",
            {(d, "conventional", 1e-5): {"undertrained": 10} for d in ("mnist", FASHION)},
            {},
            "Refuted: the share lies below 80 %. 1e-05 (MNIST and Fashion-MNIST), share of "
            "networks that reach the threshold, against 80 %: 0 of 20: 0 % (0 to 16 %).",
        ),
        (
            "best",
            {("mnist", "core", 0.3): {"lost": 20}},
            {},
            "Refuted: it is the other way round in at least one comparison. "
            "0.3 against 0.1 (MNIST), test "
            "accuracy: most are lost.",
        ),
    ],
)
def test_verdicts_are_told_in_a_sentence(key: str, told: Told, arms: Arms, sentence: str) -> None:
    found, needed = alone(key, told, arms)
    assert verdict_sentence(found, needed) == sentence


def test_a_claim_that_was_not_run_has_no_table() -> None:
    claim = BY_KEY["better"]
    (found,) = judge(evidence(cells=[("mnist", "core", 0.1)]), [claim])
    assert section(found, np.inf) == (
        f"\n### {claim.statement}\n\n{claim.compared}\n\n"
        "**Not run: networks that the claim names are missing.**\n"
    )


def test_a_contradiction_of_the_halves_is_told() -> None:
    found, _ = alone("better")
    overruled = Judged(
        found.claim,
        found.members,
        found.decision,
        Verdict.SUPPORTED,
        Verdict.REFUTED,
        Verdict.EQUIVALENT,
    )
    assert verdict_sentence(overruled, 5).endswith(
        "one half of the seeds supports it and the other refutes it. All together they say "
        "equivalent."
    )


def compared(*cells: str) -> dict[str, str]:
    """Write what a section's table says of one comparison."""
    headings = (
        *("compared", "quantity", "networks", "effect (95 % interval)", "wins"),
        *("without lost networks", "p if no difference", "p if better by the margin"),
        *("p if worse by the margin", "result"),
    )
    return dict(zip(headings, cells, strict=True))


def test_a_section_tells_every_comparison() -> None:
    told: Told = {
        ("mnist", "core", 0.2): {"test_accuracy": 0.98},
        ("mnist", "core", 0.3): {"test_accuracy": 0.98, "lost": 2},
    }
    first, second = rows_of(section(*alone("better", told)))
    assert first == compared(
        *("0.2 against 0.1 (MNIST)", "test accuracy", "20 against 20"),
        *("+0.98 points (+0.93 to +1.03)", "100 %", "+0.98"),
        *("< 0.0001", "1.00", "< 0.0001", "better"),
    )
    assert (second["wins"], second["without lost networks"]) == ("90 %", "+1.01")
    assert rows_of(section(*alone("printed"))) == [
        compared(
            "the numbers in the study's README are those of its notebook",
            *("printed numbers", "–", "not so", "–", "–", "–", "–", "–", "not so"),
        )
    ]


def test_a_section_tells_the_referee_the_tests() -> None:
    found, needed = alone("unstable_0384")
    assert rows_of(section(found, needed)) == [
        compared(
            *("0.384 (Fashion-MNIST)", "share of networks lost, against 25 %", "20"),
            *("0 of 20: 0 % (0 to 16 %)", "–", "–", "1.00", "0.0032", "–", "below"),
        ),
        compared(
            *("0.384 against 0.1 (Fashion-MNIST)", "share of networks lost", "20 against 20"),
            *("0 points (−16 to +16)", "–", "–", "1.00", "0.01", "0.01", "equivalent"),
        ),
    ]
    assert section(found, needed).endswith(
        "\n\n*Statistical details.* Fisher's exact test for a difference of shares, Chan's exact "
        "test for the margin. Exact binomial tests of a share against its bound, one-sided. "
        "Margin: 20 points of the share. p of “refuted” 0.0032 (Holm's level: 0.0500), corrected "
        "for all claims 0.0032. Lower half of the seeds: undecided; upper half: undecided.\n"
    )
    assert section(*alone("printed")).endswith(
        "\n\n*Statistical details.* Arithmetic; nothing is tested.\n"
    )
    assert "bound, one-sided. p of “supported”" in section(*alone("usable"))
    depends = section(*alone("depends"))
    assert "one-sided for the margin. Margin: one margin. p of" in depends


def test_the_gap_between_survivors_and_lost_networks_is_told() -> None:
    claim = BY_KEY["exploding"]
    told = {(FASHION, "core", rate): {"lost": 12} for rate in (0.48, 0.6)}
    (found,) = judge(evidence(told, cells=cells_of(claim)), [claim])
    words = " ".join(section(found, np.inf).split())
    assert "| so (largest of the others 5, smallest of a lost one 400) | – | – | – |" in words


def test_an_arm_tells_whether_training_losses_are_equal() -> None:
    found, needed = alone("noise")
    assert "active features, at equal training loss" in section(found, needed)
    claim = BY_KEY["noise"]
    there = evidence(cells=cells_of(claim))
    there.epochs.loc[there.epochs["recipe"] == "small_batch", "train_loss"] = 2.0
    (found,) = judge(there, [claim])
    assert "active features, after the last epoch, at unequal loss" in section(found, needed)


def test_changes_between_rungs_are_told_with_their_size(drawn: Evidence) -> None:
    tested = changes(drawn, [BY_KEY["unstable"]])
    text = between(tested)
    assert {
        "claim": "0.48, 0.6 unstable on Fashion-MNIST",
        "from → to": "core → clipped",
        "compared": "clipped against core, 0.6 (Fashion-MNIST), share of networks lost",
        "change (95 % interval)": "−90 points (−97 to −64)",
        "p": "< 0.0001",
    } in rows_of(text)
    assert f"a claim ({len(tested)} tests; all are in " in " ".join(text.split())
    assert "it is their ratio.\n\n|" in text
    told = between(changes(drawn, [BY_KEY["sparser_fashion_mnist"]]))
    assert told.endswith("ratio. None changes anything that these networks can tell.\n\n")


def test_arms_that_lost_networks_are_told(drawn: Evidence) -> None:
    networks = drawn.networks.copy()
    told = "\nOf the networks of the mechanism, {} lost.\n"
    assert mechanism_losses(networks) == told.format("none was")
    for arm, dataset, count in (("large", "mnist", 2), ("small_batch", FASHION, 3)):
        here = networks[(networks["recipe"] == arm) & (networks["dataset"] == dataset)]
        networks.loc[here.index[:count], "outcome"] = "lost"
    assert mechanism_losses(networks) == told.format(
        "2 of 10 at 0.384 (MNIST) and 3 of 10 at 0.1 with batches of 8 (Fashion-MNIST) were"
    )
    assert mechanism_losses(networks[networks["recipe"] == "core"]) == ""


def test_a_difference_that_correction_takes_away_is_not_the_other_way_round() -> None:
    found, needed = alone(
        "best", {("mnist", "core", 0.3): {"spread": 8.0, "test_accuracy": 0.9685}}
    )
    tested = [member.tested for member in found.members]
    assert all(each.p_difference < 0.05 for each in tested)
    assert {each.result for each in corrected(tested)} == {"not better"}
    assert verdict_sentence(found, needed).startswith(
        "Refuted: a gain as large as what matters (0.2 points) is excluded in at least one "
    )


def test_rates_of_loss_are_told_with_their_intervals() -> None:
    rates = {f"rate_{s}{e}": np.nan for s in (10, 50, 90) for e in ("", "_low", "_high")}
    usual = {"dataset": "mnist", "networks": 150, "lost": 30} | rates
    fitted = {"rate_50": 0.5234, "rate_50_low": 0.5, "rate_50_high": np.nan}
    times = {"times_core": 4.1, "times_core_low": 3.5, "times_core_high": 5.0}
    nothing = dict.fromkeys(times, np.nan)
    table = pd.DataFrame(
        [
            usual | {"recipe": "core", **fitted, **nothing},
            usual | {"recipe": "clipped", "lost": 0, **times},
        ]
    )
    headings = (
        *("dataset", "recipe", "lost", "10 % lost", "50 % lost", "90 % lost"),
        "half, against core",
    )
    assert [tuple(row.items()) for row in rows_of(failures(table))] == [
        tuple(zip(headings, cells, strict=True))
        for cells in (
            ("MNIST", "core", "30 of 150", "–", "0.523 (0.5 to …)", "–", "–"),
            ("MNIST", "clipped", "0 of 150", "–", "–", "–", "× 4.10 (3.50 to 5.00)"),
        )
    ]
    assert failures(NO_FAILURES) == "Not run.\n"


def test_the_first_rung_is_held_against_the_notebook() -> None:
    there = evidence(
        {
            ("mnist", "as_published", 0.48): {"lost": 20},
            ("mnist", "as_published", 0.1): {"lost": 1},
        },
        cells=[("mnist", "as_published", rate) for rate in (0.1, 0.48)],
    )
    first, second = rows_of(reproduction(there))
    assert first.pop("test accuracy of the others").startswith("96.8")
    assert first == {
        **{"dataset": "MNIST", "rate": "0.1", "notebook": "98.16 %"},
        "end non-finite here": "1 of 20",
    }
    assert second == {
        **{"dataset": "MNIST", "rate": "0.48", "notebook": "nan"},
        **{"end non-finite here": "20 of 20", "test accuracy of the others": "–"},
    }
    assert reproduction(evidence(cells=[])) == "Not run.\n"


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (1.234, Scale("factor", -1, 1.1), "× 1.23"),
        (np.inf, Scale("factor", -1, 1.1), "most never get there"),
        (0.0, Scale("factor", -1, 1.1), "most of the others never get there"),
        (0.126, Scale("points", 1, 0.2), "+0.13"),
        (-0.126, Scale("points", 1, 0.2), "−0.13"),
        (0.0, Scale("points", 1, 0.2), "0.00"),
        (-np.inf, Scale("points", 1, 0.2), "most are lost"),
        (np.inf, Scale("points", 1, 0.2), "most of the others are lost"),
        (-45.4, Scale("share", -1, 20.0), "−45"),
        (1.26, Scale("margins", 1, 1.0), "+1.3"),
    ],
)
def test_numbers_are_told_in_the_unit_of_their_margin(
    value: float, scale: Scale, text: str
) -> None:
    assert number(value, scale) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0, "< 0.0001"), (0.00012, "0.0001"), (0.0099, "0.0099"), (0.01, "0.01"), (0.456, "0.46")],
)
def test_p_values_are_told_with_as_many_digits_as_count(p: float, text: str) -> None:
    assert p_text(p) == text


def write(there: Evidence, folder: Path) -> None:
    folder.mkdir(parents=True)
    there.networks.drop(columns="feature_sparsity").to_csv(folder / "networks.csv", index=False)
    there.epochs.to_csv(folder / "epochs.csv", index=False)
    NO_FAILURES.to_csv(folder / "failure.csv", index=False)


def test_the_stage_writes_all_three_files(tmp_path: Path) -> None:
    tables = tmp_path / "audit"
    write(evidence(TOLD, cells=[("mnist", "core", 0.1), ("mnist", "core", 0.2)]), tables)
    command = [sys.executable, "-m", "stages.audit.judge", str(tables), str(tmp_path)]
    subprocess.run(command, check=True, cwd=PROJECT, timeout=600)
    claims = pd.read_csv(tmp_path / "claims.csv")
    assert set(claims["claim"]) == {claim.key for claim in CLAIMS}
    assert (claims.loc[claims["claim"] == "best", "verdict"] == "not run").all()
    assert (tmp_path / "claims.md").read_text(encoding="utf-8").startswith("# The published claims")
    assert len(pd.read_csv(tables / "changes.csv")) == 0


def test_another_dataset_leaves_all_but_arithmetic_unrun() -> None:
    there = Evidence(
        evidence(cells=[("mnist", "core", 0.1)]).networks.assign(dataset="digits"),
        evidence(cells=[]).epochs,
    )
    judged = judge(there)
    verdicts = {each.claim.key: each.decision.verdict for each in judged}
    assert verdicts.pop("printed") == Verdict.REFUTED
    assert set(verdicts.values()) == {Verdict.NOT_RUN}
    text = report(judged, changes(there), there, NO_FAILURES)
    assert "trained by plain SGD on Digits." in text
    rows = claims_table(judged, there).set_index("claim").drop(index="printed")
    assert rows["statement"].to_dict() == {
        claim.key: claim.statement for claim in CLAIMS if claim.key != "printed"
    }
    told = rows[["headline", "recipe", "result", "decides", "verdict", "lower_half", "upper_half"]]
    assert set(told.itertuples(index=False, name=None)) == {
        (1, "core", "not run", 0, "not run", "not run", "not run")
    }


def test_verdicts_are_counted_in_a_sentence() -> None:
    refuted, undecided = Verdict.REFUTED, Verdict.UNDECIDED
    assert tally([refuted, undecided, refuted]) == "Of 3 claims: 2 refuted, 1 undecided."
    assert tally([*Verdict, refuted]) == (
        "Of 6 claims: 1 supported, 2 refuted, 1 equivalent, 1 undecided, 1 not run."
    )
    assert tally([]) == "Of 0 claims: none."
