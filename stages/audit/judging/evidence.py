"""What verdicts are made of: the evidence, the findings, and how comparisons add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import pandas as pd

from stages.audit.judging.comparison import LEVEL
from stages.audit.judging.ladder_order import rungs
from stages.audit.training.parameters import Audit
from stages.training.parameters import Training

Direction = Literal["better", "worse", "unclear"]


class Verdict(StrEnum):
    """What becomes of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    MIXED = "mixed"
    UNTESTABLE = "not testable here"


@dataclass(frozen=True)
class Finding:
    """A verdict and what it rests on."""

    verdict: Verdict
    result: str
    """The figures."""
    test: str
    """How they were compared, over how many seeds, and what could have been seen at all."""


@dataclass(frozen=True)
class Evidence:
    """The audit's tables, and which recipes bear on what."""

    ladder: pd.DataFrame
    """As `stages.audit.ladder.ladder_table` lays it out."""
    boundary: pd.DataFrame
    """As `stages.audit.ladder.boundary_table` lays it out."""
    rungs: Sequence[str]
    """In the order of the ladder, core among them."""
    clipped: Sequence[str] = ()
    """Recipes that differ from core in clipping alone."""
    scheduled: Sequence[str] = ()
    """Recipes that differ from core in the schedule alone."""

    @classmethod
    def of(
        cls,
        ladder: pd.DataFrame,
        boundary: pd.DataFrame,
        audit: Audit,
        training: Training,
    ) -> "Evidence":
        """Find out which recipes differ from core in one thing alone."""
        clips, schedule = training.clip_norm, training.schedule.name
        plain = [
            (name, recipe)
            for name, recipe in audit.recipes.items()
            if name in audit.ladder
            and recipe.rates is None
            and recipe.start == "fresh"
            and recipe.normalization == "own"
        ]
        return cls(
            ladder,
            boundary,
            rungs(audit),
            [n for n, r in plain if r.clip_norm != clips and r.schedule == schedule],
            [n for n, r in plain if r.clip_norm == clips and r.schedule != schedule],
        )

    def rows(self, rung: str, dataset: str | None = None) -> pd.DataFrame:
        """Select a rung's networks, of one dataset or of all, that could begin.

        A carried network that is lost at its very first step was lost at an earlier rate, and says
        nothing of this one.
        """
        run = self._run(rung, dataset)
        return run[run["lost_step"] != 1]

    def table(self, rung: str, dataset: str, column: str) -> pd.DataFrame:
        """Lay out one quantity, one row per seed, one column per rate in increasing order.

        Every seed and rate that was run is there; the value of a network that could not begin is
        missing.
        """
        run = self._run(rung, dataset)
        begun = self.rows(rung, dataset)
        return begun.pivot(index="seed", columns="learning_rate", values=column).reindex(
            index=np.unique(run["seed"]), columns=np.unique(run["learning_rate"])
        )

    def _run(self, rung: str, dataset: str | None) -> pd.DataFrame:
        chosen = self.ladder["rung"] == rung
        if dataset is not None:
            chosen &= self.ladder["dataset"] == dataset
        return self.ladder[chosen]


def all_of(directions: Sequence[Direction]) -> Verdict:
    """Judge a claim about each of several comparisons."""
    if not directions or set(directions) == {"unclear"}:
        return Verdict.UNTESTABLE
    if set(directions) == {"better"}:
        return Verdict.SUPPORTED
    return Verdict.MIXED if "better" in directions else Verdict.REFUTED


def any_of(directions: Sequence[Direction]) -> Verdict:
    """Judge a claim that one of several comparisons may bear out."""
    better, worse = "better" in directions, "worse" in directions
    if better and worse:
        return Verdict.MIXED
    if better or worse:
        return Verdict.SUPPORTED if better else Verdict.REFUTED
    return Verdict.UNTESTABLE


def share(failing: Sequence[float]) -> Verdict:
    """Judge a claim that seeds fail, by the share of them that does at each of several rates."""
    if all(each >= 0.5 for each in failing):
        return Verdict.SUPPORTED
    return Verdict.REFUTED if not any(failing) else Verdict.MIXED


def direction(difference: float, p: float) -> Direction:
    """Tell which way a difference points, if it is significant."""
    if np.isnan(p) or p >= LEVEL:
        return "unclear"
    return "better" if difference > 0 else "worse"


def rates(table: pd.DataFrame) -> list[float]:
    """List the columns of a table of `Evidence.table`."""
    return [float(rate) for rate in table.columns.to_numpy(dtype=float)]
