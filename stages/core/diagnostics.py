"""What diagnosing leaves in data/diagnostics/<dataset>/<rate>/."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from stages.core import runs
from stages.core.errors import UserError

FEATURES = (
    "seed",
    "epoch",
    "layer",
    "positive_share",
    "never_firing_share",
    "feature_sparsity",
    "effective_rank",
)
SHARPNESS = ("seed", "epoch", "sharpness", "residual")


@dataclass(frozen=True)
class Diagnostics:
    """Measurements of one run's networks, as long as their parameters are finite."""

    features: pd.DataFrame
    """A row a seed, epoch (0: the start) and hidden layer (from 1), with the columns `FEATURES`."""
    sharpness: pd.DataFrame
    """A row a seed and epoch, with the columns `SHARPNESS`."""

    @classmethod
    def joined(cls, parts: Sequence["Diagnostics"]) -> Self:
        """Lay measurements end to end."""
        return cls(
            features=pd.concat([part.features for part in parts], ignore_index=True),
            sharpness=pd.concat([part.sharpness for part in parts], ignore_index=True),
        )


def save(diagnostics: Diagnostics, folder: Path) -> None:
    """Write diagnostics into an existing folder; floats at full precision."""
    for name, table in vars(diagnostics).items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def load(folder: Path) -> Diagnostics:
    """Read diagnostics that `save` wrote.

    Raises:
        UserError: A part is absent or damaged; names the command that makes it anew.
    """
    remedy = runs.remedy(folder, "diagnose", "diagnose_candidate")
    try:
        return Diagnostics(
            features=runs.read_table(folder / "features.csv", FEATURES),
            sharpness=runs.read_table(folder / "sharpness.csv", SHARPNESS),
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} does not exist: make it with: {remedy}") from None
    except ValueError as error:
        raise UserError(f"{folder} is damaged ({error}): make it anew with: {remedy}") from None
