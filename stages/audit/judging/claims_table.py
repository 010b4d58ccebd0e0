"""claims.csv and changes.csv: one row per comparison, with what its p values are computed from."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.audit.judging.changes import Change
from stages.audit.judging.claims import CLAIMS, Claim
from stages.audit.judging.comparisons import (
    Bound,
    Comparison,
    Difference,
    Interaction,
    Matched,
    Shares,
)
from stages.audit.judging.evidence import Evidence, Side
from stages.audit.judging.rungs import CORE, RUNGS
from stages.audit.judging.statistics import NOTHING, Effect
from stages.audit.judging.tested import Counted, Ranked, Stated, Tested
from stages.audit.judging.verdicts import (
    P_VALUES,
    Corrected,
    Judged,
    Member,
    compared,
    corrected,
    deciding,
)
from stages.common.tables import last_layer

PLACES = [
    "table",
    *(
        f"{prefix}{name}"
        for prefix in ("", "other_")
        for name in ("dataset", "recipes", "rates", "seeds", "base_rates")
    ),
    *("quantity", "better", "lost", "among", "bound", "unit", "margin"),
    *("n", "other_n", "arrangements", "statistic"),
]
"""Columns that say what is compared. `base_rates` is filled where gains are compared: a gain is the
value of a network of `rates` minus that of the network of `base_rates` with the same seed."""
EFFECTS = [
    f"{name}{end}" for name in ("effect", "gain", "probability") for end in ("", "_low", "_high")
]
CLAIMS_COLUMNS = [
    *("claim", "statement", "headline", "recipe", "comparison", "kind"),
    *PLACES,
    *P_VALUES,
    *(f"corrected_{name}" for name in P_VALUES),
    *EFFECTS,
    *("survivors_effect", "result", "decides", "verdict", "lower_half", "upper_half"),
]
CHANGES_COLUMNS = [
    *("claim", "before", "after", "comparison"),
    *(name for name in PLACES if name != "bound"),
    *("p_difference", "corrected_p_difference"),
    *EFFECTS,
    *("survivors_effect", "changes"),
]


def claims_table(judged: Sequence[Judged], evidence: Evidence) -> pd.DataFrame:
    """Lay out one row per comparison and rung.

    Those on core decide (`headline` is 1); the same comparisons on other rungs decide nothing.
    """
    rows = []
    for each in judged:
        verdicts = {
            "verdict": each.decision.verdict,
            "lower_half": each.lower,
            "upper_half": each.upper,
        }
        tested = [member.tested for member in each.members]
        for member, found in zip(each.members, corrected(tested), strict=True):
            row = _row(each.claim, CORE, member, found, evidence)
            decides = member is deciding(each.claim, each.members, each.decision.leaning)
            rows.append(row | {"decides": int(decides)} | verdicts)
        if not each.members:
            rows.append(
                {"claim": each.claim.key, "statement": each.claim.statement, "headline": 1}
                | {"recipe": CORE, "result": "not run", "decides": 0}
                | verdicts
            )
    others = [rung for rung in RUNGS if rung != CORE]
    rows += [row for claim in CLAIMS for rung in others for row in _on_rung(claim, rung, evidence)]
    return pd.DataFrame(rows, columns=CLAIMS_COLUMNS)


def _on_rung(claim: Claim, rung: str, evidence: Evidence) -> list[dict[str, Any]]:
    """Lay out a claim's comparisons on another rung than core, as far as they were run there."""
    moved = [each for comparison in claim.comparisons if (each := comparison.on(rung)) is not None]
    members = compared(moved, evidence)
    results = corrected([member.tested for member in members])
    return [
        _row(claim, rung, member, result, evidence)
        for member, result in zip(members, results, strict=True)
    ]


def changes_table(changes: Sequence[Change], evidence: Evidence) -> pd.DataFrame:
    """Lay out one row per comparison of a claim and pair of rungs."""
    rows = []
    for change in changes:
        tested = change.tested
        effect = tested.effect if change.significant else NOTHING
        rows.append(
            {
                "claim": change.claim.key,
                "before": change.before,
                "after": change.after,
                "comparison": change.comparison.label,
                **_places(change.comparison, evidence),
                **_counts(tested),
                "p_difference": tested.p_difference,
                "corrected_p_difference": change.corrected,
                **_effects(tested, effect),
                "changes": int(change.significant),
            }
        )
    return pd.DataFrame(rows, columns=CHANGES_COLUMNS)


def _row(
    claim: Claim, recipe: str, member: Member, found: Corrected, evidence: Evidence
) -> dict[str, Any]:
    comparison, tested = member.comparison, member.tested
    return {
        "claim": claim.key,
        "statement": claim.statement,
        "headline": int(recipe == CORE),
        "recipe": recipe,
        "comparison": comparison.label,
        "kind": comparison.kind,
        **_places(comparison, evidence),
        **_counts(tested),
        **{name: getattr(tested, name) for name in P_VALUES},
        **{f"corrected_{name}": p for name, p in found.p_values.items()},
        **_effects(tested, tested.effect),
        "result": found.result,
    }


def _places(comparison: Comparison, evidence: Evidence) -> dict[str, Any]:
    """Say which networks are compared, and by which quantity."""
    sides = comparison.sides
    place: dict[str, Any] = {"dataset": "", "quantity": ""}
    place["table"] = "networks.csv" if sides else ""
    if isinstance(comparison, Interaction):
        (first, base), (second, other) = comparison.first, comparison.second
        sides = first, second
        place |= {"base_rates": _rates(base, evidence), "other_base_rates": _rates(other, evidence)}
    for prefix, side in zip(("", "other_"), sides, strict=False):
        place |= _cells(prefix, side, evidence)
    if isinstance(comparison, Difference | Interaction):
        quantity = comparison.quantity
        column = last_layer(evidence.networks, quantity.column)
        place |= {"quantity": column, "better": quantity.better, "lost": quantity.lost}
    elif isinstance(comparison, Matched):
        quantity, when = comparison.quantity, comparison.when(evidence)
        place |= {"table": "mechanism.csv", "quantity": f"{when}_{quantity.column}"}
        place |= {"better": quantity.better, "lost": "is left out"}
    elif isinstance(comparison, Shares | Bound):
        place |= {"quantity": comparison.event, "among": comparison.among}
    if isinstance(comparison, Bound):
        place["bound"] = comparison.bound
    elif isinstance(comparison, Shares):
        place["better"] = comparison.says
    return place


def _cells(prefix: str, side: Side, evidence: Evidence) -> dict[str, str]:
    names = dict.fromkeys(cell.dataset for cell in side)
    return {
        f"{prefix}dataset": " ".join(names),
        f"{prefix}recipes": " ".join(dict.fromkeys(cell.recipe for cell in side)),
        f"{prefix}rates": _rates(side, evidence),
        f"{prefix}seeds": "upper half" if side[0].upper_half else "all",
    }


def _rates(side: Side, evidence: Evidence) -> str:
    chosen = [evidence.rate(cell) for cell in side]
    return " ".join(dict.fromkeys(f"{rate:g}" for rate in chosen if rate is not None))


def _counts(tested: Tested) -> dict[str, Any]:
    size, other = tested.sizes
    return {
        "unit": "" if isinstance(tested, Stated) else tested.scale.unit,
        "margin": tested.scale.margin if isinstance(tested, Ranked | Counted) else np.nan,
        "n": size,
        "other_n": other,
        "arrangements": math.comb(size + other, size) if size and other else np.nan,
        "statistic": tested.statistic,
    }


def _effects(tested: Tested, effect: Effect) -> dict[str, float]:
    """Lay out an effect in the readers' unit, and in margins, positive as the claim says."""
    shown, gain = tested.scale.shown(effect), effect.times(1 / tested.scale.step)
    return {
        "effect": shown.value,
        "effect_low": shown.low,
        "effect_high": shown.high,
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "probability": effect.probability,
        "probability_low": effect.probability_low,
        "probability_high": effect.probability_high,
        "survivors_effect": tested.scale.readable(tested.survivors_effect()),
    }
