"""How sharply the training loss curves, epoch by epoch."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.common.datasets import title
from stages.figures.rates import Rate, rates_of
from stages.figures.study import Study, of_dataset, until_lost
from stages.figures.theme import WIDTH, Theme, captioned, epoch_axis, log_axis, seed_lines

MOST_COLUMNS = 4
PANEL_HEIGHT, FRAME_HEIGHT = 1.95, 1.3
"""Inches: the height of a row of panels, and that of everything around the panels."""
CAPTION = (
    "Sharpness: the largest eigenvalue of the Hessian of the training loss on a fixed sample; "
    "epoch 0: the start. Thick: median over the networks not yet lost. Thin: one seed each. "
    "Dotted: 2 / learning rate, above which gradient descent with full batches is unstable "
    "where the loss is quadratic. Grey: the medians of the other rates, for comparison."
)


def medians(diagnostics: pd.DataFrame, rate: Rate) -> pd.Series:
    """Take the median over seeds of one dataset's sharpness at a rate.

    Returns:
        One value per epoch in which any seed has a value above 0.
    """
    values = rate.rows(diagnostics).set_index("epoch")["sharpness"]
    return values[values > 0].groupby(level="epoch").median()


def draw_sharpness(axes: Axes, rate: Rate, diagnostics: pd.DataFrame) -> None:
    """Draw one dataset's sharpness at a rate by epoch, with the level 2 / rate."""
    seed_lines(axes, rate.rows(diagnostics), "sharpness", rate.colour, above=0)
    axes.plot(medians(diagnostics, rate), marker=rate.marker, markersize=2.5, **rate.line)
    level = 2 / rate.learning_rate
    axes.axhline(level, color=rate.colour, linestyle=":", linewidth=1.2, label=rate.name)
    axes.annotate(
        f"2 / {rate.learning_rate:g}",
        (1, level),
        (-2, 2),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        fontsize=7.5,
    )


def sharpness(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's sharpness by epoch, one panel per learning rate."""
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    diagnostics = until_lost(of_dataset(study.diagnostics, dataset), seeds)
    rows = math.ceil(len(rates) / MOST_COLUMNS)
    columns = math.ceil(len(rates) / rows)
    figure = Figure(figsize=(WIDTH, rows * PANEL_HEIGHT + FRAME_HEIGHT))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, rate in zip(grid.flat, rates, strict=False):
        for other in rates:
            if other != rate:
                grey = medians(diagnostics, other)
                axes.plot(grey, color=theme.muted, linewidth=0.5, alpha=0.6)
        draw_sharpness(axes, rate, diagnostics)
        name = ", ".join(filter(None, (rate.name, rate.lost(seeds))))
        axes.set_title(name, color=rate.colour, fontsize=9, fontweight="bold")
    log_axis(grid[0, 0], ceiling=math.inf)
    epoch_axis(grid[0, 0], 0, study.diagnostics["epoch"].max())
    for axes in grid.flat[len(rates) :]:
        axes.set_axis_off()
    for axes in np.ravel(grid):
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("epoch" if axes.get_subplotspec().is_last_row() else "")
    for axes in grid[:, 0]:
        axes.set_ylabel("sharpness")
    captioned(
        figure, f"{title(dataset)}: sharpness by epoch, one panel per learning rate", CAPTION, theme
    )
    return figure
