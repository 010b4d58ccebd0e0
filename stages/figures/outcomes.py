"""How networks end, against the learning rate."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stages.figures import look
from stages.figures.look import Theme
from stages.figures.rates import Rate, mean_gap, places, rate_axis, rates_of
from stages.figures.study import OUTCOMES, Study, of_dataset

FULLNESS = 0.8
"""Greatest width of a bar, as a share of the distance to its nearest neighbour."""
COMMON = 0.6
"""Width of a bar that has room, as a share of the mean distance."""
LETTER_INCHES = 0.12
"""Room for a number inside a bar."""
CAPTION = (
    "A bar is one rate, a number the seeds that ended so. Exploded: a step's loss was not finite. "
    "Collapsed: always finite, yet the last epoch's\n"
    "training accuracy is below the bound in params.yaml. Trained: the others. "
    "◆: the candidate."
)


def bar_width(position: float, positions: dict[float, float]) -> float:
    """Choose a bar's width: the common one, less where a neighbour is close."""
    others = [abs(position - other) for other in positions.values() if other != position]
    return min([COMMON * mean_gap(positions), *(FULLNESS * away for away in others)])


def draw_outcomes(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate], theme: Theme) -> None:
    """Draw the share of one dataset's seeds with each outcome, stacked, a bar a rate."""
    rate_axis(axes, rates)
    left, right = axes.get_xlim()
    room = LETTER_INCHES * (right - left) / look.width(axes)
    positions = places(rates)
    for rate in rates:
        ended = rate.rows(seeds)["outcome"]
        position = positions[rate.learning_rate]
        width = bar_width(position, positions)
        below = 0.0
        for outcome, colour in zip(OUTCOMES, theme.outcomes, strict=True):
            count = int((ended == outcome).sum())
            share = count / len(ended)
            axes.bar(position, share, width, below, color=colour, linewidth=0)
            if count and width > room:
                axes.text(
                    position,
                    below + share / 2,
                    str(count),
                    ha="center",
                    va="center_baseline",
                    fontsize=8,
                    color=look.readable_on(colour, theme),
                )
            below += share
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    axes.set_ylabel("seeds")


def name_outcomes(axes: Axes, theme: Theme) -> None:
    """Name the outcomes beside the bars, in the order in which they are stacked."""
    named = zip(OUTCOMES, theme.outcomes, strict=True)
    axes.legend(
        handles=[Patch(color=colour, label=outcome) for outcome, colour in named],
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        handlelength=0.9,
        handleheight=0.9,
        reverse=True,
    )


def outcomes(study: Study, theme: Theme) -> Figure:
    """Draw how runs end at each learning rate, the datasets side by side."""
    rates = rates_of(study.seeds, theme)
    figure = Figure(figsize=(look.WIDTH, 3.2))
    columns = figure.subplots(1, len(study.datasets), squeeze=False)[0]
    for axes, dataset in zip(columns, study.datasets, strict=True):
        draw_outcomes(axes, of_dataset(study.seeds, dataset), rates, theme)
        axes.set_title(look.title(dataset), fontweight="bold")
    for axes in columns[1:]:
        axes.set_ylabel("")
    name_outcomes(columns[-1], theme)
    look.headed(figure, "How training ends, by learning rate")
    look.captioned(figure, CAPTION, theme)
    return figure
