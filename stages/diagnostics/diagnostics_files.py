"""What diagnosing leaves in metrics/runs/<dataset>/<rate>/, and how the later stages read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common.errors import UserError
from stages.common.tables import read_table
from stages.common.whole_files import json_text
from stages.training import run_files

DIGITS = 6
"""Significant digits in the tables: finer differences are rounding of the arithmetic."""

NETWORKS = {
    "seed": "int64",
    "outcome": "str",
    "lost_epoch": "Int64",
    "lost_step": "Int64",
    "lost_how": "str",
    "running_accuracy": "float64",
    "steps_to_threshold": "Int64",
    "peak_gradient_norm": "float64",
}
FEATURES = {
    "seed": "int64",
    "epoch": "int64",
    "layer": "int64",
    "positive_share": "float64",
    "never_firing_share": "float64",
    "feature_sparsity": "float64",
    "effective_rank": "float64",
}
SHARPNESS = {"seed": "int64", "epoch": "int64", "sharpness": "float64", "residual": "float64"}
FIRST_EPOCH = {"step": "int64", "gradient_norm": "float64"}
BURSTS = {"seed": "int64", "step": "int64", "loss": "float64", "gradient_norm": "float64"}

TABLES = {
    "history": run_files.HISTORY,
    "networks": NETWORKS,
    "features": FEATURES,
    "sharpness": SHARPNESS,
    "first_epoch": FIRST_EPOCH,
    "bursts": BURSTS,
}
"""The columns of each table, with their types; "Int64" is a whole number that may be missing."""


@dataclass(frozen=True)
class Measured:
    """What is known of one learning rate's networks; the tables have the columns of `TABLES`."""

    facts: dict[str, Any]
    """As in `stages.training.run_files.Run`."""
    history: pd.DataFrame
    """As in `stages.training.run_files.Run`."""
    networks: pd.DataFrame
    """One row per network: how it ended, as in `stages.diagnostics.outcomes`."""
    features: pd.DataFrame
    """One row per network, epoch (0: the start) and hidden layer (from 1), as long as the
    network's parameters are finite; values are missing where activations overflow."""
    sharpness: pd.DataFrame
    """One row per network and epoch, likewise."""
    first_epoch: pd.DataFrame
    """The gradient norm through the first epoch, condensed."""
    bursts: pd.DataFrame
    """One row per lost network and step around its loss; `step` counts from `lost_step`."""


def save(measured: Measured, folder: Path) -> None:
    """Write measurements into an existing folder; six significant digits, whole numbers whole."""
    (folder / "run.json").write_text(json_text(measured.facts), encoding="utf-8")
    for name in TABLES:
        getattr(measured, name).to_csv(
            folder / f"{name}.csv", index=False, lineterminator="\n", float_format=f"%.{DIGITS}g"
        )


def load(folder: Path) -> Measured:
    """Read measurements that `save` wrote.

    Raises:
        UserError: A part is absent or damaged; names the file and the command that makes it anew.
    """
    command = run_files.remedy(folder, "record", "record_candidate")
    tables = {}
    for name, columns in TABLES.items():
        path = folder / f"{name}.csv"
        with _reading(path, command):
            tables[name] = read_table(path, columns)
    path = folder / "run.json"
    with _reading(path, command):
        facts = run_files.read_facts(path)
    return Measured(facts, **tables)


@contextmanager
def _reading(path: Path, command: str) -> Iterator[None]:
    """Name the file and what makes it anew, should reading it fail."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: make it with: {command}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): make it anew with: {command}") from None
