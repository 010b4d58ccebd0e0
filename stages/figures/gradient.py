"""The gradient norm, step by step: through the first epoch, and before an explosion."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.figures import look
from stages.figures.look import Theme
from stages.figures.rates import Rate, legend, mark_explosions, rates_of
from stages.figures.study import RunSteps, Study, of_dataset

PARTS = 60
"""Of the first epoch, equally long on a logarithmic axis; the earliest are a step each."""
BEFORE = 200
"""Steps shown before an explosion."""
CAPTION = (
    "Above: median over the seeds that have not exploded yet, and over the steps up to the next "
    "point of the line. ×: a seed explodes.\n"
    "Below: a line is one seed that exploded; 0 is the first step whose loss is not finite. "
    "Gradient norms are before any clipping."
)


def first_epoch(steps: RunSteps) -> pd.Series:
    """Condense the gradient norms of a run's first epoch, at steps numbered from 1."""
    norms = np.where(steps.running(), steps.gradient_norm, np.nan)[: steps.per_epoch]
    starts = np.unique(np.geomspace(1, len(norms) + 1, PARTS + 1).astype(int))[:-1]
    parts = np.split(norms, starts[1:] - 1)
    return pd.Series([pd.Series(part.ravel()).median() for part in parts], index=starts).dropna()


def before_explosions(steps: RunSteps, quantity: str) -> Iterator[pd.Series]:
    """Select a quantity's last steps before each explosion, at which the count is 0."""
    running = steps.running()
    for network in np.flatnonzero(~running[-1]):
        end = int(running[:, network].sum())
        start = max(0, end - BEFORE)
        values = getattr(steps, quantity)[start:end, network]
        yield pd.Series(values, index=np.arange(start - end, 0))


def draw_first_epoch(
    axes: Axes, seeds: pd.DataFrame, steps: Sequence[tuple[Rate, RunSteps]]
) -> None:
    """Draw one dataset's gradient norm by step, a line a rate."""
    for rate, run in steps:
        axes.plot(
            first_epoch(run),
            color=rate.colour,
            linestyle=rate.dashes,
            linewidth=1.2,
            label=rate.name,
        )
    look.log_axis(axes, ceiling=math.inf)
    last = max(run.per_epoch for _, run in steps)
    axes.set_xscale("log")
    axes.set_xlim(1, last)
    look.plain_logarithms(axes.xaxis)
    mark_explosions(
        axes, seeds[seeds["diverged_step"] <= last], [rate for rate, _ in steps], "diverged_step"
    )
    axes.set_xlabel("step of the first epoch")
    axes.set_ylabel("gradient norm")


def draw_explosions(
    axes: Axes, quantity: str, label: str, steps: Sequence[tuple[Rate, RunSteps]]
) -> None:
    """Draw a quantity by steps before an explosion, a line a seed, or say that none exploded."""
    for rate, run in steps:
        for values in before_explosions(run, quantity):
            axes.plot(
                values,
                color=rate.colour,
                linestyle=rate.dashes,
                linewidth=1,
                label=rate.name,
            )
    axes.set_ylabel(label)
    axes.set_xlabel("steps before the loss is not finite")
    if axes.lines:
        axes.set_xlim(right=0)
        axes.margins(x=0)
        look.log_axis(axes, ceiling=math.inf)
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no seed exploded", ha="center", transform=axes.transAxes)


def gradient(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's gradient norm through the first epoch and before explosions."""
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    steps = [(rate, study.steps[dataset, rate.role, rate.learning_rate]) for rate in rates]
    figure = Figure(figsize=(look.WIDTH, 6.0))
    panels = figure.subplot_mosaic([["epoch", "epoch"], ["loss", "norm"]])
    draw_first_epoch(panels["epoch"], seeds, steps)
    draw_explosions(panels["loss"], "loss", "loss of the batch (nats)", steps)
    draw_explosions(panels["norm"], "gradient_norm", "gradient norm", steps)
    legend(figure, rates, seeds)
    look.headed(figure, f"{look.title(dataset)}: gradient norm by step")
    look.captioned(figure, CAPTION, theme)
    return figure
