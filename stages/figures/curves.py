"""How training went, epoch by epoch."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.figures import look
from stages.figures.look import Theme
from stages.figures.rates import Rate, legend, mark_explosions, rates_of
from stages.figures.study import WHICH_NETWORK, Study, of_dataset

ROOM = 4
"""A logarithmic axis ends at so many times what its highest curve starts at or mostly is at."""


class Panel(NamedTuple):
    """A quantity of the history, drawn by epoch."""

    column: str
    label: str
    logarithmic: bool = True
    """Over the seeds, the mean is then geometric."""


TRAIN_LOSS = Panel("train_loss", "training loss (nats)")
TEST_LOSS = Panel("test_loss", "test loss (nats)")
TEST_ACCURACY = Panel("test_accuracy", "test accuracy", logarithmic=False)
GRADIENT_NORM = Panel("gradient_norm_mean", "gradient norm (mean over steps)")
PANELS = (TRAIN_LOSS, TEST_LOSS, TEST_ACCURACY, GRADIENT_NORM)

CAPTION = (
    "Line: mean over seeds (geometric on logarithmic axes). Band: smallest to largest seed. "
    "×: a seed explodes; its curves end the epoch before.\n"
    "The accuracy axis follows the logarithm of the error. Spikes may run off the top. "
    "Gradient norms are before any clipping."
)


def until_explosion(history: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """Drop a network's epochs from the one it exploded in: what follows measures nothing."""
    fates = seeds[[*WHICH_NETWORK, "diverged_epoch"]]
    joined = history.merge(fates, on=WHICH_NETWORK, validate="many_to_one")
    return joined[~(joined["epoch"] >= joined["diverged_epoch"])]


def over_seeds(values: pd.Series, logarithmic: bool) -> pd.DataFrame:
    """Condense a quantity, indexed by epoch with a row a seed, to its mean and range an epoch.

    Returns:
        Columns mean, min and max; the epochs in which a seed at least has a value.
    """
    known = values[values > 0].map(math.log) if logarithmic else values.dropna()
    condensed = known.groupby(level="epoch").agg(["mean", "min", "max"])
    return condensed.map(math.exp) if logarithmic else condensed


def draw_panel(
    axes: Axes, panel: Panel, history: pd.DataFrame, seeds: pd.DataFrame, rates: Sequence[Rate]
) -> None:
    """Draw one dataset's quantity by epoch: a rate's mean over its seeds, and their range."""
    running = until_explosion(history, seeds)
    highest = []
    for rate in rates:
        values = rate.rows(running).set_index("epoch")[panel.column]
        drawn = over_seeds(values, panel.logarithmic)
        if not drawn.empty:
            highest += [drawn["mean"].iloc[0], drawn["mean"].median()]
        axes.fill_between(
            drawn.index, drawn["min"], drawn["max"], color=rate.colour, alpha=0.18, linewidth=0
        )
        axes.plot(
            drawn["mean"],
            color=rate.colour,
            linestyle=rate.dashes,
            marker="o",
            markersize=2.5,
            label=rate.name,
        )
    if panel.logarithmic:
        look.log_axis(axes, ceiling=ROOM * max(highest, default=math.inf))
    else:
        look.accuracy_axis(axes)
    mark_explosions(axes, seeds, rates)
    look.epoch_axis(axes, 1, history["epoch"].max())
    axes.set_ylabel(panel.label)


def curves(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw how one dataset's training went, epoch by epoch, in four panels."""
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    epochs = of_dataset(study.history, dataset)
    figure = Figure(figsize=(look.WIDTH, 6.4))
    for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        draw_panel(axes, panel, epochs, seeds, rates)
    legend(figure, rates, seeds)
    look.headed(figure, f"{look.title(dataset)}: training at each learning rate")
    look.captioned(figure, CAPTION, theme)
    return figure
