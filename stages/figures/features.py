"""Features of the hidden layers: sparsity and rank, against the rate and the training loss."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.common.datasets import title
from stages.common.tables import OUTCOMES
from stages.figures.rates import MARKS, Rate, draw_seeds, explained, mark, rates_of
from stages.figures.study import RANK, SPARSITY, Study, of_dataset
from stages.figures.theme import (
    WIDTH,
    Theme,
    captioned,
    from_zero,
    headed,
    legend_below,
    percent_axis,
    plain_logarithms,
    reference,
    width,
)

QUANTITIES = {SPARSITY: "active features", RANK: "effective rank"}
LAYER_HEIGHT, FRAME_HEIGHT = 2.4, 1.5
"""Inches: the height of a row of panels, and that of everything around the panels."""
DECADE_INCHES = 1.2
"""Width of a decade that has room for the numbers of three ticks."""
FEWEST = 3
"""With fewer networks a rank correlation says nothing."""
EXPLODED = "On the bottom edge: it exploded and left nothing to measure."
FEATURES_CAPTION = (
    "Measured after the last epoch. Line: mean over the grid's networks that trained. Dotted: "
    "before training, median over seeds. Active features: the share of positive "
    "activations of units that fire and duplicate no other; lower is sparser. Effective rank: "
    "roughly the number of independent directions in the activations."
)
PLATEAU_CAPTION = (
    "Measured after the last epoch; a network that exploded has neither value. "
    "ρ: Spearman's rank correlation over the networks that trained, at all rates. Both "
    "change with the rate, so that the correlation shows no cause. Andriushchenko et al. (2023): "
    "large steps keep the training loss high, and features get sparser (lower)."
)


def draw_feature(axes: Axes, column: str, study: Study, dataset: str, theme: Theme) -> None:
    """Draw a measure of one dataset's hidden layer against the learning rate."""
    measured = of_dataset(study.diagnostics, dataset)
    seeds = of_dataset(study.seeds, dataset)
    rates = rates_of(study.seeds, theme)
    draw_seeds(axes, seeds, rates, theme, column=column)
    reference(axes, measured.loc[measured["epoch"] == 0, column].median(), "start", theme)
    from_zero(axes)


def features(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's sparsity and rank against the rate, one row of panels per hidden layer."""
    figure = Figure(figsize=(WIDTH, LAYER_HEIGHT * len(study.layers) + FRAME_HEIGHT))
    rows = figure.subplots(len(study.layers), len(QUANTITIES), squeeze=False)
    for row, layer in zip(rows, study.layers, strict=True):
        for axes, quantity in zip(row, QUANTITIES, strict=True):
            draw_feature(axes, f"{quantity}_{layer}", study, dataset, theme)
            if quantity == SPARSITY:
                percent_axis(axes)
        row[0].set_ylabel(f"hidden layer {layer}")
    for axes, label in zip(rows[0], QUANTITIES.values(), strict=True):
        axes.set_title(label, fontweight="bold")
    for axes in rows[:-1].flat:
        axes.set_xlabel("")
    sentences = (*MARKS, ("exploded", EXPLODED), ("", FEATURES_CAPTION))
    caption = explained(of_dataset(study.seeds, dataset), *sentences)
    captioned(figure, f"{title(dataset)}: features by learning rate", caption, theme)
    return figure


def correlation(seeds: pd.DataFrame, column: str) -> str:
    """Write Spearman's rank correlation of training loss and a measure over trained networks."""
    trained = seeds.loc[seeds["outcome"] == "trained", ["train_loss", column]].dropna()
    if len(trained) < FEWEST or (trained.nunique() == 1).any():
        return "too few networks for ρ"
    coefficient = trained.corr("spearman").to_numpy()[0, 1]
    return f"ρ = {coefficient:.2f} ({len(trained)} networks)".replace("-", "−")


def draw_plateau(axes: Axes, seeds: pd.DataFrame, column: str, rates: Sequence[Rate]) -> None:
    """Draw a measure of features against the training loss, one mark per network."""
    for rate in rates:
        for outcome, rows in rate.rows(seeds).groupby("outcome"):
            axes.plot(rows["train_loss"], rows[column], **mark(rate, str(outcome)))
    axes.set_xscale("log")
    plain_logarithms(axes.xaxis, longest=10 ** (width(axes) / DECADE_INCHES))
    from_zero(axes)
    percent_axis(axes)
    axes.set_xlabel("training loss (nats)")


def plateau(study: Study, theme: Theme) -> Figure:
    """Draw feature sparsity against the training loss, the datasets side by side."""
    column = f"{SPARSITY}_{study.layers[-1]}"
    measured = study.seeds.dropna(subset=["train_loss", column])
    rates = [rate for rate in rates_of(study.seeds, theme) if not rate.rows(measured).empty]
    figure = Figure(figsize=(WIDTH, 4.5))
    columns = figure.subplots(1, len(study.datasets), squeeze=False)[0]
    for axes, dataset in zip(columns, study.datasets, strict=True):
        seeds = of_dataset(measured, dataset)
        draw_plateau(axes, seeds, column, rates)
        axes.set_title(title(dataset), fontweight="bold", pad=20)
        axes.annotate(
            correlation(seeds, column),
            (0, 1),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8.5,
        )
    columns[0].set_ylabel(f"{QUANTITIES[SPARSITY]}, hidden layer {study.layers[-1]}")
    caption = explained(measured, *MARKS, ("", PLATEAU_CAPTION))
    ended = [min(rate.rows(measured)["outcome"], key=OUTCOMES.index) for rate in rates]
    handles = [Line2D([], [], **mark(*each)) for each in zip(rates, ended, strict=True)]
    legend_below(figure, handles, caption, theme, ncols=6)
    headed(figure, "Feature sparsity by training loss")
    return figure
