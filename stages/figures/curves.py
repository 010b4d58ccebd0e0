"""How training went, epoch by epoch."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.common.datasets import title
from stages.figures.rates import Rate, explained, legend, mark_losses, rates_of
from stages.figures.study import Study, of_dataset, until_lost
from stages.figures.theme import (
    WIDTH,
    Theme,
    accuracy_axis,
    captioned,
    epoch_axis,
    log_axis,
    seed_lines,
)

ROOM = 4
"""A logarithmic axis ends at most at this multiple of the largest first value or median of its
curves."""


class Panel(NamedTuple):
    """A quantity of the history, drawn by epoch."""

    column: str
    label: str
    logarithmic: bool = True
    """Whether the axis is logarithmic. The mean over seeds is then geometric."""


TRAIN_LOSS = Panel("train_loss", "training loss (nats)")
TEST_LOSS = Panel("test_loss", "test loss (nats)")
TEST_ACCURACY = Panel("test_accuracy", "test accuracy", logarithmic=False)
GRADIENT_NORM = Panel("gradient_norm_mean", "gradient norm (mean over steps)")
PANELS = (TRAIN_LOSS, TEST_LOSS, TEST_ACCURACY, GRADIENT_NORM)

LOST = "×: a network is lost (2×: two); its curves stop one epoch earlier."
CAPTION = (
    "Thick: mean over seeds (geometric on logarithmic axes). Thin: one seed each. "
    "The accuracy axis follows the logarithm of the error. Spikes may run off the top. "
    "Gradient norms are before any clipping."
)


def over_seeds(values: pd.Series, logarithmic: bool) -> pd.Series:
    """Average a quantity over the seeds.

    Args:
        values: One per epoch (the index) and seed.
        logarithmic: Whether the mean is geometric.

    Returns:
        One value per epoch in which any seed has one.
    """
    known = values[values > 0].map(math.log) if logarithmic else values.dropna()
    averaged = known.groupby(level="epoch").mean()
    return averaged.map(math.exp) if logarithmic else averaged


def draw_panel(
    axes: Axes, panel: Panel, history: pd.DataFrame, seeds: pd.DataFrame, rates: Sequence[Rate]
) -> None:
    """Draw one dataset's quantity by epoch: for each rate its seeds, and their mean."""
    running = until_lost(history, seeds)
    highest = []
    for rate in rates:
        rows = rate.rows(running)
        drawn = over_seeds(rows.set_index("epoch")[panel.column], panel.logarithmic)
        if not drawn.empty:
            highest += [drawn.iloc[0], drawn.median()]
        least = 0 if panel.logarithmic else -math.inf
        seed_lines(axes, rows, panel.column, rate.colour, above=least)
        axes.plot(drawn, marker=rate.marker, markersize=2.5, **rate.line)
    if panel.logarithmic:
        log_axis(axes, ceiling=ROOM * max(highest, default=math.inf))
    else:
        accuracy_axis(axes)
    mark_losses(axes, seeds, rates, "lost_epoch")
    epoch_axis(axes, 1, history["epoch"].max())
    axes.set_ylabel(panel.label)


def curves(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw how one dataset's training went, epoch by epoch, in four panels."""
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    epochs = of_dataset(study.history, dataset)
    figure = Figure(figsize=(WIDTH, 6.4))
    for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        draw_panel(axes, panel, epochs, seeds, rates)
    legend(figure, rates, seeds)
    caption = explained(seeds, ("lost", LOST), ("", CAPTION))
    captioned(figure, f"{title(dataset)}: training at each learning rate", caption, theme)
    return figure
