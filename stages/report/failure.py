"""How many networks are lost, against the learning rate."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from stages.audit.drawing.failure import recipe_colour
from stages.audit.judging.rungs import named
from stages.common.datasets import title
from stages.report.chart import UNKNOWN, Chart, Key, Panel, Row, Table, number, share_axis
from stages.report.look import both

CAPTION = (
    "Marks: the share of networks lost by the last epoch, with its 95 % interval. Curves and "
    "bands: the fitted share, with its 95 % interval. The table gives the rates at which a tenth, "
    "half and nine tenths are lost. The axis of the learning rate is logarithmic."
)
SEPARATED = (
    " Where losses begin at one rate and every network is lost beyond it (“separated”), no curve "
    "can be fitted: a block shows between which rates the share rises."
)
HEADS = ("dataset", "recipe", "networks", "lost", "10 % lost at", "50 %", "90 %", "fit")


def failure(summary: pd.DataFrame, shares: pd.DataFrame, curves: pd.DataFrame) -> Chart:
    """Draw the share of networks lost by rate, a panel for each dataset.

    Args:
        summary: metrics/audit/failure.csv.
        shares: metrics/audit/failure_shares.csv.
        curves: metrics/audit/failure_curves.csv.
    """
    recipes = list(summary["recipe"].unique())
    panels = [panel(dataset, recipes) for dataset in summary["dataset"].unique()]
    columns = ["dataset", "recipe", "learning_rate", "share", "low", "high"]
    data = {
        "shares": shares[[*columns, "networks", "lost"]].assign(name=shares["recipe"].map(named)),
        "curves": curves[columns],
    }
    return Chart(
        "share-lost",
        "the rates at which networks are lost",
        CAPTION + SEPARATED * bool((summary["state"] == "separated").any()),
        panels,
        data,
        Table(HEADS, [row(each) for each in summary.to_dict("records")]),
        key=[Key(named(recipe), colour(recipe)) for recipe in recipes],
        most_in_a_row=2,
    )


def colour(recipe: str) -> str:
    """Colour a recipe as the audit's figures do."""
    return both(lambda theme: recipe_colour(recipe, theme))


def panel(dataset: str, recipes: Sequence[str]) -> Panel:
    """Draw one dataset's recipes."""
    across = alt.X(
        "learning_rate:Q",
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(format="~g", tickCount=6, title="learning rate", labelOverlap="greedy"),
    )
    colours = alt.Color(
        "recipe:N",
        scale=alt.Scale(domain=list(recipes), range=[colour(recipe) for recipe in recipes]),
        legend=None,
    )
    curves, shares = (
        alt.Chart(alt.NamedData(name))
        .transform_filter(alt.datum.dataset == dataset)
        .encode(x=across, color=colours)
        for name in ("curves", "shares")
    )
    tooltip = [
        alt.Tooltip("name:N", title="recipe"),
        alt.Tooltip("learning_rate:Q", title="learning rate"),
        alt.Tooltip("lost:Q"),
        alt.Tooltip("networks:Q", title="of networks"),
    ]
    return alt.layer(
        curves.mark_area(opacity=0.15).encode(y=whole_axis("low"), y2="high:Q"),
        curves.mark_line(strokeWidth=1.8).encode(y=whole_axis("share")),
        shares.mark_rule(strokeWidth=1, opacity=0.6).encode(y=whole_axis("low"), y2="high:Q"),
        shares.mark_point(filled=True, size=40, opacity=1).encode(
            y=whole_axis("share"), tooltip=tooltip
        ),
    ).properties(width=300, height=220, title=f"{title(dataset)}: share of networks lost")


def whole_axis(column: str) -> alt.Y:
    """Make y a share of all networks, from none to all."""
    return share_axis(column).scale(domain=[0, 1])


def row(summary: Row) -> list[str]:
    """Write the summary of one dataset's recipe."""
    return [
        title(str(summary["dataset"])),
        named(str(summary["recipe"])),
        f"{summary['networks']}",
        f"{summary['lost']}",
        *(rate(summary, share) for share in (10, 50, 90)),
        f"{summary['state']}",
    ]


def rate(summary: Row, share: int) -> str:
    """Write the rate at which a share is lost, and its interval as far as it is known."""
    ends = (summary[f"rate_{share}{end}"] for end in ("", "_low", "_high"))
    value, low, high = (number(end, ".3f") for end in ends)
    if low == high == UNKNOWN:
        return value
    reach = f"above {low}" if high == UNKNOWN else f"{low} to {high}".replace(UNKNOWN, "…")
    return reach if value == UNKNOWN else f"{value} ({reach})"
