"""Rates held against one of them, over the seeds that train at both."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stages.audit.judging.comparison import FEWEST_PAIRS, POWER, Comparison, holm, paired
from stages.audit.judging.evidence import Direction, direction


@dataclass(frozen=True)
class Wording:
    """How a compared quantity, of which more is better, is written."""

    level: Callable[[float], str]
    """A mean of it."""
    change: Callable[[float], str]
    """A difference of two means."""
    size: Callable[[float], str]
    """A difference without a sign."""
    success: str
    """What a seed with a value does."""


def against(
    values: pd.DataFrame,
    began: pd.DataFrame,
    base: float,
    others: Sequence[float],
    wording: Wording,
) -> tuple[dict[float, Direction], list[str], str]:
    """Hold rates against one of them, over the seeds that end trained at both.

    A rate at which fewer than half of the seeds do is worse. Neither of two rates is better where a
    seed fails that trains at the other: those that are left would speak for it.

    Args:
        values: (seeds, rates), more is better; missing where a seed failed.
        began: (seeds, rates), whether a network began; where too few did nothing is compared.
        base: What is held against, a column.
        others: Columns.
        wording: Of the quantity.

    Returns:
        The direction of each rate that was compared, the figures of all, and the test.
    """
    both = began[others].mul(began[base], axis=0)
    ends = values.notna()
    arrived = ends[others] & both
    enough = [rate for rate in others if both[rate].sum() >= FEWEST_PAIRS]
    tested = {
        rate: paired(values[base].where(both[rate]), values[rate].where(both[rate]))
        for rate in enough
        if 2 * arrived[rate].sum() >= both[rate].sum()
    }
    adjusted = dict(zip(tested, holm([each.p for each in tested.values()]), strict=True))
    directions: dict[float, Direction] = {}
    texts = [f"{base:g}: {wording.level(values[base].mean())}"]
    for rate in others:
        counts = f"{arrived[rate].sum()} of {both[rate].sum()} seeds {wording.success}"
        if rate not in enough:
            texts.append(f"{rate:g}: {both[rate].sum()} of {len(both)} seeds could begin")
        elif rate not in tested:
            directions[rate] = "worse"
            texts.append(f"{rate:g}: {counts}")
        else:
            lost = (ends[base] & ~ends[rate] & both[rate]).any()
            gained = (ends[rate] & ~ends[base] & both[rate]).any()
            found = direction(tested[rate].difference, adjusted[rate])
            directions[rate] = "unclear" if {"better": lost, "worse": gained}.get(found) else found
            mean = wording.level(values.loc[ends[base] & arrived[rate], rate].mean())
            change = f"({wording.change(tested[rate].difference)}, {p_text(adjusted[rate])})"
            all_there = arrived[rate].sum() == both[rate].sum()
            texts.append(f"{rate:g}: {mean} {change}" + ("" if all_there else f", {counts}"))
    return directions, texts, paired_test_text(tested.values(), wording.size)


def paired_test_text(comparisons: Iterable[Comparison], shown: Callable[[float], str]) -> str:
    """Tell how pairs were compared, and what could have been seen before Holm's correction."""
    known = [each for each in comparisons if not np.isnan(each.p)]
    if not known:
        return "none: too few pairs"
    pairs = sorted({each.pairs for each in known})
    span = f"{pairs[0]}" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
    sizes = sorted(each.detectable for each in known)
    seen = shown(sizes[0]) if len(sizes) == 1 else f"{shown(sizes[0])} to {shown(sizes[-1])}"
    method = "paired t-test" + ", p by Holm" * (len(known) > 1)
    return f"{method}, {span} pairs; power of {100 * POWER:.0f} % for {seen}"


def p_text(value: float) -> str:
    """Write a p value."""
    if np.isnan(value):
        return "no test"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
