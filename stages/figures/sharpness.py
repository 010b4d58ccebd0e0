"""How sharply the training loss curves, epoch by epoch."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.figures.rates import Rate, rates_of
from stages.figures.study import Study, of_dataset, until_lost
from stages.figures.theme import WIDTH, Theme, captioned, epoch_axis, headed, log_axis, title

MOST_COLUMNS = 4
PANEL_HEIGHT, FRAME_HEIGHT = 1.75, 1.3
"""Inches: of a row of panels, and of what is around them."""
CAPTION = (
    "Sharpness: the largest eigenvalue of the Hessian of the training loss on a fixed sample; "
    "epoch 0: the start. Line: median over the networks not yet lost; band: smallest to largest. "
    "Dotted: 2 / learning rate, above which gradient descent with full batches is unstable "
    "where the loss is quadratic. Thin: the medians of the other rates."
)


def medians(diagnostics: pd.DataFrame, rate: Rate) -> pd.DataFrame:
    """Condense one dataset's sharpness at a rate to its median and range over seeds.

    Returns:
        Columns median, min and max, one row per epoch in which any seed has a value above 0.
    """
    values = rate.rows(diagnostics).set_index("epoch")["sharpness"]
    return values[values > 0].groupby(level="epoch").agg(["median", "min", "max"])


def draw_sharpness(axes: Axes, rate: Rate, drawn: pd.DataFrame) -> None:
    """Draw one rate's sharpness by epoch, with the level 2 / rate."""
    axes.fill_between(
        drawn.index, drawn["min"], drawn["max"], color=rate.colour, alpha=0.25, linewidth=0
    )
    axes.plot(
        drawn["median"],
        color=rate.colour,
        linestyle=rate.dashes,
        marker=rate.marker,
        markersize=2.5,
        label=rate.name,
    )
    level = 2 / rate.learning_rate
    axes.axhline(level, color=rate.colour, linestyle=":", linewidth=1.2, label=rate.name)


def sharpness(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's sharpness by epoch, one panel per learning rate."""
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    diagnostics = until_lost(of_dataset(study.diagnostics, dataset), seeds)
    drawn = {rate: medians(diagnostics, rate) for rate in rates}
    rows = math.ceil(len(rates) / MOST_COLUMNS)
    columns = math.ceil(len(rates) / rows)
    figure = Figure(figsize=(WIDTH, rows * PANEL_HEIGHT + FRAME_HEIGHT))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, rate in zip(grid.flat, rates, strict=False):
        for other in rates:
            if other != rate:
                axes.plot(drawn[other]["median"], color=theme.muted, linewidth=0.5, alpha=0.6)
        draw_sharpness(axes, rate, drawn[rate])
        name = ", ".join(filter(None, (rate.name, rate.lost(seeds))))
        axes.set_title(name, color=rate.colour, fontsize=9, fontweight="bold")
    log_axis(grid[0, 0], ceiling=math.inf)
    epoch_axis(grid[0, 0], 0, study.diagnostics["epoch"].max())
    for axes in grid.flat[len(rates) :]:
        axes.set_axis_off()
    for axes in np.ravel(grid):
        axes.set_xlabel("epoch" if axes.get_subplotspec().is_last_row() else "")
    for axes in grid[:, 0]:
        axes.set_ylabel("sharpness")
    headed(figure, f"{title(dataset)}: sharpness by epoch, one panel per learning rate")
    captioned(figure, CAPTION, theme)
    return figure
