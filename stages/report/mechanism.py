"""The mechanism: is it large steps that leave few active features, or a high training loss?"""

import math
from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from stages.audit.drawing.mechanism import falling, first_rates, named
from stages.audit.judging.mechanism import ARMS
from stages.common.datasets import title
from stages.report.chart import Chart, Key, Panel, Table, log_axis, number, share_axis
from stages.report.look import TEXT, colour_of_rate

SHOWN = (
    *("smallest", "small", "large_batch"),
    *("large_1", "large_5", "large_10", "large", "small_batch"),
)
"""The arms, from small steps to large ones."""
BETWEEN = {"large_1": 0.25, "large_5": 0.5, "large_10": 0.75}
"""Arm that decays → its colour's place between those of the two rates."""
DASHED = ("large_batch", "small_batch")
MEASURES = ["train_loss", "feature_sparsity", "effective_rank", "test_accuracy"]
DIGITS = (".2g", ".1%", ".1f", ".2%")
CAPTION = (
    "A line is a way to train: the medians of its networks that were not lost; a mark is one "
    "epoch. Losses have logarithmic axes. In the third chart training goes from left to right, and "
    "the line that lies lower has fewer active features at the same training loss; epochs whose "
    "loss has risen are left out, but for the last. Dashed: other batches. Colour: the rate; if a "
    "smaller one follows, a colour between the two, and the number at the end of the line says "
    "how many epochs the first one lasted."
)
HEADS = (
    *("recipe", "networks", "lost", "training loss at the end (nats)"),
    *("active features", "effective rank", "test accuracy"),
)


def mechanism(
    epochs: pd.DataFrame, networks: pd.DataFrame, dataset: str, grid: Sequence[float]
) -> Chart:
    """Draw loss and active features of one dataset's ways to train.

    Args:
        epochs: metrics/audit/epochs.csv.
        networks: metrics/audit/networks.csv.
        dataset: The name of the dataset.
        grid: The study's rates, which decide the colours.
    """
    ended = networks.loc[networks["dataset"] == dataset, ["recipe", "seed", "outcome"]]
    here = epochs[epochs["dataset"] == dataset].merge(ended, on=["recipe", "seed"])
    rates = first_rates(here)
    names = named(rates, SHOWN)
    colours = coloured(rates, grid)
    kept = here[(here["outcome"] != "lost") & here["recipe"].isin(names)]
    medians = kept.groupby(["recipe", "epoch"])[MEASURES].median().reset_index()
    medians["falling"] = medians.groupby("recipe")["train_loss"].transform(falling)
    is_last = medians["epoch"] == medians.groupby("recipe")["epoch"].transform("max")
    medians["lasted"] = medians["recipe"].map(ARMS).where(is_last)
    by_epoch = alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, grid=False))
    active = share_axis("feature_sparsity")
    return Chart(
        f"{dataset}-mechanism",
        f"the ways to train on {title(dataset)}",
        CAPTION,
        [
            numbered(panel("training loss (nats)", colours, by_epoch, log_axis("train_loss"))),
            numbered(panel("active features", colours, by_epoch, active)),
            numbered(
                panel("active features, by training loss", colours, by_loss(), active),
                "datum.falling",
            ),
        ],
        {"medians": medians.assign(name=medians["recipe"].map(names))},
        Table(HEADS, [row(arm, name, ended, medians) for arm, name in names.items()]),
        key=[Key(name, colours[arm], arm in DASHED) for arm, name in names.items()],
    )


def coloured(rates: Mapping[str, float], grid: Sequence[float]) -> dict[str, str]:
    """Colour the arms as all figures colour their rates."""

    def one(arm: str) -> str:
        small, large = rates.get("small", rates[arm]), rates[arm]
        return colour_of_rate(small + BETWEEN.get(arm, 1.0) * (large - small), grid)

    return {arm: one(arm) for arm in SHOWN if arm in rates}


def by_loss() -> alt.X:
    """Make x the training loss, falling."""
    return alt.X(
        "train_loss:Q",
        scale=alt.Scale(type="log", reverse=True, nice=False, padding=6),
        axis=alt.Axis(
            format="~g", tickCount=4, labelOverlap="greedy", title="training loss (nats), falling"
        ),
    )


def panel(heading: str, colours: Mapping[str, str], across: alt.X, up: alt.Y) -> alt.Chart:
    """Draw one quantity of every arm against another."""
    arms = list(colours)
    coloured = alt.Scale(domain=arms, range=list(colours.values()))
    dashes = alt.Scale(domain=arms, range=[[5, 3] if arm in DASHED else [1, 0] for arm in arms])
    return (
        alt.Chart(alt.NamedData("medians"))
        .mark_line(strokeWidth=1.6, point={"size": 14})
        .encode(
            x=across,
            y=up,
            order="epoch:Q",
            color=alt.Color("recipe:N", scale=coloured, legend=None),
            strokeDash=alt.StrokeDash("recipe:N", scale=dashes, legend=None),
            tooltip=[
                alt.Tooltip("name:N", title="rate"),
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("train_loss:Q", title="training loss", format=".3g"),
                alt.Tooltip("feature_sparsity:Q", title="active features", format=".1%"),
                alt.Tooltip("test_accuracy:Q", title="test accuracy", format=".2%"),
            ],
        )
        .properties(width=260, height=200, title=heading)
    )


def numbered(lines: alt.Chart, shown: str = "true") -> Panel:
    """Add, at the end of an arm that decays, how many epochs its first rate lasted.

    Args:
        lines: What `panel` draws.
        shown: Which rows the lines join, as a Vega expression.
    """
    numbers = alt.Chart(alt.NamedData("medians")).transform_filter("datum.lasted")
    drawn = lines.encoding
    return alt.layer(
        lines.transform_filter(shown),
        numbers.mark_text(align="left", dx=5, fontSize=10).encode(
            x=drawn.x, y=drawn.y, color=alt.value(TEXT), text="lasted:N"
        ),
    )


def row(arm: str, name: str, ended: pd.DataFrame, medians: pd.DataFrame) -> list[str]:
    """Write an arm's counts, and its medians after the last epoch."""
    outcomes = ended.loc[ended["recipe"] == arm, "outcome"]
    counts = [str(len(outcomes)), str((outcomes == "lost").sum())]
    last = medians[(medians["recipe"] == arm) & (medians["epoch"] == medians["epoch"].max())]
    values = last[MEASURES].iloc[0] if len(last) else [math.nan] * len(MEASURES)
    return [name, *counts, *map(number, values, DIGITS)]
