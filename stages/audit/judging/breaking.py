"""Where the seeds break, as the searches found it, and how the ladder's networks agree."""

import pandas as pd

from stages.audit.judging.evidence import Evidence


def crossings(boundary: pd.DataFrame) -> pd.Series:
    """Compute the rate at which each seed of a boundary's rows breaks.

    It is the middle, on a logarithmic axis, of the rates that bracket it; missing where an end was
    never tried.
    """
    return (boundary["low"] * boundary["high"]) ** 0.5


def breaking_rates(boundary: pd.DataFrame) -> pd.DataFrame:
    """Lay out where each seed breaks: one row per dataset and seed, one column per recipe."""
    return boundary.assign(crossing=crossings(boundary)).pivot(
        index=["dataset", "seed"], columns="recipe", values="crossing"
    )


def contradictions(evidence: Evidence, dataset: str, recipe: str) -> tuple[int, int]:
    """Count the networks of a rung that fail below their seed's crossing or train above it.

    Returns:
        Their number, and that of the networks that lie outside their seed's bracket at all.
    """
    here = evidence.boundary[
        (evidence.boundary["dataset"] == dataset) & (evidence.boundary["recipe"] == recipe)
    ]
    both = evidence.rows(recipe, dataset).merge(here[["seed", "low", "high"]], on="seed")
    trained = both["outcome"] == "trained"
    below = both["learning_rate"] <= both["low"]
    above = both["learning_rate"] >= both["high"]
    return int((below & ~trained).sum() + (above & trained).sum()), int((below | above).sum())
