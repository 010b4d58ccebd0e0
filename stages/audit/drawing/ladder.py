"""The ladder: final accuracy against the learning rate, one panel per rung."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.audit.judging.rungs import CORE, RUNGS, named
from stages.common.datasets import title
from stages.figures.accuracy import count_lost
from stages.figures.rates import Rate, draw_seeds, explained, places
from stages.figures.theme import SMALLEST_ERROR, WIDTH, Theme, accuracy_axis, captioned, rate_colour

CHANGED = {
    "as_published": "as published",
    "fresh_start": "+ fresh start at each rate",
    "standardized": "+ own mean and deviation",
    "core": "+ constant rate (core)",
    "clipped": "core + clipping",
    "warmup_cosine": "core + warm-up, cosine",
}
"""Rung → what it changes, of the one before it or of core."""
COLUMNS = 3
PANEL_INCHES = 2.4
ROOM = 0.3
"""Height left free below the marks, as a share of the height that they take."""
MEANS = (
    "Line: mean of the networks that trained. The accuracy axis follows the logarithm of the error."
)
SENTENCES = (
    ("", "A mark is one network, its colour the rate."),
    ("undertrained", "Hollow: undertrained."),
    ("lost", "× on the bottom edge: lost; the numbers count them."),
    ("", MEANS),
)
NOTEBOOK = "Squares: the notebook's accuracy; on the bottom edge: it printed nan."


def whole(rungs: Sequence[str]) -> bool:
    """Say whether the rungs lead from the published protocol to core without a gap."""
    return set(RUNGS[: RUNGS.index(CORE) + 1]) <= {*rungs}


def heading(rung: str, rungs: Sequence[str]) -> str:
    """Name a rung by what it changes, or by its own name if a rung up to core is missing."""
    place = rungs.index(rung) + 1
    return f"{place}  {CHANGED[rung] if whole(rungs) else named(rung)}"


def ladder(
    networks: pd.DataFrame,
    dataset: str,
    notebook: Mapping[float, float | None],
    grid: Sequence[float],
    theme: Theme,
) -> Figure:
    """Draw one dataset's rungs, each in a panel.

    Args:
        networks: The audit's.
        dataset: One that has networks of a rung.
        notebook: Learning rate → the notebook's test accuracy, None for nan; may be empty. Drawn on
            the first rung.
        grid: The core study's rates, for the colours.
        theme: The colours to use.
    """
    rows = networks[networks["dataset"] == dataset]
    rungs = [rung for rung in RUNGS if (rows["recipe"] == rung).any()]
    rows = rows[rows["recipe"].isin(rungs)].assign(role="grid")
    # Rounding decides what a lost network predicts, so it is drawn without an accuracy.
    rows["test_accuracy"] = rows["test_accuracy"].mask(rows["outcome"] == "lost")
    rates = [
        Rate("grid", rate, rate_colour(rate, grid, theme))
        for rate in sorted(set(rows["learning_rate"]))
    ]
    lines = -(-len(rungs) // COLUMNS)
    figure = Figure(figsize=(WIDTH, PANEL_INCHES * lines + 0.9))
    panels = figure.subplots(lines, COLUMNS, squeeze=False, sharey=True)
    for axes in panels.flat[len(rungs) :]:
        axes.set_visible(False)
    for number, (axes, rung) in enumerate(zip(panels.flat, rungs, strict=False)):
        here = rows[rows["recipe"] == rung]
        draw_seeds(axes, here, rates, theme, column="test_accuracy")
        count_lost(axes, here, rates)
        axes.set_title(heading(rung, rungs))
        if number + COLUMNS < len(rungs):
            axes.tick_params(labelbottom=False)
            axes.set_xlabel("")
    compared = "as_published" in rungs and bool(notebook)
    if compared:
        draw_notebook(panels[0, 0], notebook, rates, theme)
    leave_room(panels[0, 0], rows["test_accuracy"])
    accuracy_axis(panels[0, 0])
    for axes in panels[:, 0]:
        axes.set_ylabel("final test accuracy")
    topic = "the published protocol, undone choice by choice" if whole(rungs) else "the recipes"
    caption = explained(rows, *SENTENCES, *[("", NOTEBOOK)] * compared)
    captioned(figure, f"{title(dataset)}: {topic}", caption, theme)
    return figure


def leave_room(axes: Axes, accuracies: pd.Series) -> None:
    """Extend the axis below the lowest mark, so that the counts of lost networks cover no mark."""
    errors = 1 - accuracies.dropna().clip(upper=1 - SMALLEST_ERROR)
    if not errors.empty:
        lower = errors.max() * (errors.max() / errors.min()) ** ROOM
        axes.update_datalim([(axes.get_xlim()[0], 1 - min(lower, 1))])
    axes.margins(y=0.05)


def draw_notebook(
    axes: Axes, notebook: Mapping[float, float | None], rates: Sequence[Rate], theme: Theme
) -> None:
    """Mark the notebook's own results."""
    positions = places(rates)
    for rate, accuracy in notebook.items():
        if rate in positions:
            axes.plot(
                [positions[rate]],
                [0 if accuracy is None else accuracy],
                transform=axes.get_xaxis_transform() if accuracy is None else axes.transData,
                marker="s",
                markersize=8,
                fillstyle="none",
                color=theme.text,
                markeredgewidth=1,
                linestyle="none",
                clip_on=False,
                label="notebook",
                zorder=3,
            )
