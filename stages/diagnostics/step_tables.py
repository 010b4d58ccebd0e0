"""The few steps of a run that its tables keep: of the first epoch, and around each breakdown."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.diagnostics.diagnostics_files import BURSTS, FIRST_EPOCH

ROWS = 60
"""Of the table of the first epoch: equally wide on a logarithmic axis, at least one step each."""
BEFORE, AFTER = 200, 20
"""Steps before and after the one at which a network's breakdown began."""


def first_epoch(gradient_norm: NDArray[np.float32], networks: pd.DataFrame) -> pd.DataFrame:
    """Condense the gradient norms of the first epoch to at most 60 rows.

    A row holds the median over the steps from its own up to the next row's, and over the networks
    not yet lost. Rows without any such network are left out.

    Args:
        gradient_norm: (steps of the first epoch, networks), before any clipping.
        networks: Their rows, in order, with `lost_step`.
    """
    steps = np.arange(1, len(gradient_norm) + 1)
    lost = networks["lost_step"].astype("float64").fillna(np.inf).to_numpy()
    norms = np.where(steps[:, None] < lost, gradient_norm, np.nan)
    starts = np.unique(np.geomspace(1, len(norms) + 1, ROWS + 1).round().astype(int))[:-1]
    parts = np.split(norms, starts[1:] - 1)
    medians = [pd.Series(part.ravel()).median() for part in parts]
    table = pd.DataFrame({"step": starts, "gradient_norm": medians})
    return table.dropna(ignore_index=True).astype(FIRST_EPOCH)


def bursts(
    loss: NDArray[np.float32], gradient_norm: NDArray[np.float32], networks: pd.DataFrame
) -> pd.DataFrame:
    """Select the steps around each breakdown: 200 before and, while all is finite, 20 after.

    Args:
        loss: (steps, networks).
        gradient_norm: (steps, networks), before any clipping.
        networks: Their rows, in order, with `seed` and `lost_step`.

    Returns:
        One row per lost network and step; `step` 0 is the one at which its breakdown began.
    """
    tables = [pd.DataFrame(columns=list(BURSTS)).astype(BURSTS)]
    lost = networks.reset_index(drop=True).dropna(subset="lost_step")
    places = zip(lost.index, lost["seed"], lost["lost_step"].to_numpy(int), strict=True)
    for network, seed, lost_step in places:
        steps = np.arange(max(1, lost_step - BEFORE), min(lost_step + AFTER, len(loss)) + 1)
        here = {
            "loss": loss[steps - 1, network],
            "gradient_norm": gradient_norm[steps - 1, network],
        }
        finite = np.isfinite(list(here.values())).all(axis=0)
        shown = np.logical_and.accumulate(finite | (steps < lost_step))
        table = pd.DataFrame({"seed": seed, "step": steps - lost_step, **here})
        tables.append(table[shown].astype(BURSTS))
    return pd.concat(tables, ignore_index=True)
