"""The ladder: final accuracy by learning rate, from the published protocol to the core recipe."""

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from stages.audit.drawing.ladder import CHANGED, heading
from stages.common.datasets import title
from stages.report.chart import Chart, Panel, Table, accuracy_axis, number, outcome_mark, with_error
from stages.report.look import MUTED, colour_of_rate

CAPTION = (
    "Each panel is a recipe; its title says what it changes. A mark is one network after the last "
    "epoch, its colour the rate: × lost, hollow undertrained. The line joins the means of the "
    "trained networks. A network that exploded has no accuracy; its × is drawn at 10 %. Accuracy "
    "is spaced by the logarithm of the error."
)
CARRIED = (
    " As published, each rate begins with the weights that the rate before it left, so that a "
    "network that is lost stays lost at all larger rates."
)
HEADS = (
    *("recipe", "learning rate", "networks", "trained", "undertrained", "lost"),
    "mean test accuracy of the trained",
)


def ladder(networks: pd.DataFrame, dataset: str, grid: Sequence[float]) -> Chart:
    """Draw one dataset's rungs, a panel for each.

    Args:
        networks: metrics/audit/networks.csv.
        dataset: The name of the dataset.
        grid: The study's rates, which decide the colours.
    """
    here = networks[(networks["dataset"] == dataset) & networks["recipe"].isin(CHANGED)]
    drawn = with_error(here)
    errors = drawn["error"].min(), drawn["error"].max()
    rates = sorted(here["learning_rate"].unique())
    colours = alt.Scale(domain=rates, range=[colour_of_rate(rate, grid) for rate in rates])
    rungs = [rung for rung in CHANGED if (here["recipe"] == rung).any()]
    columns = ["recipe", "learning_rate", "seed", "outcome", "test_accuracy", "error"]
    return Chart(
        f"{dataset}-ladder",
        f"the ladder on {title(dataset)}",
        CAPTION + CARRIED * ("as_published" in rungs),
        [panel(rung, heading(rung, rungs), colours, errors) for rung in rungs],
        {"networks": drawn[columns]},
        Table(HEADS, rows(here, {rung: heading(rung, rungs) for rung in rungs})),
        panel_width=280,
    )


def panel(rung: str, name: str, colours: alt.Scale, errors: tuple[float, float]) -> Panel:
    """Draw the networks of one rung."""
    networks = (
        alt.Chart(alt.NamedData("networks"))
        .transform_filter(alt.datum.recipe == rung)
        .encode(
            x=alt.X(
                "learning_rate:O",
                scale=alt.Scale(paddingInner=0.25),
                axis=alt.Axis(labelAngle=0, title="learning rate"),
            )
        )
    )
    marks = networks.mark_point(size=26, strokeWidth=1.3, opacity=1).encode(
        xOffset=alt.XOffset("seed:O"),
        y=accuracy_axis("error", errors),
        stroke=alt.Stroke("learning_rate:O", scale=colours, legend=None),
        fill=alt.Fill("learning_rate:O", scale=colours, legend=None),
        tooltip=[
            alt.Tooltip("learning_rate:O", title="learning rate"),
            alt.Tooltip("seed:O"),
            alt.Tooltip("outcome:N"),
            alt.Tooltip("test_accuracy:Q", title="test accuracy", format=".2%"),
        ],
        **outcome_mark(),
    )
    means = (
        networks.transform_filter(alt.datum.outcome == "trained")
        .mark_line(color=MUTED, strokeWidth=1)
        .encode(y=accuracy_axis("mean(error)", errors))
    )
    return alt.layer(means, marks).properties(width=260, height=180, title=name)


def rows(networks: pd.DataFrame, names: Mapping[str, str]) -> list[list[str]]:
    """Count how networks end: one row per rate of each rung in `names` (rung → its name)."""
    found = []
    for rung, name in names.items():
        for rate, cell in networks[networks["recipe"] == rung].groupby("learning_rate"):
            ended = [(cell["outcome"] == end).sum() for end in ("trained", "undertrained", "lost")]
            trained = cell.loc[cell["outcome"] == "trained", "test_accuracy"]
            found.append(
                [
                    *(name, f"{rate:g}", str(len(cell)), *map(str, ended)),
                    number(trained.mean(), ".2%"),
                ]
            )
    return found
