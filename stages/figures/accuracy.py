"""Final test accuracy against the learning rate."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.common.datasets import CLASSES, title
from stages.figures.rates import MARKS, Rate, draw_seeds, explained, places, rates_of
from stages.figures.study import Study, of_dataset
from stages.figures.theme import WIDTH, Theme, accuracy_axis, captioned, reference, width

CHANCE = 1 / CLASSES
LEAST_TOP = 0.5
"""Accuracy that the axis reaches even where every network failed."""
COUNT_INCHES, COUNT_POINTS = 0.45, (6, 16)
"""Inches: width of a count of lost networks. Points: its usual and its raised height above the
edge. A count without room is raised."""
MARKS_AND_COUNTS = (
    *MARKS,
    ("exploded", "× on the bottom edge: it exploded and has no accuracy."),
    ("lost", "The numbers count the lost."),
)
CAPTION = (
    "Line: mean over the grid's networks that trained. "
    "The accuracy axis follows the logarithm of the error."
)


def draw_accuracy(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate], theme: Theme) -> None:
    """Draw one dataset's final test accuracy against the learning rate, one mark per network.

    A network that exploded predicts nothing: it has no accuracy, whatever the table says.
    """
    exploded = seeds["lost_how"] == "exploded"
    alive = seeds.assign(test_accuracy=seeds["test_accuracy"].mask(exploded))
    draw_seeds(axes, alive, rates, theme, column="test_accuracy")
    reference(axes, CHANCE, "chance", theme)
    axes.update_datalim([(position, LEAST_TOP) for position in places(rates).values()])
    axes.margins(y=0.15)
    accuracy_axis(axes)
    axes.set_ylabel("final test accuracy")


def count_lost(axes: Axes, seeds: pd.DataFrame, rates: Sequence[Rate]) -> None:
    """Write above the bottom edge how many of one dataset's networks were lost at each rate."""
    positions = places(rates)
    left, right = axes.get_xlim()
    room = COUNT_INCHES * (right - left) / width(axes)
    lowest = -math.inf
    for rate in rates:
        count, position = rate.lost(seeds).removesuffix(" lost"), positions[rate.learning_rate]
        if not count:
            continue
        low = position - lowest >= room
        lowest = position if low else lowest
        axes.annotate(
            count,
            (position, 0),
            (0, COUNT_POINTS[0] if low else COUNT_POINTS[1]),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )


def accuracy(study: Study, dataset: str, theme: Theme) -> Figure:
    """Draw one dataset's final test accuracy against the learning rate."""
    figure = Figure(figsize=(WIDTH, 4.2))
    axes = figure.subplots()
    rates, seeds = rates_of(study.seeds, theme), of_dataset(study.seeds, dataset)
    draw_accuracy(axes, seeds, rates, theme)
    count_lost(axes, seeds, rates)
    caption = explained(seeds, *MARKS_AND_COUNTS, ("", CAPTION))
    captioned(figure, f"{title(dataset)}: final test accuracy by learning rate", caption, theme)
    return figure
