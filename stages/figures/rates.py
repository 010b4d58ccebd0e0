"""One learning rate among the others: how it looks in every figure, and where along an axis."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.figures import look
from stages.figures.look import Theme

SPREAD = 0.22
"""How far seeds lie from their rate, as a share of the mean distance of two rates."""
ENDS = 0.6
"""How far an axis reaches beyond its first and last rate, in the same unit."""
CROSS_SPACING = 5
"""Points between the crosses of seeds that exploded at the same time."""
TICK_INCHES = 0.38
"""Room for a rate's name below the axis."""
OUTCOME_MARKS: dict[str, dict[str, Any]] = {
    "trained": {"markersize": 4.5},
    "collapsed": {"markersize": 4.5, "fillstyle": "none"},
    "exploded": {"markersize": 6, "marker": "x"},
}


@dataclass(frozen=True)
class Rate:
    """One learning rate of the grid, or the candidate, and how it looks everywhere."""

    role: str
    """grid or candidate."""
    learning_rate: float
    colour: str

    @property
    def is_candidate(self) -> bool:
        return self.role == "candidate"

    @property
    def dashes(self) -> Literal["-", "--"]:
        return "--" if self.is_candidate else "-"

    @property
    def marker(self) -> str:
        return "D" if self.is_candidate else "o"

    @property
    def name(self) -> str:
        return f"{self.learning_rate:g}" + " (candidate)" * self.is_candidate

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Select this rate's rows of a table."""
        return table[(table["role"] == self.role) & (table["learning_rate"] == self.learning_rate)]

    def fate(self, seeds: pd.DataFrame) -> str:
        """Say how many of one dataset's seeds exploded; nothing when none did."""
        exploded = self.rows(seeds)["outcome"] == "exploded"
        return f"{exploded.sum()} of {len(exploded)} exploded" * bool(exploded.any())


def rates_of(seeds: pd.DataFrame, theme: Theme) -> list[Rate]:
    """List every rate of the study, the candidate among them, from the smallest up."""
    grid = seeds.loc[seeds["role"] == "grid", "learning_rate"]
    rates = [Rate("grid", rate, colour) for rate, colour in look.colours(grid, theme).items()]
    candidate = seeds.loc[seeds["role"] == "candidate", "learning_rate"].unique()
    rates += [Rate("candidate", float(rate), theme.candidate) for rate in candidate]
    return sorted(rates, key=lambda rate: rate.learning_rate)


def key(rate: Rate, fate: str = "") -> Line2D:
    """Make a rate's entry for a legend."""
    return Line2D(
        [],
        [],
        color=rate.colour,
        linestyle=rate.dashes,
        marker=rate.marker,
        markersize=4,
        label=rate.name + f"\n{fate}" * bool(fate),
    )


def legend(figure: Figure, rates: Iterable[Rate], seeds: pd.DataFrame) -> None:
    """Name the rates to the right of everything, with how many of one dataset's seeds exploded."""
    figure.legend(
        handles=[key(rate, rate.fate(seeds)) for rate in reversed(list(rates))],
        title="learning rate",
        alignment="left",
        loc="outside right upper",
    )


def legend_below(figure: Figure, rates: Iterable[Rate], caption: str, theme: Theme) -> None:
    """Name the rates below everything, under a caption."""
    figure.legend(
        handles=[key(rate) for rate in rates],
        title=caption,
        title_fontproperties={"size": 8},
        alignment="left",
        loc="outside lower left",
        ncols=6,
    ).get_title().set(color=theme.muted, linespacing=1.4)


def mark_explosions(
    axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate], column: str = "diverged_epoch"
) -> None:
    """Put a cross on the top edge at the epoch in which each seed exploded, side by side.

    Args:
        axes: Where.
        seeds: One dataset's.
        rates: All of the study.
        column: When a seed exploded, in the unit of the x axis.
    """
    lost = [(rate, when) for rate in rates for when in rate.rows(seeds)[column].dropna()]
    for when, group in groupby(sorted(lost, key=itemgetter(1)), key=itemgetter(1)):
        crosses = list(group)
        aside = (np.arange(len(crosses)) - (len(crosses) - 1) / 2) * CROSS_SPACING
        for (rate, _), points in zip(crosses, aside, strict=True):
            axes.annotate(
                "×",
                (when, 1),
                (points, 0),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=11,
                fontweight="bold",
                color=rate.colour,
            )


def places(rates: Sequence[Rate]) -> dict[float, float]:
    """Place the rates along an axis: by their logarithm when they span more than a decade."""
    values = [rate.learning_rate for rate in rates]
    if max(values) > 10 * min(values):
        return {value: math.log10(value) for value in values}
    return {value: value for value in values}


def mean_gap(positions: dict[float, float]) -> float:
    """Compute the mean distance of two neighbours, 1 where there is only one position."""
    gaps = np.diff(sorted(positions.values()))
    return float(gaps.mean()) if len(gaps) else 1.0


def rate_axis(axes: Axes, rates: Sequence[Rate]) -> None:
    """Make x the learning rate: a tick each, its name where there is room, if need be lower.

    The candidate's is always lower.
    """
    positions = places(rates)
    beyond = ENDS * mean_gap(positions)
    left, right = min(positions.values()) - beyond, max(positions.values()) + beyond
    axes.set_xlim(left, right)
    room = TICK_INCHES * (right - left) / look.width(axes)
    lower_ones = [positions[rate.learning_rate] for rate in rates if rate.is_candidate]
    names, upper = [], -math.inf
    for rate in rates:
        position = positions[rate.learning_rate]
        if rate.is_candidate:
            names.append(f"\n◆ {rate.learning_rate:g}")
        elif position - upper >= room:
            names.append(f"{rate.learning_rate:g}")
            upper = position
        elif all(abs(position - lower) >= room for lower in lower_ones):
            names.append(f"\n{rate.learning_rate:g}")
            lower_ones.append(position)
        else:
            names.append("")
    axes.set_xticks([positions[rate.learning_rate] for rate in rates], names)
    for rate, label in zip(rates, axes.get_xticklabels(), strict=True):
        if rate.is_candidate:
            label.set(color=rate.colour, fontweight="bold")
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("learning rate")


def draw_seeds(
    axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate], theme: Theme, *, column: str
) -> None:
    """Draw a quantity against the learning rate: a mark a seed, on the bottom edge if missing.

    Args:
        axes: Where.
        seeds: One dataset's.
        rates: All of the study.
        theme: Its muted colour is that of the line through the means of the grid's seeds that
            trained.
        column: The quantity, of the seeds' table.
    """
    positions = places(rates)
    reach = SPREAD * mean_gap(positions)
    averages = {}
    for rate in rates:
        rows = rate.rows(seeds).sort_values("seed")
        middle = positions[rate.learning_rate]
        aside = np.linspace(-reach, reach, num=len(rows)) if len(rows) > 1 else 0
        rows = rows.assign(across=middle + aside)
        for outcome, marks in rows.groupby("outcome"):
            mark = {"marker": rate.marker} | OUTCOME_MARKS[str(outcome)]
            mark |= {"color": rate.colour, "linestyle": "none", "markeredgewidth": 1.6}
            known, missing = marks.dropna(subset=column), marks[marks[column].isna()]
            if not known.empty:
                axes.plot(known["across"], known[column], label=rate.name, **mark)
            for across in missing["across"]:
                edge = axes.get_xaxis_transform()
                axes.plot(across, 0, transform=edge, clip_on=False, label=rate.name, **mark)
        if not rate.is_candidate:
            averages[middle] = rows.loc[rows["outcome"] == "trained", column].mean()
    axes.plot(list(averages), list(averages.values()), color=theme.muted, linewidth=1, zorder=1.5)
    rate_axis(axes, rates)
