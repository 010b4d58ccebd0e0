"""The mechanism: is it large steps that leave few active features, or a high training loss?"""

import math
from collections.abc import Mapping

import altair as alt
import pandas as pd

from stages.audit.drawing.mechanism import NAMES
from stages.figures.theme import title
from stages.report.chart import Chart, Key, Panel, Table, log_axis, number, share_axis
from stages.report.look import ramp

STEPS = {
    "smallest": 0,
    "small": 1,
    "large_batch": 1,
    "large_1": 2,
    "large_5": 3,
    "large_10": 4,
    "large": 5,
    "small_batch": 5,
}
"""Arm → place of its colour, from small steps to large ones; an arm with other batches has that of
the arm with the same rate / batch."""
DASHED = ("large_batch", "small_batch")
MEASURES = ["train_loss", "feature_sparsity", "effective_rank", "test_accuracy"]
DIGITS = (".2g", ".1%", ".1f", ".2%")
CAPTION = (
    "A line is a way to train: the medians of its networks that were not lost; a mark is one "
    "epoch. Losses have logarithmic axes. On the right, training goes from left to right, and the "
    "line that lies lower has fewer active features at the same training loss. Dashed: other "
    "batches, with the same ratio of rate to batch as the line of the same colour."
)
HEADS = (
    *("learning rate", "networks", "lost", "training loss at the end (nats)"),
    *("active features", "effective rank", "test accuracy"),
)


def mechanism(epochs: pd.DataFrame, networks: pd.DataFrame, dataset: str) -> Chart:
    """Draw loss and active features of one dataset's ways to train.

    Args:
        epochs: metrics/audit/epochs.csv.
        networks: metrics/audit/networks.csv.
        dataset: Which one's.
    """
    ended = networks.loc[networks["dataset"] == dataset, ["recipe", "seed", "outcome"]]
    here = epochs[epochs["dataset"] == dataset].merge(ended, on=["recipe", "seed"])
    names = named(here)
    kept = here[(here["outcome"] != "lost") & here["recipe"].isin(names)]
    medians = kept.groupby(["recipe", "epoch"])[MEASURES].median().reset_index()
    by_epoch = alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, grid=False))
    active = share_axis("feature_sparsity")
    return Chart(
        f"{dataset}-mechanism",
        f"the ways to train on {title(dataset)}",
        CAPTION,
        [
            panel("training loss (nats)", names, by_epoch, log_axis("train_loss")),
            panel("active features", names, by_epoch, active),
            panel("active features, by training loss", names, by_loss(), active),
        ],
        {"medians": medians.assign(name=medians["recipe"].map(names))},
        Table(HEADS, [row(arm, name, ended, medians) for arm, name in names.items()]),
        key=[Key(name, colour(arm), arm in DASHED) for arm, name in names.items()],
    )


def named(epochs: pd.DataFrame) -> dict[str, str]:
    """Name the arms that there are, by their rates."""
    first = epochs.groupby("recipe")["learning_rate"].first()
    others = {arm: float(first.get(arm, math.nan)) for arm in ("small", "large")}
    return {
        arm: NAMES[arm].format(rate=first[arm], **others) for arm in STEPS if arm in first.index
    }


def colour(arm: str) -> str:
    return ramp(1 + max(STEPS.values()))[STEPS[arm]]


def by_loss() -> alt.X:
    """Make x the training loss, falling."""
    return alt.X(
        "train_loss:Q",
        scale=alt.Scale(type="log", reverse=True, nice=False, padding=6),
        axis=alt.Axis(
            format="~g", tickCount=4, labelOverlap="greedy", title="training loss (nats), falling"
        ),
    )


def panel(heading: str, names: Mapping[str, str], across: alt.X, up: alt.Y) -> Panel:
    """Draw one quantity of every arm against another."""
    domain = list(names)
    colours = alt.Scale(domain=domain, range=[colour(arm) for arm in names])
    dashes = alt.Scale(domain=domain, range=[[5, 3] if arm in DASHED else [1, 0] for arm in names])
    return (
        alt.Chart(alt.NamedData("medians"))
        .mark_line(strokeWidth=1.6, point={"size": 14})
        .encode(
            x=across,
            y=up,
            order="epoch:Q",
            color=alt.Color("recipe:N", scale=colours, legend=None),
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


def row(arm: str, name: str, ended: pd.DataFrame, medians: pd.DataFrame) -> list[str]:
    """Write an arm's counts, and its medians after the last epoch."""
    outcomes = ended.loc[ended["recipe"] == arm, "outcome"]
    counts = [str(len(outcomes)), str((outcomes == "lost").sum())]
    last = medians[(medians["recipe"] == arm) & (medians["epoch"] == medians["epoch"].max())]
    values = last[MEASURES].iloc[0] if len(last) else [math.nan] * len(MEASURES)
    return [name, *counts, *map(number, values, DIGITS)]
