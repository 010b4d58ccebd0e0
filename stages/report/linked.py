"""The linked view: every network of a dataset by epoch, in panels that light up together."""

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

from stages.common.datasets import title
from stages.figures.rates import Rate
from stages.figures.study import Study
from stages.report.chart import (
    Chart,
    Panel,
    Row,
    Table,
    accuracy_axis,
    log_axis,
    number,
    plain_axis,
    share_axis,
)
from stages.report.look import CROSS, MUTED, TEXT
from stages.report.networks import Networks, networks_of
from stages.report.page import Section

CROSS_LIFT, CROSS_ROW = 8, 11
"""Pixels from a panel's top edge up to the first row of crosses, and from row to row."""
CHOSEN = "indexof(rates, datum.rate) >= 0"
"""`rates` are the names of the rates to show."""
LIT = "network === null || datum.network === network"
"""`network` is the one that is pointed at."""
NAME_GAP = 1.38
"""Smallest ratio of two levels of 2 / learning rate whose labels do not overlap."""
OWN_RATE = "network === null || indexof(network, datum.rate + ', ') === 0"
"""The name of a network begins with that of its rate."""
CAPTION = (
    "A line is one network. It stops at the last epoch before the network is lost; the × above "
    "marks when it was: one between 2 and 3 lies in epoch 3. That is the step of its burst, if it "
    "had one; accuracy may have fallen before. Accuracy is spaced by the "
    "logarithm of the error; loss, norm and sharpness have logarithmic axes. Training loss and "
    "gradient norm are means over an epoch's steps, the others are measured after it; epoch 0 is "
    "the start. Active features: the share of positive activations among the distinct units of "
    "the last hidden layer. Effective rank: roughly the number of independent directions in these"
    " activations. Sharpness: the largest eigenvalue of the Hessian of the training loss; dotted:"
    " 2 / learning rate, above which gradient descent with full batches is unstable where the "
    "loss is quadratic."
)


class Quantity(NamedTuple):
    """What a panel shows."""

    column: str
    """A column of the table of epochs."""
    label: str
    axis: Callable[[str], alt.Y]
    digits: str
    """How Python and the page write a value."""

    @property
    def drawn(self) -> str:
        """Name the column that is drawn; for an accuracy this is the error."""
        return "test_error" if self.axis is accuracy_axis else self.column


SHARPNESS = Quantity("sharpness", "sharpness", log_axis, ".3g")
QUANTITIES = (
    Quantity("test_accuracy", "test accuracy", accuracy_axis, ".2%"),
    Quantity("train_loss", "training loss (nats)", log_axis, ".3g"),
    Quantity("gradient_norm", "gradient norm", log_axis, ".3g"),
    Quantity("active", "active features", share_axis, ".1%"),
    Quantity("rank", "effective rank", plain_axis, ".1f"),
    SHARPNESS,
)


def linked_section(study: Study, dataset: str) -> Section:
    """Make a dataset's section: the linked view, and the controls to choose rates and networks."""
    networks = networks_of(study, dataset)
    content = {
        "chart": linked_view(networks, dataset),
        "rates": [
            choice(rate, colour, networks.seeds)
            for rate, colour in zip(networks.rates, networks.colours, strict=True)
        ],
        "quantities": [
            {"column": each.column, "label": each.label, "digits": each.digits}
            for each in QUANTITIES
        ],
    }
    return Section(
        f"{dataset}-networks", f"{title(dataset)}: every network", "linked.html", content
    )


def choice(rate: Rate, colour: str, seeds: pd.DataFrame) -> dict[str, Any]:
    """Describe a rate, and its networks, for the page's buttons and its list of networks."""
    rows = rate.rows(seeds).to_dict("records")
    return {
        "name": rate.name,
        "colour": colour,
        "candidate": rate.is_candidate,
        "lost": rate.lost(seeds),
        "networks": [{"name": row["network"], "label": ended(row)} for row in rows],
    }


def ended(network: Row) -> str:
    """Say how a network ended."""
    if network["outcome"] == "lost":
        return f"seed {network['seed']}: lost in epoch {network['lost_epoch']:.0f}"
    accuracy = number(network["test_accuracy"], ".2%")
    return f"seed {network['seed']}: {network['outcome']}, {accuracy}"


def linked_view(networks: Networks, dataset: str) -> Chart:
    """Draw one dataset's networks by epoch."""
    levels = pd.DataFrame(
        [
            [rate.name, 2 / rate.learning_rate, f"2 / {rate.learning_rate:g}"]
            for rate in networks.rates
        ],
        columns=["rate", "level", "label"],
    ).sort_values("level", ascending=False)
    levels["named_at"] = spread(levels["level"])
    return Chart(
        f"{dataset}-by-epoch",
        f"every network on {title(dataset)}, by epoch",
        CAPTION,
        [panel(quantity, networks) for quantity in QUANTITIES],
        {"epochs": networks.epochs, "losses": networks.losses, "levels": levels},
        table(networks.epochs),
        parameters=[
            alt.param(name="rates", value=[rate.name for rate in networks.rates]),
            alt.param(name="network", value=None),
            alt.param(name="epoch", value=None),
        ],
        panel_width=330,
    )


def spread(levels: Iterable[float]) -> list[float]:
    """Place the labels of falling levels: each at its level, or lower if the one above is close."""
    return list(accumulate(levels, lambda above, level: min(level, above / NAME_GAP)))


def panel(quantity: Quantity, networks: Networks) -> Panel:
    """Draw one quantity of every network by epoch."""
    last = int(networks.epochs["epoch"].max())
    epochs = (
        alt.Chart(alt.NamedData("epochs"))
        .transform_filter(CHOSEN)
        .encode(
            x=epoch_axis("epoch", last),
            y=quantity.axis(quantity.drawn),
            color=rate_colour(networks),
            opacity=lit(0.1),
        )
    )
    layers = [
        *(bounds(networks) if quantity == SHARPNESS else []),
        moment(last),
        lines(epochs, networks),
        points(epochs, quantity),
        *crosses(networks, last),
    ]
    return alt.layer(*layers).properties(
        width=260, height=170, title=alt.Title(quantity.label, offset=8)
    )


def lines(epochs: alt.Chart, networks: Networks) -> Panel:
    """Draw a line for each network of the chosen rates."""
    dashes = alt.Scale(
        domain=[rate.name for rate in networks.rates],
        range=[[5, 3] if rate.is_candidate else [1, 0] for rate in networks.rates],
    )
    return epochs.mark_line().encode(
        detail="network:N",
        strokeDash=alt.StrokeDash("rate:N", scale=dashes, legend=None),
        strokeWidth=alt.condition("datum.network === network", alt.value(3), alt.value(1.1)),
    )


def points(epochs: alt.Chart, quantity: Quantity) -> Panel:
    """Draw one point per network and epoch of the chosen rates; the pointer selects the nearest."""
    # Nothing reads this selection. It makes the point nearest to the pointer receive the events.
    nearest = alt.selection_point(
        name=f"nearest_{quantity.column}", on="pointerover", nearest=True, clear=False
    )
    here = "datum.network === network && datum.epoch === epoch"
    tooltip = [
        alt.Tooltip("network:N", title="rate"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip(f"{quantity.column}:Q", title=quantity.label, format=quantity.digits),
    ]
    size = alt.condition(here, alt.value(80), alt.value(9))
    return epochs.mark_point(filled=True).encode(size=size, tooltip=tooltip).add_params(nearest)


def crosses(networks: Networks, last: int) -> list[Panel]:
    """Mark above the top edge when networks were lost: a row for each rate."""
    names = [rate.name for rate in networks.rates]
    rows = [name for name in names if (networks.losses["rate"] == name).any()]
    return [
        alt.Chart(alt.NamedData("losses"))
        .transform_filter(CHOSEN)
        .transform_filter(alt.datum.rate == name)
        .mark_point(shape=CROSS, size=40, strokeWidth=2)
        .encode(
            x=epoch_axis("at", last),
            y=alt.value(-CROSS_LIFT - CROSS_ROW * row),
            color=rate_colour(networks),
            opacity=lit(0.2),
            tooltip=[
                alt.Tooltip("network:N", title="rate"),
                alt.Tooltip("epoch:Q", title="lost in epoch"),
                alt.Tooltip("step:Q", title="at step"),
                alt.Tooltip("how:N", title="how"),
            ],
        )
        for row, name in enumerate(rows)
    ]


def moment(last: int) -> Panel:
    """Draw a line at the epoch that is pointed at."""
    return (
        alt.Chart(alt.sequence(0, 1))
        .transform_calculate(epoch="epoch")
        .transform_filter("epoch !== null")
        .mark_rule(color=MUTED)
        .encode(x=epoch_axis("epoch", last))
    )


def bounds(networks: Networks) -> list[Panel]:
    """Draw 2 / rate for each chosen rate, named at its right end."""
    levels = (
        alt.Chart(alt.NamedData("levels"))
        .transform_filter(CHOSEN)
        .encode(
            color=rate_colour(networks),
            opacity=alt.condition(OWN_RATE, alt.value(1), alt.value(0.2)),
        )
    )
    names = levels.mark_text(align="left", dx=4, fontSize=10)
    return [
        levels.mark_rule(strokeDash=[2, 3], strokeWidth=1.3).encode(y=log_axis("level")),
        names.encode(
            x=alt.value("width"),
            y=log_axis("named_at"),
            text="label:N",
            color=alt.value(TEXT),
        ),
    ]


def epoch_axis(column: str, last: int) -> alt.X:
    """Make x the epoch, from the start to the last one."""
    return alt.X(
        f"{column}:Q",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(tickMinStep=1, title="epoch", grid=False),
    )


def rate_colour(networks: Networks) -> alt.Color:
    """Colour by rate, as all figures do."""
    scale = alt.Scale(domain=[rate.name for rate in networks.rates], range=list(networks.colours))
    return alt.Color("rate:N", scale=scale, legend=None)


def lit(faded: float) -> Any:
    """Fade all networks but the one that is pointed at."""
    return alt.condition(LIT, alt.value(0.9), alt.value(faded))


def table(epochs: pd.DataFrame) -> Table:
    """Write every value of the panels."""
    heads = ["network", "epoch", *(quantity.label for quantity in QUANTITIES)]
    rows = [
        [
            f"{row['network']}",
            f"{row['epoch']}",
            *(number(row[quantity.column], quantity.digits) for quantity in QUANTITIES),
        ]
        for row in epochs.to_dict("records")
    ]
    return Table(heads, rows)
