"""Effects and intervals in words, in claims.md and on the page, also where an end is no number."""

import numpy as np
import pandas as pd
import pytest

from stages.audit.judging.sentences import with_interval
from stages.audit.judging.statistics import Effect
from stages.audit.judging.tested import Bounded, Ranked, Scale
from stages.report import verdicts

INF, LOG = np.inf, np.log
POINTS, STEPS = Scale("points", 1, 0.2), Scale("factor", -1, 1.1)


@pytest.mark.parametrize(
    ("scale", "ahead", "text"),
    [
        (POINTS, (0.5, 0.25, 1), "+0.50 points (+0.25 to +1.00)"),
        (POINTS, (INF, 0.2, INF), "most of the others are lost (+0.20 or more)"),
        (POINTS, (-INF, -INF, -0.3), "most are lost (−0.30 or less)"),
        (POINTS, (INF, INF, INF), "most of the others are lost"),
        (POINTS, (-INF, -INF, -INF), "most are lost"),
        (
            POINTS,
            (0.1, -INF, INF),
            "+0.10 points (most are lost to most of the others are lost)",
        ),
        (Scale("share", -1, 20), (45, 25, 65), "−45 points (−65 to −25)"),
        (Scale("margins", 1, 1), (1.26, -0.5, 2), "+1.3 margins (−0.5 to +2.0)"),
        (STEPS, (LOG(2), LOG(1.25), LOG(4)), "× 0.50 (× 0.25 to × 0.80)"),
        (STEPS, (INF, LOG(2), INF), "most of the others never get there (× 0.50 or less)"),
        (STEPS, (-INF, -INF, -LOG(2)), "most never get there (× 2.00 or more)"),
        (POINTS, (np.nan, np.nan, np.nan), "–"),
    ],
)
def test_an_effect_is_told_with_its_interval_as_far_as_that_is_known(
    scale: Scale, ahead: tuple[float, float, float], text: str
) -> None:
    none = np.array([])
    assert with_interval(Ranked(scale, none, none, none, none), Effect(*ahead)) == text


def test_a_bound_is_told_as_the_share_itself() -> None:
    # Wilson's interval of 5 in 20 is 11.2 % to 46.9 %.
    tested = Bounded(Scale("share", 1, 0), count=5, size=20, bound=0.25)
    assert with_interval(tested, tested.effect) == "5 of 20: 25 % (11 to 47 %)"


@pytest.mark.parametrize(
    ("unit", "bound", "ends", "effect", "interval"),
    [
        ("points", None, (0.5, 0.25, 1), "+0.50 points", "+0.25 to +1.00"),
        ("points", None, (INF, 0.2, INF), "most of one side are lost", "+0.20 or more"),
        ("points", None, (-INF, -INF, -0.3), "most of one side are lost", "−0.30 or less"),
        ("points", None, (0.1, -INF, INF), "+0.10 points", "–"),
        ("factor", None, (INF, 2, INF), "most of one side never get there", "× 2.00 or more"),
        ("factor", None, (0, 0, 0.9), "most of one side never get there", "× 0.90 or less"),
        ("margins", None, (-1.26, -2, 0.5), "−1.3 margins", "−2.0 to +0.5"),
        ("share", None, (-45, -65, -25), "−45 points", "−65 to −25"),
        ("share", 0.25, (20, -5, 40), "45 %", "20 to 65"),
        ("points", None, (np.nan, np.nan, np.nan), "–", "–"),
    ],
)
def test_the_page_tells_an_effect_and_its_interval_in_its_unit(
    unit: str, bound: float | None, ends: tuple[float, float, float], effect: str, interval: str
) -> None:
    names = ("effect", "effect_low", "effect_high")
    row = pd.Series({"unit": unit, "bound": bound} | dict(zip(names, ends, strict=True)))
    assert verdicts.effect(row) == effect
    assert verdicts.interval(row) == interval
