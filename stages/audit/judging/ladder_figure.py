"""The audit's ladder: final accuracy against the learning rate, one panel per rung."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.figures.accuracy import CHANCE, draw_accuracy
from stages.figures.rates import Rate, places, rates_of
from stages.figures.theme import WIDTH, Theme, captioned, headed, unnamed_below

COLUMNS = 3
PANEL_INCHES = 2.35
CAPTION = (
    "A mark is one network, its colour the rate. Hollow: undertrained. ×: lost; on the bottom "
    "edge, exploded. Line: mean of the networks that trained. Squares: the notebook's own output, "
    "at chance where it was nan. The accuracy axis follows the logarithm of the error."
)


def ladder(
    rows: pd.DataFrame,
    titles: Mapping[str, str],
    notebook: Mapping[float, float | None],
    heading: str,
    theme: Theme,
) -> Figure:
    """Draw one dataset's rungs, each in a panel.

    Args:
        rows: One row per rung, learning rate and seed, with outcome, lost_how and test_accuracy.
        titles: Rung → title, in the order of the panels; the first is held against the notebook.
        notebook: Learning rate → its test accuracy, None for nan; may be empty.
        heading: The figure's title.
        theme: Its colours.
    """
    grid = [rows.loc[rows["rung"] == rung, "learning_rate"] for rung in titles]
    shared = set.intersection(*(set(rates) for rates in grid))
    shown = rows[rows["learning_rate"].isin(shared)].assign(role="grid")
    rates = rates_of(shown, theme)
    lines = math.ceil(len(titles) / COLUMNS)
    figure = Figure(figsize=(WIDTH, PANEL_INCHES * lines + 0.8))
    panels = figure.subplots(lines, COLUMNS, squeeze=False, sharey=True)
    for axes in panels.flat[len(titles) :]:
        axes.set_visible(False)
    for number, (axes, (rung, title)) in enumerate(zip(panels.flat, titles.items(), strict=False)):
        draw_accuracy(axes, shown[shown["rung"] == rung], rates, theme)
        axes.set_title(f"{number + 1}  {title}")
        if number % COLUMNS:
            axes.set_ylabel("")
        if number + COLUMNS < len(titles):
            unnamed_below(axes)
    draw_notebook(panels[0, 0], notebook, rates, theme)
    headed(figure, heading)
    captioned(figure, CAPTION, theme)
    return figure


def draw_notebook(
    axes: Axes, notebook: Mapping[float, float | None], rates: Sequence[Rate], theme: Theme
) -> None:
    """Mark the notebook's own results."""
    positions = places(rates)
    for rate, accuracy in notebook.items():
        if rate in positions:
            mark = Line2D(
                [positions[rate]],
                [CHANCE if accuracy is None else accuracy],
                marker="s",
                markersize=8,
                fillstyle="none",
                color=theme.text,
                markeredgewidth=1,
                linestyle="none",
                zorder=3,
            )
            axes.add_line(mark)
