"""Draw the tables of metrics/ as figures, each in a light and a dark theme."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from stages.core import figures
from stages.core.datasets import CLASSES
from stages.core.errors import UserError, run
from stages.core.figures import Theme
from stages.core.files import whole_directory

CHANCE = 1 / CLASSES
LEAST_TOP = 0.5
"""Accuracy that the axis reaches even where every network failed."""
ROOM = 4
"""A logarithmic axis ends at so many times what its highest curve starts at or mostly is at."""
SPREAD = 0.22
"""How far seeds lie from their rate, as a share of the mean distance of two rates."""
TICK_INCHES = 0.3
"""Room for a rate's or an epoch's name below the axis."""
CROSS_SPACING = 5
"""Points between the crosses of seeds that diverged in the same epoch."""
WHICH_NETWORK = ["dataset", "role", "learning_rate", "seed"]


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

ACCURACY_CAPTION = (
    "A mark is one seed. ◆: the candidate. ×: a seed that diverged, counted below. "
    "Line: mean of the grid's seeds that did not diverge.\n"
    "The accuracy axis follows the logarithm of the error."
)
CURVES_CAPTION = (
    "Line: mean over seeds (geometric on logarithmic axes). Band: smallest to largest seed. "
    "×: a seed diverges; its curves end the epoch before.\n"
    "The accuracy axis follows the logarithm of the error. Spikes may run off the top. "
    "Gradient norms are before any clipping."
)
HEADLINE_CAPTION = (
    "Above: a mark is one seed, × one that diverged (counted below it); line: mean of the grid's "
    "others; the axis follows the logarithm of the error.\n"
    "Below: geometric mean over seeds, band from smallest to largest; ×: a seed diverges, its "
    "curve ends the epoch before; spikes may run off the top."
)

NEEDED = {
    "history": {*WHICH_NETWORK, "epoch", *(panel.column for panel in PANELS)},
    "seeds": {*WHICH_NETWORK, "diverged", "diverged_epoch", "test_accuracy"},
}
"""Table → the columns drawn."""


@dataclass(frozen=True)
class Rate:
    """One learning rate of the grid, or the candidate, and how it looks everywhere."""

    role: str
    """grid or candidate."""
    learning_rate: float
    colour: str

    @property
    def is_candidate(self) -> bool:
        return self.role == "candidate"

    @property
    def dashes(self) -> Literal["-", "--"]:
        return "--" if self.is_candidate else "-"

    @property
    def marker(self) -> str:
        return "D" if self.is_candidate else "o"

    @property
    def name(self) -> str:
        return f"{self.learning_rate:g}" + " (candidate)" * self.is_candidate

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Select this rate's rows of a table."""
        return table[(table["role"] == self.role) & (table["learning_rate"] == self.learning_rate)]

    def fate(self, seeds: pd.DataFrame) -> str:
        """Say how many of one dataset's seeds diverged; nothing when none did."""
        diverged = self.rows(seeds)["diverged"]
        return f"{diverged.sum()} of {len(diverged)} diverged" * bool(diverged.any())


def rates_of(seeds: pd.DataFrame, theme: Theme) -> list[Rate]:
    """List every rate of the study, the candidate among them, from the smallest up."""
    grid = seeds.loc[seeds["role"] == "grid", "learning_rate"]
    rates = [Rate("grid", rate, colour) for rate, colour in figures.colours(grid, theme).items()]
    candidate = seeds.loc[seeds["role"] == "candidate", "learning_rate"].unique()
    rates += [Rate("candidate", float(rate), theme.candidate) for rate in candidate]
    return sorted(rates, key=lambda rate: rate.learning_rate)


def of_dataset(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Select one dataset's rows."""
    return table[table["dataset"] == dataset]


def until_divergence(history: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """Drop a network's epochs from the one it diverged in: what follows measures nothing."""
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


def mark_divergences(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate]) -> None:
    """Put a cross on the top edge at the epoch in which each seed diverged, side by side."""
    lost = [
        (rate, epoch) for rate in rates for epoch in rate.rows(seeds)["diverged_epoch"].dropna()
    ]
    for epoch, group in groupby(sorted(lost, key=itemgetter(1)), key=itemgetter(1)):
        crosses = list(group)
        aside = (np.arange(len(crosses)) - (len(crosses) - 1) / 2) * CROSS_SPACING
        for (rate, _), points in zip(crosses, aside, strict=True):
            axes.annotate(
                "×",
                (epoch, 1),
                (points, 0),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=11,
                fontweight="bold",
                color=rate.colour,
            )


def draw_panel(
    axes: Axes, panel: Panel, history: pd.DataFrame, seeds: pd.DataFrame, rates: Sequence[Rate]
) -> None:
    """Draw one dataset's quantity by epoch: a rate's mean over its seeds, and their range."""
    running = until_divergence(history, seeds)
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
        figures.log_axis(axes, ceiling=ROOM * max(highest, default=math.inf))
    else:
        figures.accuracy_axis(axes)
    mark_divergences(axes, seeds, rates)
    axes.set_xlim(0.5, history["epoch"].max() + 0.5)
    most = round(figures.width(axes) / TICK_INCHES)
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(panel.label)


def places(rates: Sequence[Rate]) -> dict[float, float]:
    """Place the rates along an axis: by their logarithm when they span more than a decade."""
    values = [rate.learning_rate for rate in rates]
    if max(values) > 10 * min(values):
        return {value: math.log10(value) for value in values}
    return {value: value for value in values}


def draw_accuracy(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate], theme: Theme) -> None:
    """Draw one dataset's final test accuracy against the learning rate, a mark a seed."""
    positions = places(rates)
    gaps = np.diff(sorted(positions.values()))
    reach = SPREAD * (gaps.mean() if len(gaps) else 1.0)
    averages = {}
    for rate in rates:
        rows = rate.rows(seeds).sort_values("seed")
        middle = positions[rate.learning_rate]
        aside = np.linspace(-reach, reach, num=len(rows)) if len(rows) > 1 else 0
        rows = rows.assign(across=middle + aside)
        trained, diverged = rows[~rows["diverged"]], rows[rows["diverged"]]
        for marks, marker, size in ((trained, rate.marker, 4.5), (diverged, "x", 6)):
            axes.plot(
                marks["across"],
                marks["test_accuracy"],
                color=rate.colour,
                linestyle="none",
                marker=marker,
                markersize=size,
                markeredgewidth=1.6,
                label=rate.name,
            )
        if not diverged.empty:
            axes.annotate(
                f"{len(diverged)} of {len(rows)}",
                (middle, CHANCE),
                (0, -7),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
            )
        if not rate.is_candidate:
            averages[middle] = trained["test_accuracy"].mean()
    axes.plot(list(averages), list(averages.values()), color=theme.muted, linewidth=1, zorder=1.5)
    axes.axhline(CHANCE, color=theme.muted, linestyle=":", linewidth=1, zorder=1.2)
    axes.annotate(
        "chance",
        (1, CHANCE),
        (3, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=theme.muted,
    )
    axes.update_datalim([(middle, LEAST_TOP) for middle in positions.values()])
    axes.margins(y=0.15)
    figures.accuracy_axis(axes)
    name_rates(axes, positions, rates)
    axes.set_ylabel("final test accuracy")


def name_rates(axes: Axes, positions: dict[float, float], rates: Sequence[Rate]) -> None:
    """Put a tick at every rate; name those with room to, and the candidate a line lower."""
    left, right = axes.get_xlim()
    room = TICK_INCHES * (right - left) / figures.width(axes)
    names, nearest = [], -math.inf
    for rate in rates:
        position = positions[rate.learning_rate]
        if rate.is_candidate:
            names.append(f"\n◆ {rate.learning_rate:g}")
        elif position - nearest < room:
            names.append("")
        else:
            names.append(f"{rate.learning_rate:g}")
            nearest = position
    axes.set_xticks([positions[rate.learning_rate] for rate in rates], names)
    for rate, label in zip(rates, axes.get_xticklabels(), strict=True):
        if rate.is_candidate:
            label.set(color=rate.colour, fontweight="bold")
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("learning rate")


def key(rate: Rate, fate: str = "") -> Line2D:
    """Make a rate's entry for a legend."""
    return Line2D(
        [],
        [],
        color=rate.colour,
        linestyle=rate.dashes,
        marker=rate.marker,
        markersize=4,
        label=rate.name + f"\n{fate}" * bool(fate),
    )


def curves(history: pd.DataFrame, seeds: pd.DataFrame, dataset: str, theme: Theme) -> Figure:
    """Draw how one dataset's training went, epoch by epoch, in four panels."""
    rates, fates = rates_of(seeds, theme), of_dataset(seeds, dataset)
    epochs = of_dataset(history, dataset)
    figure = Figure(figsize=(figures.WIDTH, 6.4))
    for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        draw_panel(axes, panel, epochs, fates, rates)
    figure.legend(
        handles=[key(rate, rate.fate(fates)) for rate in reversed(rates)],
        title="learning rate",
        alignment="left",
        loc="outside right upper",
    )
    figures.headed(figure, f"{figures.title(dataset)}: training at each learning rate")
    figures.captioned(figure, CURVES_CAPTION, theme)
    return figure


def accuracy(seeds: pd.DataFrame, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's final test accuracy against the learning rate."""
    figure = Figure(figsize=(figures.WIDTH, 4.2))
    axes = figure.subplots()
    draw_accuracy(axes, of_dataset(seeds, dataset), rates_of(seeds, theme), theme)
    figures.headed(figure, f"{figures.title(dataset)}: final test accuracy by learning rate")
    figures.captioned(figure, ACCURACY_CAPTION, theme)
    return figure


def headline(history: pd.DataFrame, seeds: pd.DataFrame, theme: Theme) -> Figure:
    """Draw every dataset side by side: final test accuracy above, training loss below."""
    rates, datasets = rates_of(seeds, theme), list(seeds["dataset"].unique())
    figure = Figure(figsize=(figures.WIDTH, 6.2))
    columns = figure.subplots(2, len(datasets), squeeze=False).T
    for (above, below), dataset in zip(columns, datasets, strict=True):
        fates = of_dataset(seeds, dataset)
        draw_accuracy(above, fates, rates, theme)
        above.set_title(figures.title(dataset), fontweight="bold")
        draw_panel(below, TRAIN_LOSS, of_dataset(history, dataset), fates, rates)
    for axes in columns[1:].flat:
        axes.set_ylabel("")
    figure.legend(
        handles=[key(rate) for rate in rates],
        title=HEADLINE_CAPTION,
        title_fontproperties={"size": 8},
        alignment="left",
        loc="outside lower left",
        ncols=6,
    ).get_title().set_color(theme.muted)
    figures.headed(figure, "Final test accuracy and training loss, by learning rate")
    return figure


def read(folder: Path, name: str) -> pd.DataFrame:
    """Read one of the tables.

    Raises:
        UserError: It is absent, damaged or lacks a column.
    """
    path, remedy = folder / f"{name}.csv", "make it anew with: dvc repro --force aggregate"
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: make it with: dvc repro aggregate") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): {remedy}") from None
    absent = ", ".join(sorted(NEEDED[name] - set(table.columns)))
    if absent:
        raise UserError(f"{path} lacks the columns {absent}: {remedy}")
    return table


def draw(history: pd.DataFrame, seeds: pd.DataFrame, theme: Theme) -> dict[str, Figure]:
    """Draw every figure of the study in one theme, by name."""
    drawn = {"headline": headline(history, seeds, theme)}
    for dataset in seeds["dataset"].unique():
        drawn[f"{dataset}-curves"] = curves(history, seeds, dataset, theme)
        drawn[f"{dataset}-accuracy"] = accuracy(seeds, dataset, theme)
    return drawn


def main() -> None:
    """Read the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("figures", type=Path)
    arguments = parser.parse_args()
    history, seeds = read(arguments.metrics, "history"), read(arguments.metrics, "seeds")
    with whole_directory(arguments.figures) as draft:
        for theme in figures.THEMES:
            with figures.themed(theme):
                for name, figure in draw(history, seeds, theme).items():
                    figures.save(figure, draft / f"{name}-{theme.name}.png")


if __name__ == "__main__":
    run(main)
