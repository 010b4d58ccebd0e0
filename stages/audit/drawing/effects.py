"""The effects behind the verdicts, with their intervals: a forest plot, claim by claim."""

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from stages.figures.theme import WIDTH, Theme, headed, legend_below

ROW_INCHES, FRAME_INCHES = 0.175, 1.5
MOST = 50
"""The axis shows at most this many margins; an effect beyond is an arrow on its edge."""
TICKS = (-30, -10, -3, -1, 0, 1, 3, 10, 30)
LEAST, BEYOND = 3, 1.2
"""Margins that the axis shows at least; factor by which it exceeds the longest interval."""
LISTED = r"([\d.]+)(?:, [\d.]+)+ and ([\d.]+)"
"""A list of at least three numbers."""
ANY = "all"
NOTES = {
    ("steps_to_threshold", ANY): ", steps to the upper threshold",
    ("steps_to_lower_threshold", ANY): ", steps to the lower threshold",
    ("burst first", "lost"): ", share of the lost that had a burst",
    ("lost", "burst"): ", share lost of those with a burst",
    ("lost", ANY): ", share lost",
    ("learned", ANY): ", share that reach the threshold",
    ("matched_test_accuracy", ANY): ", test accuracy",
    ("matched_feature_sparsity", ANY): ", active features",
    ("last", ANY): ", after the last epoch",
}
"""(Quantity, or `last` if measured after the last epoch; among which networks) → what a label
adds."""
CAPTION = (
    "Mark and bar: the effect and its 95 % bootstrap interval, in margins: the smallest difference "
    "that matters (shaded); of a share with a bound, the distance from the bound, which lies at 0. "
    "Effects to the right support the claim; where it says that something "
    "depends, those on either side do. Beyond one margin the axis is "
    "logarithmic; an arrow lies off it, as where most networks of a cell are lost. A claim without "
    "marks rests on those above, or on no measurement."
)


class Look(NamedTuple):
    """How the effects of one kind of result are marked."""

    name: str
    results: tuple[str, ...]
    mark: str
    fill: Literal["full", "none"]
    colour: Callable[[Theme], str]

    def drawn(self, theme: Theme) -> dict[str, Any]:
        """How a mark is drawn, besides its shape."""
        colour = self.colour(theme)
        return {"color": colour, "fillstyle": self.fill, "markersize": 4.5, "label": self.name}


LOOKS = (
    Look(
        "as the claim says",
        ("better", "differs", "above", "so"),
        "o",
        "full",
        attrgetter("blue"),
    ),
    Look(
        "not as it says",
        ("worse", "not better", "below", "not so"),
        "s",
        "full",
        attrgetter("orange"),
    ),
    Look("equivalent", ("equivalent",), "D", "full", attrgetter("muted")),
    Look("open", (), "o", "none", attrgetter("muted")),
)
"""The last one is that of all other results."""


def look_of(result: str) -> Look:
    """Choose how the effects of a result are marked."""
    return next((look for look in LOOKS if result in look.results), LOOKS[-1])


def effects(claims: pd.DataFrame, theme: Theme) -> Figure:
    """Draw every comparison that decides a claim, under the claim and its verdict.

    A claim whose comparisons were all drawn for claims above shows only its verdict.

    Args:
        claims: Of claims.csv.
        theme: The colours to use.
    """
    rows = claims[claims["headline"] == 1]
    measured = rows.dropna(subset="gain")
    new = ~measured.duplicated(["comparison", "quantity", "among"])
    measured = measured[new.groupby(measured["statement"]).transform("any")]
    statements = rows.drop_duplicates("statement")
    lines = len(statements) + len(measured)
    figure = Figure(figsize=(WIDTH, ROW_INCHES * lines + FRAME_INCHES))
    axes = figure.subplots()
    limit = reach(measured)
    axes.set_xscale("symlog", linthresh=1, linscale=0.7)
    axes.axvspan(-1, 1, color=theme.grid, linewidth=0, zorder=0.5)
    axes.axvline(0, color=theme.muted, linewidth=1, zorder=1.2)
    labels: dict[int, str] = {}
    place = 0
    for claim in statements.itertuples():
        head(axes, place, str(claim.statement), str(claim.verdict), theme)
        place += 1
        for _, row in measured[measured["statement"] == claim.statement].iterrows():
            draw_effect(axes, place, row, limit, theme)
            labels[place] = label(row)
            place += 1
    axes.set_ylim(lines - 0.4, -0.6)
    axes.set_yticks(list(labels), list(labels.values()), fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(-limit, limit)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if abs(tick) <= limit]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda margins, _: f"{margins:g}".replace("-", "−"))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("effect (margins)")
    name_results(figure, set(measured["result"]), theme)
    headed(figure, "What decides each claim")
    return figure


def reach(rows: pd.DataFrame) -> float:
    """Choose where the axis ends, in margins on either side: wide enough for most effects."""
    ends = rows[["gain", "gain_low", "gain_high"]].abs().to_numpy()
    longest = ends[np.isfinite(ends)].max(initial=LEAST)
    return float(min(MOST, longest * BEYOND))


def head(axes: Axes, place: int, statement: str, verdict: str, theme: Theme) -> None:
    """Write a claim over its comparisons, and its verdict to the right."""
    across = blended_transform_factory(axes.figure.transFigure, axes.transData)
    behind = {"facecolor": theme.background, "edgecolor": "none", "pad": 1}
    styled: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "va": "center", "bbox": behind}
    axes.text(0.012, place, statement, transform=across, **styled).set_in_layout(False)
    axes.text(1, place, verdict, transform=axes.get_yaxis_transform(), ha="right", **styled)


def label(row: pd.Series) -> str:
    """Name a comparison, and its quantity where that is not obvious."""
    short = re.sub(LISTED, r"\1 to \2", str(row["comparison"]))
    quantity = str(row["quantity"])
    when = "last" if quantity.startswith("last_") else ""
    note = NOTES.get((quantity, str(row["among"])), NOTES.get((when or quantity, ANY), ""))
    return f"{short}{note}"


def draw_effect(axes: Axes, place: int, row: pd.Series, limit: float, theme: Theme) -> None:
    """Draw a comparison's effect and interval; an arrow where it lies off the axis."""
    look = look_of(row["result"])
    low, high = np.clip([row["gain_low"], row["gain_high"]], -limit, limit)
    axes.hlines(place, low, high, color=look.colour(theme), linewidth=1.4)
    value = float(row["gain"])
    arrow = ">" if value > 0 else "<"
    mark = arrow if abs(value) > limit else look.mark
    inside = np.clip(value, -limit, limit)
    axes.plot(inside, place, marker=mark, clip_on=False, zorder=3, **look.drawn(theme))


def name_results(figure: Figure, results: set[str], theme: Theme) -> None:
    """Name the looks of results below everything, under the caption."""
    found = {look_of(result) for result in results}
    handles = [
        Line2D([], [], marker=look.mark, **look.drawn(theme)) for look in LOOKS if look in found
    ]
    legend_below(figure, handles, CAPTION, theme, ncols=len(LOOKS))
