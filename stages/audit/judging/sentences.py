"""Verdicts and effects in words that need no statistics."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from stages.audit.judging import statistics
from stages.audit.judging.statistics import POWER, Effect
from stages.audit.judging.tested import Bounded, Ranked, Scale, Stated, Tested
from stages.audit.judging.verdicts import Judged, Member, Verdict, corrected, deciding
from stages.common.tables import written

MANY = 1000
"""Above this many networks per cell, sentences only say that more are needed."""
GONE = "most are lost"
OTHERS_GONE = "most of the others are lost"
NEVER = "most never get there"
OTHERS_NEVER = "most of the others never get there"


def number(value: float, scale: Scale) -> str:
    """Write an effect, in the unit of its scale."""
    # Round to the six digits of claims.csv first: a reader who rounds its numbers gets the same.
    value = float(written(value))
    if scale.unit == "factor":
        return {np.inf: NEVER, 0.0: OTHERS_NEVER}.get(value, f"× {value:.2f}")
    if np.isinf(value):
        return GONE if value * scale.sign < 0 else OTHERS_GONE
    digits = 0 if scale.unit == "share" else 1 if scale.unit == "margins" else 2
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{abs(value):.{digits}f}"


def with_interval(tested: Tested, effect: Effect) -> str:
    """Write an effect and its 95 % interval; for a bound, write the share itself.

    Args:
        tested: The tested comparison.
        effect: Its effect, or another effect on the same scale.
    """
    if isinstance(tested, Stated):
        return ("so" if tested.holds else "not so") + f" ({tested.told})" * bool(tested.told)
    if np.isnan(effect.value):
        return "–"
    if isinstance(tested, Bounded):
        found = statistics.share(tested.count, tested.size).times(100)
        interval = f"{found.low:.0f} to {found.high:.0f} %"
        return f"{tested.count} of {tested.size}: {found.value:.0f} % ({interval})"
    scale = tested.scale
    shown = scale.shown(effect)
    unit = {"factor": "", "margins": " margins"}.get(scale.unit, " points")
    if not np.isfinite(shown.value):
        unit = ""
    return f"{number(shown.value, scale)}{unit}{_reach(shown, scale)}"


def _reach(shown: Effect, scale: Scale) -> str:
    """Write an interval: open if one end is in words, empty if both ends are the same words."""
    low, high = (number(each, scale) for each in (shown.low, shown.high))
    words = {GONE, OTHERS_GONE, NEVER, OTHERS_NEVER}
    if low == high and low in words:
        return ""
    if high in words and low not in words:
        return f" ({low} or more)"
    if low in words and high not in words:
        return f" ({high} or less)"
    return f" ({low} to {high})"


def margin(scale: Scale) -> str:
    """Write the smallest difference that matters."""
    if scale.unit == "factor":
        return f"a factor of {scale.margin:g}"
    if scale.unit == "margins":
        return "one margin"
    points = f"{scale.margin:g} point" + "s" * (scale.margin != 1)
    return f"{points} of the share" if scale.unit == "share" else points


def p_text(value: float) -> str:
    """Write a p value."""
    if np.isnan(value):
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def tally(verdicts: Iterable[str]) -> str:
    """Count the verdicts: "Of 20 claims: 7 supported, 10 refuted, 3 undecided."."""
    counts = Counter(verdicts)
    told = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    return f"Of {counts.total()} claims: {', '.join(told) or 'none'}."


def headline_effect(judged: Judged) -> str:
    """Write the effect of the comparison that decides, with its interval."""
    if not judged.members:
        return "–"
    member = _told(judged)
    return f"{_named(member)}: {with_interval(member.tested, member.tested.effect)}"


def verdict_sentence(judged: Judged, needed: float) -> str:
    """Say in a sentence or two what the verdict is and what it comes from.

    Args:
        judged: The claim.
        needed: Networks per cell that would decide an undecided one.
    """
    verdict = judged.decision.verdict
    return f"{verdict.capitalize()}: {_reason(judged, verdict, needed)}"


def _reason(judged: Judged, verdict: Verdict, needed: float) -> str:
    if verdict == Verdict.NOT_RUN:
        return "networks that the claim names are missing."
    if judged.overruled is not None:
        return (
            "one half of the seeds supports it and the other refutes it. All together they say "
            f"{judged.overruled}."
        )
    if verdict == Verdict.UNDECIDED:
        told = _sentence(headline_effect(judged))
        return f"these networks neither support nor refute it. {told}. {_more(needed)}"
    return _decided(judged, verdict)


def _decided(judged: Judged, verdict: Verdict) -> str:
    alone = len(judged.members) == 1
    if verdict == Verdict.EQUIVALENT:
        what = "the difference is" if alone else "every difference is"
        return f"{what} smaller than what matters ({_margins(judged.members)})."
    member = _told(judged)
    if isinstance(member.tested, Stated):
        return "it is so." if verdict == Verdict.SUPPORTED else "it is not so."
    told = f"{headline_effect(judged)}."
    if verdict == Verdict.REFUTED:
        where = "" if alone else " in at least one comparison"
        return f"{_against(judged, member)}{where}. {_sentence(told)}"
    if judged.claim.needs == "any" or alone:
        return f"it is as the claim says. {_sentence(told)}"
    return f"every comparison is as the claim says. The least certain: {told}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _told(judged: Judged) -> Member:
    """Choose the comparison to report: the one whose p value is the verdict's."""
    return deciding(judged.claim, judged.members, judged.decision.leaning)


def _named(member: Member) -> str:
    if isinstance(member.tested, Stated):
        return member.comparison.label
    return f"{member.comparison.label}, {quantity(member)}"


def quantity(member: Member) -> str:
    """Name what is compared, and in the mechanism, when."""
    name, tested = member.comparison.quantity_name, member.tested
    return f"{name}, {tested.when}" if isinstance(tested, Ranked) and tested.when else name


def _against(judged: Judged, member: Member) -> str:
    """Say what speaks against a claim, in the words of its table of comparisons."""
    tested = member.tested
    if isinstance(tested, Bounded):
        return f"the share lies below {100 * tested.bound:.0f} %"
    results = corrected([each.tested for each in judged.members])
    if results[judged.members.index(member)].result == "worse":
        return "it is the other way round"
    return f"a gain as large as what matters ({margin(tested.scale)}) is excluded"


def _margins(members: Sequence[Member]) -> str:
    return " or ".join(dict.fromkeys(margin(member.tested.scale) for member in members))


def _more(needed: float) -> str:
    """Say how many networks would decide."""
    if needed > MANY:
        return f"Too close to tell: more than {MANY:,} networks per cell would be needed."
    return (
        f"If others are like them, {needed:.0f} networks per cell would decide it "
        f"with a probability of {100 * POWER:.0f} %."
    )
