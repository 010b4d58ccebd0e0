"""The share of networks that are lost, against the learning rate."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from stages.audit.judging.rungs import named
from stages.common.datasets import title
from stages.figures.theme import WIDTH, Theme, captioned, percent_axis, plain

LOOKS = {"core": ("-", "o"), "clipped": ("--", "s"), "warmup_cosine": ("-.", "D")}
"""Recipe → dashes and mark; in the order of the legend."""
ORDER = {recipe: place for place, recipe in enumerate(LOOKS)}
APART = {"core": 0.994, "clipped": 1.0, "warmup_cosine": 1.006}
"""Recipe → factor by which its marks are shifted at rates that other recipes have as well."""
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 2.5, 3, 4, 5, 10)
FEW = 8
"""If there are at most this many rates, each one is a tick."""
MARGIN = 1.04
"""Factor by which the axis reaches beyond the rates."""
PANEL_INCHES = 2.5
CAPTION = (
    "Mark: observed share of the networks at a rate, with Wilson's 95 % interval; marks at the "
    "same rate are drawn slightly apart. Line: the share by the fitted hazard (complementary "
    "log-log, linear in the logarithm of the rate), with its 95 % bootstrap band. Where the "
    "networks do not determine a line, a block shows between which rates it rises."
)


def failure(
    table: pd.DataFrame, shares: pd.DataFrame, curves: pd.DataFrame, theme: Theme
) -> Figure:
    """Draw fitted curves over observed shares, by recipe, a panel per dataset.

    Args:
        table: Of failure.csv.
        shares: Of failure_shares.csv.
        curves: Of failure_curves.csv.
        theme: The colours to use.
    """
    datasets = list(table["dataset"].unique())
    figure = Figure(figsize=(WIDTH, PANEL_INCHES * len(datasets) + 1))
    panels = figure.subplots(len(datasets), 1, squeeze=False, sharex=True)[:, 0]
    least = first_rate(shares)
    shares = shares.assign(alone=~shares.duplicated(["dataset", "learning_rate"], keep=False))
    for axes, dataset in zip(panels, datasets, strict=True):
        fits = table[table["dataset"] == dataset]
        for _, fit in fits.sort_values("recipe", key=lambda names: names.map(ORDER)).iterrows():
            seen, curve = (
                part[(part["dataset"] == dataset) & (part["recipe"] == fit["recipe"])]
                for part in (shares, curves)
            )
            draw_recipe(axes, fit, seen, curve, theme)
        axes.set_title(title(dataset), fontweight="bold")
        axes.set_ylim(-0.03, 1.03)
        axes.set_yticks([0, 0.1, 0.5, 0.9, 1])
        percent_axis(axes)
        axes.set_ylabel("networks lost")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=2.6)
    rate_scale(panels[-1], least, shares["learning_rate"].unique())
    below = shares.loc[shares["learning_rate"] < least]
    none = (
        f" Left of the axis, at rates below {least:g}, none of {below['networks'].sum()} is lost."
    )
    caption = CAPTION + none * (not below.empty)
    captioned(figure, "How many networks are lost, by learning rate", caption, theme)
    return figure


def recipe_colour(recipe: str, theme: Theme) -> str:
    """Choose a recipe's colour; core has that of text."""
    return {"clipped": theme.orange, "warmup_cosine": theme.blue}.get(recipe, theme.text)


def draw_recipe(
    axes: Axes, fit: "pd.Series[float]", shares: pd.DataFrame, curve: pd.DataFrame, theme: Theme
) -> None:
    """Draw one recipe's observed shares, its fitted curve and its band."""
    recipe = str(fit["recipe"])
    colour = recipe_colour(recipe, theme)
    dashes, mark = LOOKS[recipe]
    rates = curve["learning_rate"]
    axes.fill_between(rates, curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
    axes.plot(rates, curve["share"], color=colour, linestyle=dashes)
    reach = np.abs(shares[["low", "high"]].to_numpy().T - shares["share"].to_numpy())
    axes.errorbar(
        shares["learning_rate"].where(shares["alone"], shares["learning_rate"] * APART[recipe]),
        shares["share"],
        reach,
        color=colour,
        linestyle="none",
        marker=mark,
        markersize=4.5,
        elinewidth=1,
    )
    axes.plot([], [], color=colour, linestyle=dashes, marker=mark, markersize=4.5, label=told(fit))


def told(fit: "pd.Series[float]") -> str:
    """Say for the legend at which rate a recipe loses half of its networks."""
    name = named(str(fit["recipe"]))
    half, low, high = (fit[f"rate_50{end}"] for end in ("", "_low", "_high"))
    if half <= fit["largest_rate"]:
        ends = " to ".join("…" if pd.isna(end) else f"{end:#.3g}" for end in (low, high))
        return f"{name}\nhalf lost: {half:#.3g}\n({ends})"
    if pd.isna(high):
        return f"{name}\nhalf lost: beyond {fit['largest_rate']:g}"
    if pd.isna(low):
        return f"{name}\nhalf lost: below {high:.3g}"
    return f"{name}\nhalf lost: between\n{low:.3g} and {high:.3g}"


def first_rate(shares: pd.DataFrame) -> float:
    """Find where the axis begins: the largest rate up to which no network is lost."""
    lost = shares.groupby("learning_rate")["lost"].sum()
    harmless = lost[lost.cumsum() == 0].index
    return float(max(harmless, default=lost.index.min()))


def rate_scale(axes: Axes, least: float, rates: NDArray[np.float64]) -> None:
    """Make x the learning rate, logarithmic; with few rates, each rate is a tick."""
    shown = [rate for rate in rates if rate >= least]
    ticks = shown if len(shown) <= FEW else [t for t in TICKS if least <= t <= max(shown)]
    axes.set_xscale("log")
    axes.set_xlim(least / MARGIN, max(shown) * MARGIN)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("learning rate")
