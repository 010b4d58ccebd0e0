"""What the hidden units have become: sparsity and rank, against the rate and the training loss."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from stages.figures import look
from stages.figures.look import Theme
from stages.figures.rates import OUTCOME_MARKS, Rate, draw_seeds, legend_below, rates_of
from stages.figures.study import RANK, SPARSITY, Study, of_dataset

QUANTITIES = {SPARSITY: "active, distinct features", RANK: "effective rank"}
DECADE_INCHES = 1.2
"""Room for three ticks' numbers a decade."""
FEWEST = 3
"""Networks below which a rank correlation says nothing."""
FEATURES_CAPTION = (
    "A mark is one seed after the last epoch. ◆: the candidate. Hollow: a seed that collapsed. "
    "×: one that exploded (nothing to measure).\n"
    "Line: mean of the grid's trained seeds. Dotted: before training, median over seeds. Lower is "
    "sparser: the share of positive activations\n"
    "of units that fire and duplicate no other. Effective rank: exp of the entropy of the "
    "activations' singular values."
)
PLATEAU_CAPTION = (
    "A mark is one seed after the last epoch. ◆: the candidate. Hollow: a seed that collapsed. "
    "Exploded seeds have neither value.\n"
    "ρ: Spearman's rank correlation over the trained seeds of all rates; the rate moves both. "
    "Andriushchenko et al. (2023): large steps hold\n"
    "the training loss up, and features get sparser (lower)."
)


def draw_feature(axes: Axes, column: str, study: Study, dataset: str, theme: Theme) -> None:
    """Draw a measure of one dataset's hidden layer against the learning rate."""
    measured = of_dataset(study.diagnostics, dataset)
    seeds = of_dataset(study.seeds, dataset)
    rates = rates_of(study.seeds, theme)
    draw_seeds(axes, seeds, rates, theme, column=column)
    look.reference(axes, measured.loc[measured["epoch"] == 0, column].median(), "start", theme)
    look.from_zero(axes)


def features(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw sparsity and rank of one dataset's hidden layers, a column each, against the rate."""
    figure = Figure(figsize=(look.WIDTH, 5.6))
    rows = figure.subplots(len(QUANTITIES), len(study.layers), squeeze=False)
    for row, (quantity, label) in zip(rows, QUANTITIES.items(), strict=True):
        for axes, layer in zip(row, study.layers, strict=True):
            draw_feature(axes, f"{quantity}_{layer}", study, dataset, theme)
            if quantity == SPARSITY:
                look.percent_axis(axes)
        row[0].set_ylabel(label)
    for axes, layer in zip(rows[0], study.layers, strict=True):
        axes.set_title(f"hidden layer {layer}", fontweight="bold")
    for axes in rows[:-1].flat:
        look.unnamed_below(axes)
    look.headed(figure, f"{look.title(dataset)}: features by learning rate")
    look.captioned(figure, FEATURES_CAPTION, theme)
    return figure


def correlation(seeds: pd.DataFrame, column: str) -> str:
    """Say how one dataset's trained seeds rank by training loss and by a feature's measure."""
    trained = seeds.loc[seeds["outcome"] == "trained", ["train_loss", column]].dropna()
    if len(trained) < FEWEST or (trained.nunique() == 1).any():
        return "too few seeds for ρ"
    coefficient = stats.spearmanr(trained["train_loss"], trained[column]).statistic
    return f"ρ = {coefficient:.2f} ({len(trained)} seeds)".replace("-", "−")


def draw_plateau(axes: Axes, seeds: pd.DataFrame, column: str, rates: Sequence[Rate]) -> None:
    """Draw a measure of one dataset's features against the training loss, a mark a seed."""
    for rate in rates:
        for outcome, marks in rate.rows(seeds).groupby("outcome"):
            mark = {"marker": rate.marker} | OUTCOME_MARKS[str(outcome)]
            known = marks.dropna(subset=["train_loss", column])
            axes.plot(
                known["train_loss"],
                known[column],
                label=rate.name,
                color=rate.colour,
                linestyle="none",
                markeredgewidth=1.6,
                **mark,
            )
    axes.set_xscale("log")
    look.plain_logarithms(axes.xaxis, longest=10 ** (look.width(axes) / DECADE_INCHES))
    look.from_zero(axes)
    look.percent_axis(axes)
    axes.set_xlabel("training loss (nats)")


def plateau(study: Study, theme: Theme) -> Figure:
    """Draw feature sparsity against the training loss, the datasets side by side."""
    rates, column = rates_of(study.seeds, theme), f"{SPARSITY}_{study.layers[-1]}"
    figure = Figure(figsize=(look.WIDTH, 4.5))
    columns = figure.subplots(1, len(study.datasets), squeeze=False)[0]
    for axes, dataset in zip(columns, study.datasets, strict=True):
        seeds = of_dataset(study.seeds, dataset)
        draw_plateau(axes, seeds, column, rates)
        axes.set_title(look.title(dataset), fontweight="bold", pad=20)
        axes.annotate(
            correlation(seeds, column),
            (0, 1),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=8.5,
        )
    columns[0].set_ylabel(f"{QUANTITIES[SPARSITY]}, hidden layer {study.layers[-1]}")
    legend_below(figure, rates, PLATEAU_CAPTION, theme)
    look.headed(figure, "Feature sparsity by training loss")
    return figure
