"""From p values to verdicts: precedence, corrections, halves, and how many networks are missing."""

from dataclasses import dataclass

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from stages.audit.judging.claims import STEPS, TEST_ACCURACY, Claim, cells
from stages.audit.judging.comparisons import Comparison, Difference, NoSurvivor
from stages.audit.judging.statistics import NOTHING, Effect
from stages.audit.judging.tested import NEVER_ENOUGH, Bounded, Enough, Scale, Stated, Tested
from stages.audit.judging.verdicts import (
    Decision,
    Judged,
    Member,
    Verdict,
    corrected,
    decide,
    deciding,
    judge,
    networks_needed,
    p_values,
)
from tests.drawn_audit import BY_KEY, Told, cells_of, evidence

SUPPORTED, REFUTED = Verdict.SUPPORTED, Verdict.REFUTED
EQUIVALENT, UNDECIDED = Verdict.EQUIVALENT, Verdict.UNDECIDED
SCALE = Scale("points", 1, 0.2)
COMPARED = Difference(TEST_ACCURACY, cells("mnist", 0.2), cells("mnist", 0.1))
CANNOT_REFUTE = NoSurvivor(cells("mnist", 0.2), 50.0)
EACH = Claim("each", "", "", "", (COMPARED,))
ANY = Claim("any", "", "", "", (COMPARED,), needs="any")


@dataclass(frozen=True)
class Given(Tested):
    """A comparison whose p values are given."""

    difference: float = 1.0
    not_better: float = 1.0
    not_worse: float = 1.0
    as_claimed: bool = True
    needs: Enough = NEVER_ENOUGH

    @property
    def sizes(self) -> tuple[int, int]:
        return 20, 20

    @property
    def statistic(self) -> float:
        return np.nan

    @property
    def ahead(self) -> bool:
        return self.as_claimed

    @property
    def p_difference(self) -> float:  # type: ignore[override]
        return self.difference

    @property
    def p_not_better(self) -> float:  # type: ignore[override]
        return self.not_better

    @property
    def p_not_worse(self) -> float:  # type: ignore[override]
        return self.not_worse

    @property
    def effect(self) -> Effect:  # type: ignore[override]
        return NOTHING

    def enough(self, supported: float, refuted: float, equivalent: float) -> Enough:
        del supported, refuted, equivalent
        return self.needs


def given(
    difference: float = 1.0,
    not_better: float = 1.0,
    not_worse: float = 1.0,
    *,
    ahead: bool = True,
    comparison: Comparison = COMPARED,
) -> Member:
    return Member(comparison, Given(SCALE, difference, not_better, not_worse, ahead))


def alone(*members: Member, claim: Claim = EACH) -> Decision:
    (decision,) = decide([(claim, members)])
    return decision


def test_a_claim_about_each_rests_on_the_weakest_comparison() -> None:
    members = [given(0.01), given(0.04)]
    assert p_values(EACH, members)[SUPPORTED] == 0.04
    assert alone(*members).verdict == SUPPORTED
    assert alone(given(0.01), given(0.05)).verdict == UNDECIDED
    assert alone(given(0.01), given(0.01, ahead=False)).verdict == UNDECIDED


def test_a_claim_about_each_is_refuted_by_one_corrected_for_their_number() -> None:
    members = [given(not_better=0.02), given(not_better=0.9)]
    assert p_values(EACH, members)[REFUTED] == 0.04
    assert alone(*members) == Decision(REFUTED, 0.04, 0.04, REFUTED, 0.05)
    assert alone(given(not_better=0.025), given()).verdict == UNDECIDED
    assert p_values(EACH, [given(not_better=0.9), given()])[REFUTED] == 1


def test_a_comparison_that_cannot_refute_neither_refutes_nor_counts() -> None:
    members = [
        given(not_better=0.04),
        given(not_better=0.0, comparison=CANNOT_REFUTE),
    ]
    assert p_values(EACH, members)[REFUTED] == 0.04
    assert deciding(EACH, members, REFUTED) is members[0]


def test_a_claim_about_any_needs_one_corrected_for_their_number() -> None:
    members = [given(0.02, 0.03, 0.03), given(0.9, 0.04, 0.01)]
    found = p_values(ANY, members)
    assert found == {SUPPORTED: 0.04, REFUTED: 1.0, EQUIVALENT: 0.04}
    assert deciding(ANY, members, SUPPORTED) is members[0]
    assert deciding(ANY, members, EQUIVALENT) is members[1]


def test_equivalence_needs_every_comparison_within_both_margins() -> None:
    assert alone(given(0.5, 0.01, 0.04), given(0.5, 0.03, 0.01)).verdict == EQUIVALENT
    assert alone(given(0.5, 0.04, 0.05), given(0.5, 0.04, 0.01)).verdict == UNDECIDED
    assert p_values(EACH, [given(0.5, 0.01, np.nan)])[EQUIVALENT] == 1


def test_an_effect_that_is_there_but_too_small_to_matter_is_equivalent() -> None:
    assert alone(given(0.001, 0.002, 0.0001)).verdict == EQUIVALENT


def test_one_gain_too_small_to_matter_refutes_what_else_would_be_supported() -> None:
    members = [given(0.001, 0.9, 0.001), given(0.001, 0.001, 0.001)]
    assert alone(*members).verdict == REFUTED


def test_the_comparison_told_is_the_one_whose_p_value_counts() -> None:
    members = [given(0.01, 0.5, 0.2), given(0.03, 0.6, 0.1)]
    assert deciding(EACH, members, SUPPORTED) is members[1]
    assert deciding(EACH, members, REFUTED) is members[0]
    assert deciding(EACH, members, EQUIVALENT) is members[1]
    assert deciding(EACH, members, UNDECIDED) is members[1]


def test_verdicts_are_corrected_for_the_number_of_claims_by_holms_method() -> None:
    claims = [(EACH, (given(p),)) for p in (0.02, 0.01, 0.001, 0.04)]
    found = decide(claims)
    assert [each.verdict for each in found] == [SUPPORTED] * 4
    assert [each.corrected for each in found] == pytest.approx([0.04, 0.03, 0.004, 0.04])
    assert [each.level for each in found] == pytest.approx([0.025, 0.05 / 3, 0.0125, 0.05])


def test_after_one_claim_falls_through_so_do_all_with_larger_p_values() -> None:
    claims = [(EACH, (given(p),)) for p in (0.03, 0.026, 0.001)]
    found = decide(claims)
    assert [each.verdict for each in found] == [UNDECIDED, UNDECIDED, SUPPORTED]
    assert found[0] == Decision(UNDECIDED, 0.03, pytest.approx(0.052), SUPPORTED, 0.05)
    assert found[1].corrected == pytest.approx(0.052)


def test_corrected_p_values_of_claims_are_those_of_statsmodels() -> None:
    p = [0.03, 0.5, 0.026, 0.001, 0.04, 0.2]
    corrected = [each.corrected for each in decide([(EACH, (given(each),)) for each in p])]
    assert corrected == pytest.approx(multipletests(p, method="holm")[1])


def test_claims_that_were_not_run_are_not_counted() -> None:
    found = decide([(EACH, ()), (EACH, (given(0.04),))])
    assert [each.verdict for each in found] == [Verdict.NOT_RUN, SUPPORTED]
    assert np.isnan(found[0].p)


def test_at_the_corrected_level_a_weaker_verdict_can_hold() -> None:
    # Equivalent at 5 %, but not at 2.5 %: that the gain is too small still holds.
    members = (given(0.5, 0.001, 0.04),)
    assert decide([(EACH, members), (EACH, (given(),))])[0].verdict == REFUTED
    assert decide([(EACH, members)])[0].verdict == EQUIVALENT


@pytest.mark.parametrize(
    ("tested", "result"),
    [
        (Given(SCALE, 0.01), "better"),
        (Given(SCALE, 0.01, as_claimed=False), "worse"),
        (Given(SCALE, 0.05), "open"),
        (Given(SCALE, 0.01, 0.01, 0.01), "equivalent"),
        (Given(SCALE, 0.5, 0.01, 0.5), "not better"),
        (Given(SCALE, 0.5, 0.5, 0.01), "not worse"),
        (Given(SCALE, 0.01, 0.01, 0.5, as_claimed=False), "worse"),
        (Bounded(Scale("share", 1, 20.0), 20, 20, 0.5), "above"),
        (Bounded(Scale("share", 1, 20.0), 0, 20, 0.5), "below"),
        (Bounded(Scale("share", 1, 20.0), 10, 20, 0.5), "open"),
        (Stated(SCALE, True), "so"),
        (Stated(SCALE, False), "not so"),
    ],
)
def test_results_are_named(tested: Tested, result: str) -> None:
    assert [each.result for each in corrected([tested])] == [result]


def test_results_are_corrected_within_their_claim() -> None:
    tested = [Given(SCALE, 0.03, 0.3, 0.02), Given(SCALE, 0.02, 0.4, 0.1)]
    found = corrected(tested)
    assert [each.p_values["p_difference"] for each in found] == pytest.approx([0.04, 0.04])
    assert [each.p_values["p_not_better"] for each in found] == pytest.approx([0.6, 0.6])
    assert [each.p_values["p_not_worse"] for each in found] == pytest.approx([0.04, 0.1])
    assert [each.p_values["p_equivalent"] for each in found] == pytest.approx([0.6, 0.6])
    assert [each.result for each in found] == ["better", "better"]


def judged_alone(key: str, told: Told) -> Judged:
    claim = BY_KEY[key]
    (found,) = judge(evidence(told, cells=cells_of(claim)), [claim])
    return found


def test_both_halves_are_judged_alone() -> None:
    found = judged_alone(
        "better", {("mnist", "core", r): {"test_accuracy": 0.98} for r in (0.2, 0.3)}
    )
    assert (found.decision.verdict, found.lower, found.upper) == (SUPPORTED,) * 3
    assert found.overruled is None


def test_a_claim_that_the_halves_contradict_is_undecided() -> None:
    claim = BY_KEY["better"]
    drawn = evidence(
        {("mnist", "core", rate): {"test_accuracy": 0.99} for rate in (0.2, 0.3)},
        cells=cells_of(claim),
    )
    upper = (drawn.networks["seed"] >= 1010) & (drawn.networks["learning_rate"] == 0.1)
    drawn.networks.loc[upper, "test_accuracy"] = 0.999
    (found,) = judge(drawn, [claim])
    assert (found.lower, found.upper) == (SUPPORTED, REFUTED)
    assert found.decision.verdict == UNDECIDED
    assert found.overruled is not None


@pytest.mark.parametrize(
    ("claim", "needs", "expected"),
    [
        (EACH, [(30, np.inf, 90), (50, np.inf, 40)], 50),
        (EACH, [(30, 45, 90), (50, np.inf, 40)], 45),
        (EACH, [(np.inf, np.inf, 90), (50, np.inf, 40)], 90),
        (EACH, [(np.inf, np.inf, np.inf), (50, np.inf, 40)], np.inf),
        (ANY, [(np.inf, 5, np.inf), (50, 5, 40)], 50),
    ],
)
def test_as_many_networks_are_needed_as_the_nearest_verdict_needs(
    claim: Claim, needs: list[tuple[float, float, float]], expected: float
) -> None:
    members = tuple(Member(COMPARED, Given(SCALE, needs=Enough(*each))) for each in needs)
    judged = Judged(claim, members, Decision(UNDECIDED), UNDECIDED, UNDECIDED)
    drawn = evidence(cells=[("mnist", "core", 0.1), ("mnist", "core", 0.2)])
    assert networks_needed(judged, drawn) == expected


def test_networks_are_told_for_each_cell_though_cells_are_thrown_together() -> None:
    member = Member(
        Difference(STEPS, cells("mnist", 0.2, 0.1), cells("mnist", 0.1)),
        Given(SCALE, needs=Enough(41, np.inf, np.inf)),
    )
    judged = Judged(EACH, (member,), Decision(UNDECIDED), UNDECIDED, UNDECIDED)
    # A cell of ten networks, of which twenty are compared: half as many as needed.
    drawn = evidence(cells=[("mnist", "core", 0.1), ("mnist", "core", 0.2)], seeds=10)
    assert networks_needed(judged, drawn) == 21
