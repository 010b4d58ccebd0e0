"""The whole study in one figure, a column a dataset."""

from matplotlib.figure import Figure

from stages.figures import look
from stages.figures.accuracy import draw_accuracy
from stages.figures.curves import TRAIN_LOSS, draw_panel
from stages.figures.features import QUANTITIES, draw_feature
from stages.figures.look import Theme
from stages.figures.outcomes import draw_outcomes, name_outcomes
from stages.figures.rates import legend_below, rates_of
from stages.figures.study import SPARSITY, Study, of_dataset

HEIGHTS = (2.4, 1.1, 1.7, 2.2)
"""Of the rows, in relation to one another."""
CAPTION = (
    "A mark is one seed: hollow if it collapsed, × if it exploded. ◆ and dashed: the candidate. "
    "Lines through marks: mean of the grid's seeds\n"
    "that trained. Accuracy follows the logarithm of the error. Features: last hidden layer, lower "
    "is sparser.\n"
    "Loss: geometric mean over seeds, band from smallest to largest; ×: a seed explodes, its curve "
    "ends the epoch before; spikes run off the top."
)


def headline(study: Study, theme: Theme) -> Figure:
    """Draw accuracy, outcomes and feature sparsity by rate, then training loss by epoch."""
    rates = rates_of(study.seeds, theme)
    figure = Figure(figsize=(look.WIDTH, 9.6))
    rows = figure.subplots(len(HEIGHTS), len(study.datasets), squeeze=False, height_ratios=HEIGHTS)
    for column, dataset in zip(rows.T, study.datasets, strict=True):
        scores, endings, sparsity, losses = column
        seeds = of_dataset(study.seeds, dataset)
        scores.set_title(look.title(dataset), fontweight="bold")
        draw_accuracy(scores, seeds, rates, theme)
        draw_outcomes(endings, seeds, rates, theme)
        draw_feature(sparsity, f"{SPARSITY}_{study.layers[-1]}", study, dataset, theme)
        look.percent_axis(sparsity)
        sparsity.set_ylabel(QUANTITIES[SPARSITY])
        draw_panel(losses, TRAIN_LOSS, of_dataset(study.history, dataset), seeds, rates)
        for axes in (scores, endings):
            look.unnamed_below(axes)
    for axes in rows[:, 1:].flat:
        axes.set_ylabel("")
    name_outcomes(rows[1, -1], theme)
    legend_below(figure, rates, CAPTION, theme)
    look.headed(figure, "What the learning rate does")
    return figure
