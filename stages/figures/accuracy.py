"""Final test accuracy against the learning rate."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.core.datasets import CLASSES
from stages.figures import look
from stages.figures.look import Theme
from stages.figures.rates import Rate, draw_seeds, places, rates_of
from stages.figures.study import Study, of_dataset

CHANCE = 1 / CLASSES
LEAST_TOP = 0.5
"""Accuracy that the axis reaches even where every network failed."""
CAPTION = (
    "A mark is one seed. ◆: the candidate. Hollow: a seed that collapsed. ×: one that exploded, "
    "counted below.\n"
    "Line: mean of the grid's seeds that trained. The accuracy axis follows the logarithm of the "
    "error."
)


def draw_accuracy(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate], theme: Theme) -> None:
    """Draw one dataset's final test accuracy against the learning rate, a mark a seed."""
    draw_seeds(axes, seeds, rates, theme, column="test_accuracy")
    look.reference(axes, CHANCE, "chance", theme)
    axes.update_datalim([(position, LEAST_TOP) for position in places(rates).values()])
    axes.margins(y=0.15)
    look.accuracy_axis(axes)
    axes.set_ylabel("final test accuracy")


def count_explosions(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate]) -> None:
    """Write below each rate how many of one dataset's seeds exploded, where any did."""
    positions = places(rates)
    for rate in rates:
        exploded = rate.rows(seeds)["outcome"] == "exploded"
        if exploded.any():
            axes.annotate(
                f"{exploded.sum()} of {len(exploded)}",
                (positions[rate.learning_rate], CHANCE),
                (0, -7),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
            )


def accuracy(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's final test accuracy against the learning rate."""
    figure = Figure(figsize=(look.WIDTH, 4.2))
    axes = figure.subplots()
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    draw_accuracy(axes, seeds, rates, theme)
    count_explosions(axes, seeds, rates)
    look.headed(figure, f"{look.title(dataset)}: final test accuracy by learning rate")
    look.captioned(figure, CAPTION, theme)
    return figure
