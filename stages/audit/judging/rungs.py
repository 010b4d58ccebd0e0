"""The rungs of the ladder: recipes, each one change away from another."""

from collections.abc import Mapping

CORE = "core"
"""The recipe on which the claims are judged: every rate starts from fresh weights, and
nothing is tuned."""
RUNGS = ("as_published", "fresh_start", "standardized", CORE, "clipped", "warmup_cosine")
CHANGES = (
    ("as_published", "fresh_start"),
    ("fresh_start", "standardized"),
    ("standardized", CORE),
    (CORE, "clipped"),
    (CORE, "warmup_cosine"),
    (CORE, "core_permuted"),
)
"""Pairs of recipes that differ in one thing. The last differs in rounding alone."""
TITLES: Mapping[str, str] = {
    "as_published": "as published",
    "fresh_start": "fresh start",
    "standardized": "standardized",
    CORE: "core",
    "clipped": "clipped",
    "warmup_cosine": "warm-up + cosine",
    "core_permuted": "core, units in another order",
}
"""Recipe → its name for readers."""


def named(recipe: str) -> str:
    """Name a recipe for readers; a recipe that is not in `TITLES` keeps its own name."""
    return TITLES.get(recipe, recipe)
