"""Active features against the training loss, along training: one line per arm of the mechanism."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.audit.judging.mechanism import ARMS
from stages.common.datasets import title
from stages.figures.theme import (
    WIDTH,
    Theme,
    from_zero,
    headed,
    legend_below,
    percent_axis,
    plain_logarithms,
    rate_colour,
)

NAMES = {
    "small": "{rate:g}",
    "large_1": "{rate:g} for 1 epoch, then {small:g}",
    "large_5": "{rate:g} for 5 epochs, then {small:g}",
    "large_10": "{rate:g} for 10 epochs, then {small:g}",
    "large": "{rate:g}",
    "smallest": "{rate:g}",
    "large_batch": "{rate:g}, larger batches: rate / batch as at {small:g}",
    "small_batch": "{rate:g}, smaller batches: rate / batch as at {large:g}",
}
"""Arm → its name in the legend; `rate` is its first rate, `small` and `large` those arms' rates."""
LOOKS: dict[str, tuple[Literal["-", "--", ":"], str]] = {
    "large_batch": ("--", "s"),
    "small_batch": (":", "s"),
}
"""Arm with batches of another size → dashes, and the mark at its end."""
USUAL: tuple[Literal["-"], str] = ("-", "o")
"""Those of all other arms."""
SIZE, NUMBER_SIZE = 9.5, 5
"""Points: of a mark, and of a number within."""
LONGEST = 1000
"""The loss axis has ticks only at powers of ten if its ends have at least this ratio."""
CAPTION = (
    "Line: medians over networks at each epoch with a lower training loss than all before, and at "
    "the last epoch, where the mark is; its bar: lowest to highest network. A number: epochs at "
    "the large rate. Colour: the current rate. Dotted: the training loss at which arms are "
    "compared. Lost networks are left out."
)


@dataclass(frozen=True)
class Colours:
    """The colour of an arm in each epoch: that of its rate."""

    rates: Mapping[str, float]
    """Arm → the rate it begins with."""
    grid: Sequence[float]
    """The core study's rates."""
    theme: Theme

    def at(self, arm: str, epoch: int) -> str:
        """Choose the colour in an epoch, counted from 1."""
        decayed = 0 < ARMS[arm] < epoch and "small" in self.rates
        rate = self.rates["small" if decayed else arm]
        return rate_colour(rate, self.grid, self.theme)

    def last(self, arm: str) -> str:
        """Choose the colour at the end."""
        return self.at(arm, ARMS[arm] + 1)


def mechanism(
    epochs: pd.DataFrame, networks: pd.DataFrame, grid: Sequence[float], theme: Theme
) -> Figure:
    """Draw how loss and active features go together as training goes on, a panel per dataset.

    Args:
        epochs: Of epochs.csv.
        networks: Of mechanism.csv.
        grid: The core study's rates, for the colours.
        theme: The colours to use.
    """
    datasets = list(networks["dataset"].unique())
    alive = networks.loc[networks["outcome"] != "lost", ["dataset", "recipe", "seed"]]
    kept = epochs.merge(alive, on=list(alive.columns))
    colours = Colours(first_rates(kept), grid, theme)
    figure = Figure(figsize=(WIDTH, 5))
    panels = figure.subplots(1, len(datasets), squeeze=False, sharey=True)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        here = kept[kept["dataset"] == dataset]
        for arm in ARMS:
            if arm in set(here["recipe"]):
                draw_arm(axes, arm, here[here["recipe"] == arm], colours)
        limit = networks.loc[networks["dataset"] == dataset, "bound"].iloc[0]
        axes.axvline(limit, color=theme.muted, linestyle=":", linewidth=1, zorder=1.2)
        axes.set_xscale("log")
        axes.autoscale_view()
        plain_logarithms(axes.xaxis, longest=LONGEST)
        axes.invert_xaxis()
        axes.set_title(title(dataset), fontweight="bold")
        axes.set_xlabel("training loss (nats), falling →")
    from_zero(panels[0])
    percent_axis(panels[0])
    panels[0].set_ylabel("active features, last hidden layer")
    name_arms(figure, colours)
    headed(figure, "Do large steps leave few active features at the same training loss?")
    return figure


def draw_arm(axes: Axes, arm: str, rows: pd.DataFrame, colours: Colours) -> None:
    """Draw the medians of one arm's networks, in the colour of the rate of each epoch."""
    values = rows.groupby("epoch")[["train_loss", "feature_sparsity"]]
    points = values.median().dropna()
    points = points[falling(points["train_loss"])]
    path = points.to_numpy()
    colour = colours.last(arm)
    dashes, _ = LOOKS.get(arm, USUAL)
    segments = np.stack([path[:-1], path[1:]], axis=1)
    if dashes == "-":
        by_epoch = [colours.at(arm, epoch) for epoch in points.index[1:]]
        axes.add_collection(LineCollection(list(segments), colors=by_epoch, label=arm))
    else:
        axes.plot(*path.T, color=colour, linestyle=dashes, label=arm)
    axes.update_datalim(path)
    last = rows.loc[rows["epoch"] == rows["epoch"].max(), "feature_sparsity"]
    axes.vlines(path[-1, 0], last.min(), last.max(), color=colour, linewidth=1)
    for end in ends(arm, colour, colours.theme):
        end.set(xdata=path[-1:, 0], ydata=path[-1:, 1], linestyle="none", label=arm, zorder=3)
        axes.add_line(end)


def falling(losses: pd.Series) -> pd.Series:
    """Select the epochs with a lower loss than all before, and the last.

    A line through all epochs would zigzag where the loss jumps.
    """
    kept = losses == losses.cummin()
    kept.iloc[-1:] = True
    return kept


def ends(arm: str, colour: str, theme: Theme) -> tuple[Line2D, ...]:
    """Make the mark at an arm's end, and the number of its epochs at the large rate within."""
    dashes, mark = LOOKS.get(arm, USUAL)
    end = Line2D([], [], color=colour, linestyle=dashes, marker=mark, markersize=SIZE)
    if mark == "s":
        end.set(fillstyle="none", markeredgewidth=1.6)
    if not ARMS[arm]:
        return (end,)
    number: dict[str, Any] = {"marker": rf"$\mathbf{{{ARMS[arm]}}}$", "color": theme.background}
    size = NUMBER_SIZE * len(str(ARMS[arm])) ** 0.5
    return end, Line2D([], [], linestyle="none", markersize=size, markeredgewidth=0.2, **number)


def name_arms(figure: Figure, colours: Colours) -> None:
    """Name the arms below everything, under the caption."""
    names = named(colours.rates, ARMS)
    handles = [ends(arm, colours.last(arm), colours.theme) for arm in names]
    labels = [*names.values()]
    legend_below(figure, handles, CAPTION, colours.theme, labels=labels, ncols=2, handlelength=3)


def first_rates(epochs: pd.DataFrame) -> dict[str, float]:
    """Look up the learning rate that each arm begins with.

    Args:
        epochs: Of epochs.csv.
    """
    first = epochs.groupby("recipe")["learning_rate"].first()
    return {str(arm): float(rate) for arm, rate in first.items()}


def named(rates: Mapping[str, float], arms: Iterable[str]) -> dict[str, str]:
    """Name those of the arms that have a first rate by it."""
    known = {arm: rates.get(arm, np.nan) for arm in ("small", "large")}
    return {arm: NAMES[arm].format(rate=rates[arm], **known) for arm in arms if arm in rates}
