"""The gradient norm, step by step: through the first epoch, and around breakdowns."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.common.datasets import title
from stages.figures.rates import Rate, explained, legend, mark_losses, rates_of
from stages.figures.study import RunSteps, Study, of_dataset
from stages.figures.theme import WIDTH, Theme, captioned, log_axis, plain_logarithms

ABOVE = (
    "Above: median over the networks not yet lost, and over the steps up to the next point of the "
    "line."
)
BELOW = (
    "×: a network is lost (2×: two). Below: each line is one lost network; steps count from the "
    "one at which its breakdown began."
)
SENTENCES = (
    ("", ABOVE),
    ("lost", BELOW),
    ("exploded", "Those that explode run off the top."),
    ("", "Gradient norms are before any clipping."),
)
HIGHEST = 1e5
"""Upper limit of the axes around a breakdown: exploding values reach 10 to the power 38."""


def draw_first_epoch(
    axes: Axes, seeds: pd.DataFrame, steps: Sequence[tuple[Rate, RunSteps]], last: int
) -> None:
    """Draw one dataset's gradient norm by step, one line per rate.

    Args:
        axes: The axes to draw on.
        seeds: The networks of the dataset, one row each.
        steps: Each rate with its recorded steps.
        last: The first epoch's last step.
    """
    for rate, run in steps:
        norms = run.first_epoch.set_index("step")["gradient_norm"]
        axes.plot(norms, linewidth=1.2, **rate.line)
    log_axis(axes, ceiling=math.inf)
    axes.set_xscale("log")
    axes.set_xlim(1, max(2, last))
    plain_logarithms(axes.xaxis)
    early = seeds[seeds["lost_step"] <= last]
    mark_losses(axes, early, [rate for rate, _ in steps], "lost_step")
    axes.set_xlabel("step of the first epoch")
    axes.set_ylabel("gradient norm")


def draw_bursts(
    axes: Axes, quantity: str, label: str, steps: Sequence[tuple[Rate, RunSteps]], theme: Theme
) -> None:
    """Draw a quantity around breakdowns, one line per lost network; without any, say so."""
    for rate, run in steps:
        for _, burst in run.bursts.groupby("seed"):
            axes.plot(burst["step"], burst[quantity], linewidth=0.9, **rate.line)
    axes.set_ylabel(label)
    if axes.lines:
        axes.axvline(0, color=theme.muted, linestyle=":", linewidth=1, zorder=1.2)
        axes.set_xlabel("steps since the breakdown began")
        axes.margins(x=0)
        log_axis(axes, ceiling=HIGHEST)
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no network was lost", ha="center", transform=axes.transAxes)


def gradient(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's gradient norm through the first epoch and around breakdowns."""
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    steps = [(rate, study.steps[dataset, rate.role, rate.learning_rate]) for rate in rates]
    history = of_dataset(study.history, dataset)
    last = int(history.loc[history["epoch"] == 1, "step"].max())
    figure = Figure(figsize=(WIDTH, 6.0))
    panels = figure.subplot_mosaic([["epoch", "epoch"], ["loss", "norm"]])
    draw_first_epoch(panels["epoch"], seeds, steps, last)
    draw_bursts(panels["loss"], "loss", "loss of the batch (nats)", steps, theme)
    draw_bursts(panels["norm"], "gradient_norm", "gradient norm", steps, theme)
    legend(figure, rates, seeds, marks=False)
    caption = explained(seeds, *SENTENCES)
    captioned(figure, f"{title(dataset)}: gradient norm by step", caption, theme)
    return figure
