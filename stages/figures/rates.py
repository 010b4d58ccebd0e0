"""How one learning rate looks in every figure, and where it lies along an axis."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.figures.theme import Theme, rate_colour, width

SPREAD = 0.3
"""How far marks are spread to either side of their rate, as a share of the mean distance between
neighbouring rates."""
ENDS = 0.6
"""How far an axis reaches beyond its first and last rate, in the same unit."""
CROSS_LIFT, CROSS_ROW = 2, 9
"""Points from the top edge to the first row of crosses, and from one row to the next."""
TICK_INCHES = 0.38
"""Room for a rate's name below the axis."""
OUTCOME_MARKS: dict[str, dict[str, Any]] = {
    "trained": {"markersize": 3.6},
    "undertrained": {"markersize": 3.6, "fillstyle": "none"},
    "lost": {"markersize": 4.8, "marker": "x"},
}
EDGE = 1.2
"""Points: width of a mark's outline."""
MARKS = (
    ("", "Each mark is one network."),
    ("candidate", "◆: the candidate."),
    ("undertrained", "Hollow: undertrained."),
    ("lost", "×: lost."),
)
"""What `explained` says of marks."""


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

    @property
    def line(self) -> dict[str, Any]:
        """How `Axes.plot` draws the rate's line."""
        return {"color": self.colour, "linestyle": self.dashes, "label": self.name}

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Select this rate's rows of a table."""
        return table[(table["role"] == self.role) & (table["learning_rate"] == self.learning_rate)]

    def lost(self, seeds: pd.DataFrame) -> str:
        """Say how many of one dataset's networks were lost; the text is empty if none was."""
        lost = self.rows(seeds)["outcome"] == "lost"
        return f"{lost.sum()} of {len(lost)} lost" * bool(lost.any())


def rates_of(seeds: pd.DataFrame, theme: Theme) -> list[Rate]:
    """List every rate of the study, including the candidate, in increasing order."""
    grid = sorted(set(seeds.loc[seeds["role"] == "grid", "learning_rate"]))
    rates = [Rate("grid", rate, rate_colour(rate, grid, theme)) for rate in grid]
    candidate = seeds.loc[seeds["role"] == "candidate", "learning_rate"].unique()
    rates += [Rate("candidate", float(rate), theme.candidate) for rate in candidate]
    return sorted(rates, key=lambda rate: rate.learning_rate)


def explained(seeds: pd.DataFrame, *sentences: tuple[str, str]) -> str:
    """Join the sentences about a role, an outcome or a kind of loss that some network has.

    A sentence about "" is always told.
    """
    found = {"", *seeds["role"], *seeds["outcome"], *seeds["lost_how"]}
    return " ".join(sentence for kind, sentence in sentences if kind in found)


def key(rate: Rate, name: str, *, marks: bool = True) -> Line2D:
    """Make a rate's entry for a legend: its line, with or without marks."""
    return Line2D(
        [],
        [],
        color=rate.colour,
        linestyle=rate.dashes,
        marker=rate.marker if marks else "None",
        markersize=4,
        label=name,
    )


def legend(
    figure: Figure, rates: Iterable[Rate], seeds: pd.DataFrame, *, marks: bool = True
) -> None:
    """Add a legend of the rates to the right of the panels, with one dataset's counts of the lost.

    Args:
        figure: The figure to draw on.
        rates: The rates to name; the legend lists the last one first.
        seeds: The networks of one dataset, one row each.
        marks: Whether the rates' lines have marks.
    """
    figure.legend(
        handles=[
            key(rate, f"{rate.name}\n{rate.lost(seeds)}".strip(), marks=marks)
            for rate in reversed(list(rates))
        ],
        title="learning rate",
        alignment="left",
        loc="outside right upper",
    )


def mark_losses(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate], column: str) -> None:
    """Put crosses above the top edge where networks were lost, one row of crosses per rate.

    Args:
        axes: The axes to draw on.
        seeds: The networks of one dataset, one row each.
        rates: All rates of the study.
        column: When a network was lost, in the unit of the x axis.
    """
    losses = [(rate, rate.rows(seeds)[column].value_counts()) for rate in rates]
    rows = [(rate, counts) for rate, counts in losses if not counts.empty]
    for row, (rate, counts) in enumerate(rows):
        for when, count in counts.items():
            axes.annotate(
                f"{count}×" if count > 1 else "×",
                (float(str(when)), 1),
                (0, CROSS_LIFT + CROSS_ROW * row),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=9,
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
    """Make x the learning rate: one tick per rate, with its name where there is room.

    A name without room moves to a second line, and is left out if it has no room there either. The
    candidate's name is always on the second line.
    """
    positions = places(rates)
    beyond = ENDS * mean_gap(positions)
    left, right = min(positions.values()) - beyond, max(positions.values()) + beyond
    axes.set_xlim(left, right)
    room = TICK_INCHES * (right - left) / width(axes)
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
    """Draw a quantity against the learning rate: one mark per network.

    A network without a value has its mark on the bottom edge. A line joins the means over the
    grid's networks that trained.

    Args:
        axes: The axes to draw on.
        seeds: The networks of one dataset, one row each.
        rates: All rates of the study.
        theme: Its muted colour is used for the line.
        column: The quantity to draw, a column of the seeds' table.
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
            known, missing = marks.dropna(subset=column), marks[marks[column].isna()]
            if not known.empty:
                axes.plot(known["across"], known[column], **mark(rate, str(outcome)))
            for across in missing["across"]:
                edge = axes.get_xaxis_transform()
                axes.plot([across], [0], transform=edge, clip_on=False, **mark(rate, str(outcome)))
        if not rate.is_candidate:
            averages[middle] = rows.loc[rows["outcome"] == "trained", column].mean()
    axes.plot(list(averages), list(averages.values()), color=theme.muted, linewidth=1, zorder=1.5)
    rate_axis(axes, rates)


def mark(rate: Rate, outcome: str) -> dict[str, Any]:
    """Choose the settings with which `Axes.plot` marks a rate's networks of one outcome."""
    return {
        "marker": rate.marker,
        "color": rate.colour,
        "label": rate.name,
        "linestyle": "none",
        "markeredgewidth": EDGE,
        **OUTCOME_MARKS[outcome],
    }
