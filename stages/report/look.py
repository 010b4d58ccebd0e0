"""How the page looks: colours that follow the reader's scheme, the style of all charts."""

from collections.abc import Callable, Iterable

import pandas as pd

from stages.figures.rates import rates_of
from stages.figures.theme import DARK, LIGHT, Theme, rate_colour

CROSS = "M-1,-1L1,1M1,-1L-1,1"
"""The path of a lost network's mark."""


def both(choose: Callable[[Theme], str]) -> str:
    """Write a CSS colour that depends on whether the browser's scheme is light or dark."""
    return f"light-dark({choose(LIGHT)}, {choose(DARK)})"


BACKGROUND = both(lambda theme: theme.background)
TEXT = both(lambda theme: theme.text)
MUTED = both(lambda theme: theme.muted)
GRID = both(lambda theme: theme.grid)
MARK = both(lambda theme: theme.candidate)
CONFIG = {
    "aria": False,
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "title": {"color": TEXT, "anchor": "start", "fontSize": 13},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "gridColor": GRID,
        "domainColor": MUTED,
        "tickColor": MUTED,
    },
    "axisY": {"minExtent": 34},
    "header": {"labelColor": TEXT},
    "legend": {"labelColor": TEXT, "titleColor": TEXT},
}
"""The settings of Vega-Lite for every chart. Screen readers get the chart's table instead."""
STYLE = (
    ":root { color-scheme: light dark; "
    f"--background: {BACKGROUND}; --text: {TEXT}; --muted: {MUTED}; --grid: {GRID}; "
    f"--mark: {MARK}; }} @media print {{ :root {{ color-scheme: light; }} }}"
)
"""The colours as CSS variables. Printed pages use the light scheme."""


def colour_of_rate(rate: float, grid: Iterable[float]) -> str:
    """Colour a rate as all figures do, given the rates of the grid."""
    return both(lambda theme: rate_colour(rate, grid, theme))


def colours_of_rates(seeds: pd.DataFrame) -> list[str]:
    """Colour the rates, in the order of `rates_of`, as all figures do.

    Args:
        seeds: metrics/seeds.csv.
    """
    pairs = zip(rates_of(seeds, LIGHT), rates_of(seeds, DARK), strict=True)
    return [f"light-dark({light.colour}, {dark.colour})" for light, dark in pairs]
