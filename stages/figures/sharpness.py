"""How sharply the training loss curves, epoch by epoch."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.figures import look
from stages.figures.look import Theme
from stages.figures.rates import Rate, rates_of
from stages.figures.study import Study, of_dataset

MOST_COLUMNS = 4
PANEL_HEIGHT, FRAME_HEIGHT = 1.75, 1.3
"""Inches: of a row of panels, and of what is around them."""
CAPTION = (
    "Sharpness: the largest eigenvalue of the Hessian of the training loss on a fixed sample; "
    "epoch 0: the start. Line: median over the seeds\n"
    "that have not exploded; band: smallest to largest. Dotted: 2 / learning rate, above which "
    "gradient descent with full batches is unstable\n"
    "where the loss is quadratic. Thin: the medians of the other rates."
)


def medians(diagnostics: pd.DataFrame, rate: Rate) -> pd.DataFrame:
    """Condense one dataset's sharpness at a rate to median, min and max over seeds, by epoch."""
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
        marker="o",
        markersize=2.5,
        label=rate.name,
    )
    level = 2 / rate.learning_rate
    axes.axhline(level, color=rate.colour, linestyle=":", linewidth=1.2, label=rate.name)


def sharpness(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's sharpness by epoch, a panel a rate."""
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    diagnostics = of_dataset(study.diagnostics, dataset)
    drawn = {rate: medians(diagnostics, rate) for rate in rates}
    rows = math.ceil(len(rates) / MOST_COLUMNS)
    columns = math.ceil(len(rates) / rows)
    figure = Figure(figsize=(look.WIDTH, rows * PANEL_HEIGHT + FRAME_HEIGHT))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, rate in zip(grid.flat, rates, strict=False):
        for other in rates:
            axes.plot(drawn[other]["median"], color=theme.muted, linewidth=0.5, alpha=0.6)
        draw_sharpness(axes, rate, drawn[rate])
        fate = rate.fate(seeds)
        axes.set_title(
            rate.name + f", {fate}" * bool(fate), color=rate.colour, fontsize=9, fontweight="bold"
        )
    look.log_axis(grid[0, 0], ceiling=math.inf)
    look.epoch_axis(grid[0, 0], 0, diagnostics["epoch"].max())
    for axes in grid.flat[len(rates) :]:
        axes.set_axis_off()
    for axes in np.ravel(grid):
        axes.set_xlabel("epoch" if axes.get_subplotspec().is_last_row() else "")
    for axes in grid[:, 0]:
        axes.set_ylabel("sharpness")
    look.headed(figure, f"{look.title(dataset)}: sharpness by epoch, a panel a learning rate")
    look.captioned(figure, CAPTION, theme)
    return figure
