"""The tables of the probability that a network is lost."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from stages.audit.judging.failure import ROUNDING, SHARES, WHICH_FIT, Failure, Fitted, ratio
from stages.audit.judging.rungs import CORE

HALF = 0.5
POINTS = 181
"""Rates at which a curve is written, evenly spaced on a logarithmic axis."""
PERIOD_NAMES = ("hazard_in_epoch_1", "hazard_in_epochs_2_3", "hazard_later")
ENDS = ("", "_low", "_high")
COLUMNS = [
    *("dataset", "recipe", "networks", "lost", "smallest_rate", "largest_rate", "state"),
    *(f"slope{end}" for end in ENDS),
    *PERIOD_NAMES,
    "rates_outside",
    *(f"rate_{100 * share:.0f}{end}" for share in SHARES for end in ENDS),
    *(f"times_core{end}" for end in ENDS),
]


def failure_table(found: Mapping[tuple[str, str], Failure], shares: pd.DataFrame) -> pd.DataFrame:
    """Lay out the fits.

    Args:
        found: As `stages.audit.judging.failure.failures` returns it.
        shares: As `stages.audit.judging.failure.observed` returns it.

    Returns:
        One row per dataset and family:
        dataset; recipe: the family; networks, lost: how many;
        smallest_rate, largest_rate: of those tried;
        state: fitted; one level (fitted with one level for all epochs, because separate levels
        leave the slope without an estimate); or why no hazard could be fitted: none lost, all lost,
        separated (losses begin at one rate, and beyond it every network is lost), not rising
        (larger rates lose no more);
        slope, slope_low, slope_high: the hazard grows like this power of the rate;
        hazard_in_epoch_1, hazard_in_epochs_2_3, hazard_later: the periods' shares of the cumulative
        hazard;
        rates_outside: at how many rates the fit lies outside the observed share's interval;
        rate_10, rate_10_low, rate_10_high: the rate at which 10 % are lost by the last epoch, with
        its 95 % interval; likewise for 50 and 90. The value is missing if nothing could be fitted,
        the low end if it is below the rates tried, the high end if it is above them;
        times_core, times_core_low, times_core_high: the rate at which half are lost, as a multiple
        of core's.
    """
    rows = []
    for (dataset, recipe), each in found.items():
        losses, curve = each.losses, each.curve
        row: dict[str, object] = {
            "dataset": dataset,
            "recipe": recipe,
            "networks": losses.networks.sum(),
            "lost": losses.lost.sum(),
            "smallest_rate": losses.rates[0],
            "largest_rate": losses.rates[-1],
            "state": curve.state,
            **_with_ends("slope", *each.slope()),
        }
        if isinstance(curve, Fitted):
            here = shares[(shares["dataset"] == dataset) & (shares["recipe"] == recipe)]
            row["rates_outside"] = _outside(curve, here)
            if curve.state == "fitted":
                row |= zip(PERIOD_NAMES, curve.hazard_shares, strict=False)
        for share in SHARES:
            row |= _with_ends(f"rate_{100 * share:.0f}", *each.rate_lost(share))
        if (dataset, CORE) in found:
            row |= _with_ends("times_core", *ratio(each, found[dataset, CORE], HALF))
        rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"rates_outside": "Int64"})


def curves_table(found: Mapping[tuple[str, str], Failure]) -> pd.DataFrame:
    """Lay out the curves of the figure.

    Returns:
        Rows for each dataset and family (recipe), from the smallest rate tried to the largest:
        learning_rate, share (lost by the last epoch; missing where nothing could be fitted), low
        and high (95 % interval at this rate).
    """
    rows = []
    for place, each in found.items():
        rates = np.geomspace(each.losses.rates[0], each.losses.rates[-1], POINTS)
        rows += [[*place, *point] for point in each.share_lost(rates).itertuples(index=False)]
    return pd.DataFrame(rows, columns=[*WHICH_FIT, "learning_rate", "share", "low", "high"])


def _with_ends(name: str, value: float, low: float, high: float) -> dict[str, float]:
    return {
        name: value,
        f"{name}_low": low if 0 < low < np.inf else np.nan,
        f"{name}_high": high if high < np.inf else np.nan,
    }


def _outside(curve: Fitted, shares: pd.DataFrame) -> int:
    fitted, _ = curve.share_lost(shares["learning_rate"].to_numpy(dtype=float))
    too_low = fitted < shares["low"] - ROUNDING
    too_high = fitted > shares["high"] + ROUNDING
    return int((too_low | too_high).sum())
