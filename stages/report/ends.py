"""How the networks of the core study end."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from stages.common.datasets import title
from stages.figures.rates import Rate, rates_of
from stages.figures.study import SPARSITY, Study, of_dataset
from stages.figures.theme import LIGHT
from stages.report.chart import Chart, Panel, Table, accuracy_axis, number, outcome_mark, with_error
from stages.report.look import colours_of_rates
from stages.report.networks import named

HEADS = (
    *("dataset", "learning rate", "lost", "lost in epoch", "trained", "undertrained"),
    *("test accuracy", "active features"),
)
CAPTION = (
    "A mark is one network after the last epoch: × lost, hollow undertrained. A network that "
    "exploded has no accuracy; its × is drawn at 10 %. Accuracy is spaced by the logarithm of the "
    "error. In the table, test accuracy and active features are means over "
    "the networks that trained. Active features: the share of positive activations among the "
    "distinct units of the last hidden layer; fewer is sparser."
)


def ends(study: Study) -> Chart:
    """Draw the final test accuracy of every network, a panel for each dataset."""
    rates = rates_of(study.seeds, LIGHT)
    networks = with_error(named(study.seeds, rates))
    columns = ["dataset", "rate", "seed", "outcome", "lost_epoch", "test_accuracy", "error"]
    names = [rate.name for rate in rates]
    colours = alt.Scale(domain=names, range=colours_of_rates(study.seeds))
    return Chart(
        "final-accuracy",
        "how the networks end, by learning rate",
        CAPTION,
        [panel(dataset, names, colours) for dataset in study.datasets],
        {"networks": networks[columns]},
        table(study, rates),
        most_in_a_row=2,
    )


def panel(dataset: str, names: Sequence[str], colours: alt.Scale) -> Panel:
    """Draw one dataset's networks."""
    return (
        alt.Chart(alt.NamedData("networks"))
        .transform_filter(alt.datum.dataset == dataset)
        .mark_point(size=30, strokeWidth=1.6, opacity=1)
        .encode(
            x=alt.X(
                "rate:N",
                sort=list(names),
                scale=alt.Scale(paddingInner=0.25),
                axis=alt.Axis(
                    labelExpr="split(datum.label, ' ')", labelAngle=0, title="learning rate"
                ),
            ),
            xOffset=alt.XOffset("seed:O"),
            y=accuracy_axis("error"),
            stroke=alt.Stroke("rate:N", scale=colours, legend=None),
            fill=alt.Fill("rate:N", scale=colours, legend=None),
            tooltip=[
                alt.Tooltip("rate:N"),
                alt.Tooltip("seed:O"),
                alt.Tooltip("outcome:N"),
                alt.Tooltip("lost_epoch:Q", title="lost in epoch"),
                alt.Tooltip("test_accuracy:Q", title="test accuracy", format=".2%"),
            ],
            **outcome_mark(),
        )
        .properties(width=300, height=200, title=f"{title(dataset)}: final test accuracy")
    )


def table(study: Study, rates: Sequence[Rate]) -> Table:
    """Count how networks end at each rate, and say when the lost ones were lost."""
    active = f"{SPARSITY}_{study.layers[-1]}"
    rows = []
    for dataset in study.datasets:
        for rate in rates:
            seeds = rate.rows(of_dataset(study.seeds, dataset))
            trained = seeds[seeds["outcome"] == "trained"]
            counts = [
                str((seeds["outcome"] == end).sum()) for end in ("lost", "trained", "undertrained")
            ]
            rows.append(
                [
                    *(title(dataset), rate.name, counts[0], when(seeds["lost_epoch"])),
                    *counts[1:],
                    number(trained["test_accuracy"].mean(), ".2%"),
                    number(trained[active].mean(), ".1%"),
                ]
            )
    return Table(HEADS, rows)


def when(epochs: pd.Series) -> str:
    """List the epochs in which networks were lost: "1 (6 networks), 2"."""
    counts = epochs.dropna().astype(int).value_counts().sort_index()
    told = (
        f"{epoch} ({count} networks)" if count > 1 else f"{epoch}"
        for epoch, count in counts.items()
    )
    return ", ".join(told) or "–"
