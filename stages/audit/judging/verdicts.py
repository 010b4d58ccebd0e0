"""From comparisons to verdicts: each claim, both halves of the seeds, corrected for all claims."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from stages.audit.judging.claims import CLAIMS, Claim
from stages.audit.judging.comparisons import Comparison
from stages.audit.judging.evidence import Evidence
from stages.audit.judging.statistics import LEVEL, holm
from stages.audit.judging.tested import Bounded, Ranked, Stated, Tested


class Verdict(StrEnum):
    """The verdict on a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


PRECEDENCE = (Verdict.EQUIVALENT, Verdict.REFUTED, Verdict.SUPPORTED)
"""Where the networks support several, the first holds: an effect that is there but too small to
matter is equivalent, and a claim about each of several rates is refuted by one of them."""


@dataclass(frozen=True)
class Member:
    """A comparison of a claim, and its result."""

    comparison: Comparison
    tested: Tested


@dataclass(frozen=True)
class Decision:
    """A verdict and what it rests on."""

    verdict: Verdict
    p: float = np.nan
    """The p value of the verdict; of an undecided claim, the smallest of all three verdicts."""
    corrected: float = np.nan
    """The same, corrected for the number of claims."""
    leaning: Verdict = Verdict.UNDECIDED
    """The verdict with that p."""
    level: float = LEVEL
    """What p was compared with."""


NOT_RUN = Decision(Verdict.NOT_RUN)


@dataclass(frozen=True)
class Judged:
    """A claim, judged on all networks and on both halves of them."""

    claim: Claim
    members: tuple[Member, ...]
    """All its comparisons; none if it was not run."""
    decision: Decision
    lower: Verdict
    upper: Verdict
    overruled: Verdict | None = None
    """The verdict of all seeds together, if the halves contradict each other; otherwise None."""


def judge(evidence: Evidence, claims: Sequence[Claim] = CLAIMS) -> list[Judged]:
    """Judge every claim on all networks and on both halves.

    A claim that is supported in one half and refuted in the other is undecided, whatever verdict
    all seeds together give.
    """
    whole, lower, upper = (
        [(claim, find(claim, each)) for claim in claims]
        for each in (evidence, evidence.half("lower"), evidence.half("upper"))
    )
    decisions = zip(whole, decide(whole), decide(lower), decide(upper), strict=True)
    return [
        _reconciled(Judged(claim, members, decision, below.verdict, above.verdict))
        for (claim, members), decision, below, above in decisions
    ]


def _reconciled(judged: Judged) -> Judged:
    if {judged.lower, judged.upper} != {Verdict.SUPPORTED, Verdict.REFUTED}:
        return judged
    decision = replace(judged.decision, verdict=Verdict.UNDECIDED)
    return replace(judged, decision=decision, overruled=judged.decision.verdict)


def find(claim: Claim, evidence: Evidence) -> tuple[Member, ...]:
    """Test a claim's comparisons; return none of them if one of its cells was not run."""
    members = compared(claim.comparisons, evidence)
    return tuple(members) if len(members) == len(claim.comparisons) else ()


def compared(comparisons: Iterable[Comparison], evidence: Evidence) -> list[Member]:
    """Test those comparisons whose cells were run."""
    found = ((each, each.tested(evidence)) for each in comparisons)
    return [Member(each, tested) for each, tested in found if tested is not None]


def p_values(claim: Claim, members: Sequence[Member]) -> dict[Verdict, float]:
    """Compute the p value of each verdict on a claim.

    If every comparison has to support a verdict, its p value is the largest of theirs (an
    intersection-union test: Berger, "Multiparameter hypothesis testing and acceptance sampling",
    1982). If one comparison is enough, it is the smallest, times their number (Bonferroni).
    """
    one_is_enough = claim.needs == "any"
    supported = [member.tested.p_supported for member in members]
    against = [each.tested.p_not_better for each in members if each.comparison.can_refute]
    return {
        Verdict.SUPPORTED: _smallest(supported) if one_is_enough else max(supported),
        Verdict.REFUTED: 1.0 if one_is_enough else _smallest(against),
        Verdict.EQUIVALENT: max(member.tested.p_equivalent for member in members),
    }


def _smallest(values: Sequence[float]) -> float:
    """Take the smallest of some p values, corrected for their number."""
    return min(1.0, len(values) * min(values))


def decide(found: Sequence[tuple[Claim, tuple[Member, ...]]]) -> list[Decision]:
    """Reach the verdicts, corrected by Holm's method for the number of claims that were run.

    A claim's p value is the smallest of its three verdicts'. Holm's method gives the level that it
    is compared with. Of the verdicts with a p value below that level, the first in `PRECEDENCE`
    holds.

    Args:
        found: Claims and their comparisons, as `find` makes them.
    """
    decisions = [NOT_RUN] * len(found)
    run = {
        place: p_values(claim, members) for place, (claim, members) in enumerate(found) if members
    }
    order = sorted(run, key=lambda place: min(run[place].values()))
    adjusted = 0.0
    for times, place in zip(range(len(order), 0, -1), order, strict=True):
        values = run[place]
        adjusted = max(adjusted, min(1.0, times * min(values.values())))
        undecided = adjusted >= LEVEL
        borne_out = [each for each in PRECEDENCE if times * values[each] < LEVEL]
        verdict = min(values, key=lambda each: values[each]) if undecided else borne_out[0]
        decisions[place] = Decision(
            Verdict.UNDECIDED if undecided else verdict,
            values[verdict],
            max(adjusted, min(1.0, times * values[verdict])),
            verdict,
            LEVEL / times,
        )
    return decisions


def deciding(claim: Claim, members: Sequence[Member], verdict: Verdict) -> Member:
    """Find the comparison whose p value is that of a verdict."""
    if verdict == Verdict.REFUTED:
        refuting = (member for member in members if member.comparison.can_refute)
        return min(refuting, key=lambda member: member.tested.p_not_better)
    if verdict == Verdict.EQUIVALENT:
        return max(members, key=lambda member: member.tested.p_equivalent)
    choose = min if claim.needs == "any" else max
    return choose(members, key=lambda member: member.tested.p_supported)


P_VALUES = ("p_difference", "p_not_better", "p_not_worse", "p_equivalent")
"""The p values of a comparison that are corrected within its claim."""


@dataclass(frozen=True)
class Corrected:
    """A comparison's p values, corrected by Holm's method within its claim, and what they say."""

    p_values: Mapping[str, float]
    """By the names in `P_VALUES`."""
    result: str


def corrected(tested: Sequence[Tested]) -> list[Corrected]:
    """Correct the comparisons of one claim on one recipe, and name what each finds.

    Returns:
        One result per comparison: better, worse, equivalent, not better, not worse or open. If
        gains are compared between datasets: differs, equivalent or open. For a share against a
        bound: above, below or open. For a fact: so or not so.
    """
    by_name = [holm([getattr(each, name) for each in tested]) for name in P_VALUES]
    by_comparison = [dict(zip(P_VALUES, each, strict=True)) for each in zip(*by_name, strict=True)]
    return [
        Corrected(p_values, _result(each, p_values))
        for each, p_values in zip(tested, by_comparison, strict=True)
    ]


def _result(tested: Tested, p_values: Mapping[str, float]) -> str:
    if isinstance(tested, Stated):
        return "so" if tested.holds else "not so"
    if isinstance(tested, Bounded):
        found = {"above": p_values["p_difference"], "below": p_values["p_not_better"]}
    elif isinstance(tested, Ranked) and tested.either_way:
        found = {"equivalent": p_values["p_equivalent"], "differs": p_values["p_difference"]}
    else:
        found = {
            "equivalent": p_values["p_equivalent"],
            "better" if tested.ahead else "worse": p_values["p_difference"],
            "not better": p_values["p_not_better"],
            "not worse": p_values["p_not_worse"],
        }
    return next((name for name, p in found.items() if p < LEVEL), "open")


def networks_needed(judged: Judged, evidence: Evidence) -> float:
    """Say how many networks per cell would decide a claim with a power of 80 %.

    Further networks are assumed to be like those seen. The number is infinite if their effects are
    too close to a margin to tell.
    """
    level, members = judged.decision.level, judged.members
    all_needed = judged.claim.needs == "each"
    refuting = sum(member.comparison.can_refute for member in members)
    supported, refuted, equivalent = [], [], []
    for member in members:
        size = member.tested.sizes[0]
        # The number of compared networks grows in proportion to that of a cell.
        times = evidence.size(member.comparison.sides[0][0]) / size if size else 1.0
        need = member.tested.enough(
            level if all_needed else level / len(members), level / refuting, level
        )
        supported.append(times * need.supported)
        equivalent.append(times * need.equivalent)
        if all_needed and member.comparison.can_refute:
            refuted.append(times * need.refuted)
    supports = max(supported) if all_needed else min(supported)
    return float(np.ceil(min([supports, max(equivalent), *refuted])))
