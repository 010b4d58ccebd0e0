"""How networks end, against the learning rate."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stages.common.datasets import title
from stages.figures.rates import Rate, explained, mean_gap, places, rate_axis, rates_of
from stages.figures.study import Study, of_dataset
from stages.figures.theme import WIDTH, Theme, captioned, readable_on, width

ENDINGS = {
    "trained": "trained",
    "undertrained": "undertrained",
    "collapsed": "lost: collapsed",
    "exploded": "lost: exploded",
}
"""Outcome, or how a network was lost → its name in the legend. Bars stack them in this order."""
FULLNESS = 0.8
"""Greatest width of a bar, as a share of the distance to its nearest neighbour."""
COMMON = 0.6
"""Usual width of a bar, as a share of the mean distance between neighbouring rates."""
LETTER_INCHES = 0.12
"""Room for a number inside a bar."""
SENTENCES = {
    "": "Each bar is one rate (◆: the candidate); the numbers count networks.",
    "trained": "Trained: ended with at least half of the last training images classified "
    "correctly.",
    "undertrained": "Undertrained: never got that far, and never broke down.",
    "collapsed": "Collapsed: lost, its parameters still finite.",
    "exploded": "Exploded: lost, its parameters no longer finite.",
}


def ending(seeds: pd.DataFrame) -> pd.Series:
    """Say how each network ended: its outcome, or how it was lost."""
    return seeds["lost_how"].astype("str").fillna(seeds["outcome"])


def bar_width(position: float, positions: dict[float, float]) -> float:
    """Choose a bar's width: the common one, or less if a neighbour is close."""
    others = [abs(position - other) for other in positions.values() if other != position]
    return min([COMMON * mean_gap(positions), *(FULLNESS * away for away in others)])


def draw_outcomes(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate], theme: Theme) -> None:
    """Draw the share of one dataset's networks that ended in each way, one bar per rate."""
    rate_axis(axes, rates)
    left, right = axes.get_xlim()
    room = LETTER_INCHES * (right - left) / width(axes)
    positions = places(rates)
    for rate in rates:
        ended = ending(rate.rows(seeds))
        position = positions[rate.learning_rate]
        wide = bar_width(position, positions)
        below = 0.0
        for name, colour in zip(ENDINGS, theme.endings, strict=True):
            count = int((ended == name).sum())
            if not count:
                continue
            share = count / len(ended)
            axes.bar(position, share, wide, below, color=colour, linewidth=0)
            if wide > room:
                axes.text(
                    position,
                    below + share / 2,
                    str(count),
                    ha="center",
                    va="center_baseline",
                    fontsize=8,
                    color=readable_on(colour, theme),
                )
            below += share
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set_ylabel("networks")


def name_endings(axes: Axes, seeds: pd.DataFrame, theme: Theme) -> None:
    """Name the ways in which any network ended, in the order in which the bars stack them."""
    found = set(ending(seeds))
    named = zip(ENDINGS.items(), theme.endings, strict=True)
    axes.legend(
        handles=[
            Patch(color=colour, label=label) for (name, label), colour in named if name in found
        ],
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        handlelength=0.9,
        handleheight=0.9,
        reverse=True,
    )


def outcomes(study: Study, theme: Theme) -> Figure:
    """Draw how networks end at each learning rate, the datasets side by side."""
    rates = rates_of(study.seeds, theme)
    figure = Figure(figsize=(WIDTH, 3.2))
    columns = figure.subplots(1, len(study.datasets), squeeze=False)[0]
    for axes, dataset in zip(columns, study.datasets, strict=True):
        draw_outcomes(axes, of_dataset(study.seeds, dataset), rates, theme)
        axes.set_title(title(dataset), fontweight="bold")
    for axes in columns[1:]:
        axes.set_ylabel("")
    name_endings(columns[-1], study.seeds, theme)
    caption = explained(study.seeds, *SENTENCES.items())
    captioned(figure, "How training ends, by learning rate", caption, theme)
    return figure
