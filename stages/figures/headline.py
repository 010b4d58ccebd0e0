"""The whole study in one figure, a column for each dataset."""

from matplotlib.figure import Figure

from stages.figures.accuracy import draw_accuracy, explain_accuracy
from stages.figures.curves import TRAIN_LOSS, draw_panel
from stages.figures.features import QUANTITIES, draw_feature
from stages.figures.outcomes import draw_outcomes, name_endings
from stages.figures.rates import legend_below, rates_of
from stages.figures.study import SPARSITY, Study, of_dataset
from stages.figures.theme import WIDTH, Theme, headed, percent_axis, title, unnamed_below

HEIGHTS = (2.4, 1.1, 1.7, 2.2)
"""Of the rows, in relation to one another."""
LOST = "×: a network is lost, its curve ends the epoch before;"
CAPTION = (
    "Lines through marks: mean over the grid's networks that trained. Accuracy follows the "
    "logarithm of the error. Features: last hidden layer, lower is sparser. "
    "Loss: geometric mean over seeds, band from smallest to largest;"
)


def headline(study: Study, theme: Theme) -> Figure:
    """Draw accuracy, outcomes and feature sparsity by rate, then training loss by epoch."""
    rates = rates_of(study.seeds, theme)
    figure = Figure(figsize=(WIDTH, 9.6))
    rows = figure.subplots(len(HEIGHTS), len(study.datasets), squeeze=False, height_ratios=HEIGHTS)
    for column, dataset in zip(rows.T, study.datasets, strict=True):
        scores, endings, sparsity, losses = column
        seeds = of_dataset(study.seeds, dataset)
        scores.set_title(title(dataset), fontweight="bold")
        draw_accuracy(scores, seeds, rates, theme)
        draw_outcomes(endings, seeds, rates, theme)
        draw_feature(sparsity, f"{SPARSITY}_{study.layers[-1]}", study, dataset, theme)
        percent_axis(sparsity)
        sparsity.set_ylabel(QUANTITIES[SPARSITY])
        draw_panel(losses, TRAIN_LOSS, of_dataset(study.history, dataset), seeds, rates)
        for axes in (scores, endings):
            unnamed_below(axes)
    for axes in rows[:, 1:].flat:
        axes.set_ylabel("")
    name_endings(rows[1, -1], study.seeds, theme)
    lost = f" {LOST}" * bool((study.seeds["outcome"] == "lost").any())
    caption = f"{explain_accuracy(study.seeds)} {CAPTION}{lost} spikes run off the top."
    legend_below(figure, rates, caption, theme)
    headed(figure, "What the learning rate does")
    return figure
