"""The audit's colours: those of the core study's figures for rates, and three for recipes."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from stages.figures.rates import Rate
from stages.figures.theme import LIGHT, Theme

RECIPES: Mapping[str, tuple[str, str]] = {
    "clipped": ("#c2500a", "#f0a33a"),
    "warmup_cosine": ("#0072b2", "#56b4e9"),
}
"""Recipe → its colour on a light and on a dark background; core has the text's. By Okabe and Ito,
so that those who confuse hues tell them apart."""


def rate_colour(rate: float, grid: Iterable[float], theme: Theme) -> str:
    """Choose a rate's colour: that of the core study's figures, or one between its neighbours'.

    Args:
        rate: A learning rate.
        grid: The core study's.
        theme: Beyond the grid, its muted colour is used.
    """
    ordered = sorted(set(grid))
    places = np.linspace(*theme.ramp, num=len(ordered))
    place = np.interp(rate, ordered, places, left=np.nan, right=np.nan)
    return theme.muted if np.isnan(place) else to_hex(mpl.colormaps["plasma"](place))


def rates_in_colour(rates: Iterable[float], grid: Sequence[float], theme: Theme) -> list[Rate]:
    """List rates from the smallest up, each in its colour."""
    return [Rate("grid", rate, rate_colour(rate, grid, theme)) for rate in sorted(set(rates))]


def recipe_colour(recipe: str, theme: Theme) -> str:
    """Choose a recipe's colour."""
    light, dark = RECIPES.get(recipe, (theme.text, theme.text))
    return light if theme == LIGHT else dark
