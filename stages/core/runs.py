"""What training leaves in data/runs/<dataset>/<rate>/, and how the later stages read it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.core.datasets import read_arrays
from stages.core.errors import UserError
from stages.core.files import json_text

CANDIDATE = "candidate"

SCORES = ("loss", "accuracy", "mape")
HISTORY = (
    "seed",
    "epoch",
    "step",
    "learning_rate",
    *(f"{split}_{score}" for split in ("train", "validation", "test") for score in SCORES),
    "gradient_norm_mean",
    "gradient_norm_max",
)
VALIDATION = ("seed", "step", "loss", "accuracy")


@dataclass(frozen=True)
class Run:
    """One learning rate's networks, a seed each."""

    facts: dict[str, Any]
    """Small JSON: the rate, the seeds, and for each seed whether and where it diverged."""
    history: pd.DataFrame
    """A row a seed and epoch, with the columns `HISTORY`."""
    validation: pd.DataFrame
    """A row a seed and evaluation of the validation split, with the columns `VALIDATION`."""
    weights: dict[str, NDArray[np.float32]]
    """The final `weight_l` (networks, inputs, outputs) and `bias_l` (networks, 1, outputs)."""


def save(run: Run, folder: Path) -> None:
    """Write a run into an existing folder; floats at full precision."""
    (folder / "run.json").write_text(json_text(run.facts), encoding="utf-8")
    run.history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
    run.validation.to_csv(folder / "validation.csv", index=False, lineterminator="\n")
    np.savez(folder / "weights.npz", allow_pickle=False, **run.weights)


def load(folder: Path) -> Run:
    """Read a run that `save` wrote.

    Raises:
        UserError: A part is absent or damaged; names the file and the command that makes it anew.
    """
    name = "-".join(folder.parts[-2:])
    stage = f"train@{name}"
    if folder.name == CANDIDATE:
        stage = f"candidate@{folder.parent.name}"
    remedy = f"dvc repro --force --single-item {stage}"
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        history = _read_table(folder / "history.csv", HISTORY)
        validation = _read_table(folder / "validation.csv", VALIDATION)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} does not exist: make it with: {remedy}") from None
    except ValueError as error:
        raise UserError(f"{folder} is damaged ({error}): make it anew with: {remedy}") from None
    return Run(facts, history, validation, read_arrays(folder / "weights.npz", remedy))


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_csv(path)
    if tuple(table.columns) != columns:
        raise ValueError(f"{path.name} has the columns {', '.join(table.columns)}")
    return table
