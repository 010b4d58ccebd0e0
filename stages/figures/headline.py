"""The study at a glance: a column for each dataset."""

from matplotlib.figure import Figure

from stages.common.datasets import title
from stages.figures.accuracy import MARKS_AND_COUNTS, count_lost, draw_accuracy
from stages.figures.features import QUANTITIES, draw_feature
from stages.figures.rates import explained, rates_of
from stages.figures.study import SPARSITY, Study, of_dataset
from stages.figures.theme import WIDTH, Theme, captioned, percent_axis

HEIGHTS = (1.2, 1)
"""The relative heights of the rows."""
CAPTION = (
    "Lines: mean over the grid's networks that trained. Accuracy follows the logarithm of the "
    "error. Features: share of positive activations in the last hidden layer, without duplicate "
    "units; lower is sparser."
)


def headline(study: Study, theme: Theme) -> Figure:
    """Draw final test accuracy and feature sparsity by rate."""
    rates = rates_of(study.seeds, theme)
    figure = Figure(figsize=(WIDTH, 6.2))
    rows = figure.subplots(len(HEIGHTS), len(study.datasets), squeeze=False, height_ratios=HEIGHTS)
    for (scores, sparsity), dataset in zip(rows.T, study.datasets, strict=True):
        seeds = of_dataset(study.seeds, dataset)
        scores.set_title(title(dataset), fontweight="bold")
        draw_accuracy(scores, seeds, rates, theme)
        count_lost(scores, seeds, rates)
        scores.set_xlabel("")
        draw_feature(sparsity, f"{SPARSITY}_{study.layers[-1]}", study, dataset, theme)
        percent_axis(sparsity)
        sparsity.set_ylabel(QUANTITIES[SPARSITY])
    for axes in rows[:, 1:].flat:
        axes.set_ylabel("")
    caption = explained(study.seeds, *MARKS_AND_COUNTS, ("", CAPTION))
    captioned(figure, "What the learning rate does", caption, theme)
    return figure
