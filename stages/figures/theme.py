"""How figures look: themes, the colour of each rate, axes that need more than a default."""

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from stages.common.whole_files import whole_directory

WIDTH = 8.8
"""Inches; a README shows 100 pixels for each."""
PIXELS_PER_INCH = 200
"""Twice as many as a README shows, for dense screens."""

ACCURACY_TICKS = (
    *(0.1, 0.9, 0.5, 0.98, 0.95, 0.8, 0.99, 0.7, 0.995, 0.3, 0.85, 0.97, 0.88, 0.96, 0.92, 0.998),
    *(0.86, 0.94, 0.93, 0.985, 0.975, 0.87, 0.89, 0.91, 0.992, 0.999),
)
"""The first ones matter most; a tick too close to an earlier one is left out."""
CLOSEST_TICKS = 0.08
"""Smallest distance between two ticks, as a share of the axis."""
LONG_AXIS = 300
"""A logarithmic axis has ticks only at powers of ten if its ends have at least this ratio."""
SHORT_NUMBERS = (1e-3, 1e4)
"""If a tick lies outside these, a logarithmic axis labels all its ticks with powers of ten."""
FEWEST_TICKS = 3
"""With fewer ticks the axis is so short that evenly spaced ticks suit it better."""
BEYOND = 0.07
"""How far an axis that starts at 0 reaches below 0 and above its top, as a share of its top."""
CAPTION_LETTERS = 146
"""Letters in one line of a caption."""
EPOCH_INCHES = 0.3
"""Room for an epoch's number below the axis."""
LIGHTNESS = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue."""
SMALLEST_ERROR = 1e-4
"""Where the accuracy axis ends: a perfect network would otherwise be infinitely far up."""


@dataclass(frozen=True)
class Theme:
    """Colours on one of GitHub's two backgrounds."""

    name: str
    background: str
    text: str
    muted: str
    """Axes, captions, whatever is not data."""
    grid: str
    blue: str
    orange: str
    """These two follow Okabe and Ito, so that readers who confuse hues can tell them apart."""
    endings: tuple[str, str, str, str]
    """Trained, undertrained, collapsed, exploded: the worse, the further from the background in
    lightness."""
    candidate: str = "#0a9d86"
    ramp: tuple[float, float] = (0.34, 0.77)
    """The part of the plasma colour map, 0 to 1, that stands out from both backgrounds: a rate has
    one colour in both themes."""


LIGHT = Theme(
    name="light",
    background="#ffffff",
    text="#1f2328",
    muted="#59636e",
    grid="#e4e8ec",
    blue="#0072b2",
    orange="#c2500a",
    endings=("#d3dae1", "#56a5e0", "#7d8791", "#2b3036"),
)
DARK = Theme(
    name="dark",
    background="#0d1117",
    text="#f0f6fc",
    muted="#9198a1",
    grid="#262c36",
    blue="#56b4e9",
    orange="#f0a33a",
    endings=("#363d47", "#3f8fd6", "#8a939d", "#e3e9ef"),
)
THEMES = (LIGHT, DARK)


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Draw and save in a theme, whatever the user's own matplotlibrc says."""
    settings = {
        "figure.facecolor": theme.background,
        "figure.constrained_layout.use": True,
        "axes.facecolor": theme.background,
        "axes.edgecolor": theme.muted,
        "axes.labelcolor": theme.text,
        "axes.titlecolor": theme.text,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "text.color": theme.text,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
    }
    with style.context(["default", settings]):
        yield


def rate_colour(rate: float, grid: Iterable[float], theme: Theme) -> str:
    """Colour a rate by its place in the sorted grid, from cold to hot.

    A rate between two rates of the grid gets a colour between theirs. All figures and datasets
    thus use the same colours. The colours also differ in lightness, for readers who confuse hues.

    Args:
        rate: A learning rate.
        grid: The learning rates of the study.
        theme: Its muted colour is used for a rate outside the grid's range.
    """
    ordered = sorted(set(grid))
    places = np.linspace(*theme.ramp, num=len(ordered))
    place = np.interp(rate, ordered, places, left=np.nan, right=np.nan)
    return theme.muted if np.isnan(place) else to_hex(mpl.colormaps["plasma"](place))


def accuracy_axis(axes: Axes) -> None:
    """Space accuracies, 0 to 1, by the logarithm of the error.

    One axis can then show a failure at 0.1 and still separate 0.98 from 0.97.
    """

    def above(accuracy: ArrayLike) -> NDArray[np.float64]:
        error = 1 - np.asarray(accuracy, dtype=np.float64)
        return np.negative(np.log10(np.maximum(error, SMALLEST_ERROR)))

    def accuracy(height: ArrayLike) -> NDArray[np.float64]:
        error: NDArray[np.float64] = np.power(10.0, np.negative(height))
        return 1 - error

    axes.set_yscale("function", functions=(above, accuracy))
    low, high = above(axes.get_ylim())
    heights: dict[float, float] = {}
    for tick, height in zip(ACCURACY_TICKS, above(ACCURACY_TICKS), strict=True):
        apart = all(abs(height - other) > CLOSEST_TICKS * (high - low) for other in heights)
        if low <= height <= high and apart:
            heights[height] = tick
    few = len(heights) < FEWEST_TICKS
    axes.yaxis.set_major_locator(MaxNLocator(4) if few else FixedLocator(list(heights.values())))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda accuracy, _: f"{100 * accuracy:g} %")


def log_axis(axes: Axes, ceiling: float) -> None:
    """Make the y axis logarithmic, with plain numbers at as many ticks as fit its range.

    Axes without any data above 0 are left without ticks.

    Args:
        axes: With the data drawn.
        ceiling: Highest end of the axis, above 0; larger values run off the top.
    """
    if not np.isfinite(axes.dataLim.minposy):
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    if axes.get_ylim()[1] > ceiling:
        axes.set_ylim(top=ceiling)
    plain_logarithms(axes.yaxis)


def plain_logarithms(axis: Axis, longest: float = LONG_AXIS) -> None:
    """Put plain numbers at as many ticks of a logarithmic axis as fit its range.

    Args:
        axis: With its scale and limits set.
        longest: If its ends have at least this ratio, only powers of ten have a tick.
    """
    low, high = axis.get_view_interval()
    short = high < longest * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if short else (1,)))
    axis.set_minor_locator(NullLocator())
    ticks = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
    # All ticks of an axis use one notation.
    every_one_short = all(SHORT_NUMBERS[0] <= tick <= SHORT_NUMBERS[1] for tick in ticks)
    axis.set_major_formatter(FuncFormatter(plain if every_one_short else power_of_ten))


def plain(value: float, _: int | None = None) -> str:
    """Write a tick's number; use a power of ten if it would have many digits."""
    if SHORT_NUMBERS[0] <= value <= SHORT_NUMBERS[1]:
        return f"{value:g}"
    return power_of_ten(value)


def power_of_ten(value: float, _: int | None = None) -> str:
    """Write a tick's number as a digit times a power of ten."""
    digit, exponent = f"{value:.0e}".split("e")
    return "$" + f"{digit}\\cdot" * (digit != "1") + f"10^{{{int(exponent)}}}$"


def epoch_axis(axes: Axes, first: int, last: int) -> None:
    """Make x the epoch, with a tick at as many as there is room for."""
    axes.set_xlim(first - 0.5, last + 0.5)
    most = round(width(axes) / EPOCH_INCHES)
    axes.xaxis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")


def from_zero(axes: Axes) -> None:
    """Begin the y axis just below 0 and end it above the highest mark, so that no mark is cut."""
    top = axes.get_ylim()[1]
    axes.set_ylim(-BEYOND * top, (1 + BEYOND) * top)


def percent_axis(axes: Axes) -> None:
    """Write shares on the y axis as percentages."""
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")


def reference(axes: Axes, height: float, name: str, theme: Theme) -> None:
    """Draw a level to compare with, named at its right end."""
    axes.axhline(height, color=theme.muted, linestyle=":", linewidth=1, zorder=1.2)
    axes.annotate(
        name,
        (1, height),
        (3, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=theme.muted,
    )


def readable_on(colour: str, theme: Theme) -> str:
    """Choose the theme's text or its background, whichever stands out more from a colour."""

    def lightness(of: str) -> float:
        return float(np.dot(LIGHTNESS, to_rgb(of)))

    return max(
        (theme.text, theme.background), key=lambda other: abs(lightness(other) - lightness(colour))
    )


def width(axes: Axes) -> float:
    """Estimate how many inches wide axes will be."""
    return axes.get_position().width * WIDTH


def headed(figure: Figure, text: str) -> None:
    """Put a title above everything."""
    figure.suptitle(text, x=0.012, ha="left", fontsize=12, fontweight="bold")


def wrapped(text: str) -> str:
    """Break a caption into lines as wide as a figure."""
    return textwrap.fill(text, CAPTION_LETTERS)


def seed_lines(
    axes: Axes, rows: pd.DataFrame, column: str, colour: str, *, above: float = -np.inf
) -> None:
    """Draw one thin line per seed, by epoch.

    Args:
        axes: The axes to draw on.
        rows: Those of one dataset and rate, with their `seed`.
        column: What to draw.
        colour: The rate's.
        above: Only values above this are drawn, such as 0 on a logarithmic axis.
    """
    for _, seed in rows[rows[column] > above].groupby("seed"):
        axes.plot(seed["epoch"], seed[column], color=colour, linewidth=0.6, alpha=0.45)


def legend_below(
    figure: Figure, handles: Sequence[Any], caption: str, theme: Theme, **settings: Any
) -> None:
    """Add a legend below the panels, under a caption.

    Args:
        figure: The figure to draw on.
        handles: The marks to name.
        caption: The text above the names.
        theme: Its muted colour is used for the caption.
        **settings: Further arguments of `Figure.legend`.
    """
    figure.legend(
        handles=handles,
        title=wrapped(caption),
        title_fontproperties={"size": 8},
        alignment="left",
        loc="outside lower left",
        **settings,
    ).get_title().set(color=theme.muted, linespacing=1.4)


def captioned(figure: Figure, heading: str, text: str, theme: Theme) -> None:
    """Put a title above everything, and say below what the marks mean."""
    headed(figure, heading)
    figure.supxlabel(
        wrapped(text), x=0.012, ha="left", fontsize=8, color=theme.muted, linespacing=1.4
    )


def save_all(draw: Callable[[Theme], Mapping[str, Figure]], folder: Path) -> None:
    """Draw figures, by name, in every theme, and write them into a new folder."""
    with whole_directory(folder) as draft:
        for theme in THEMES:
            with themed(theme):
                for name, figure in draw(theme).items():
                    save(figure, draft / f"{name}-{theme.name}.png")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 256 colours, a third as large. The same figure always has the same bytes."""
    # `savefig` would draw twice.
    figure.set_dpi(PIXELS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path, "PNG", optimize=True)
