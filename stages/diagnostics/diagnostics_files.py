"""What diagnosing leaves in metrics/runs/<dataset>/<rate>/, and how the later stages read it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.common.errors import reading
from stages.common.tables import csv_text, read_table
from stages.common.whole_files import json_text
from stages.training import run_files

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
    """One row per lost network and step around its breakdown; `step` counts from `lost_step`."""


def save(measured: Measured, folder: Path) -> None:
    """Write measurements into an existing folder."""
    (folder / "run.json").write_text(json_text(measured.facts), encoding="utf-8")
    for name in TABLES:
        (folder / f"{name}.csv").write_text(csv_text(getattr(measured, name)), encoding="utf-8")


def load(folder: Path) -> Measured:
    """Read measurements that `save` wrote.

    Raises:
        UserError: A part is absent or damaged; names the file and the command that recreates it.
    """
    command = run_files.remedy(folder, "record", "record_candidate")
    tables = {}
    for name, columns in TABLES.items():
        path = folder / f"{name}.csv"
        with reading(path, command):
            tables[name] = read_table(path, columns)
    return Measured(run_files.read_facts(folder / "run.json", command), **tables)
