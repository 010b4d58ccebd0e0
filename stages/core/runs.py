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
CONDENSED = ("mean", "median", "p95", "max")
HISTORY = (
    "seed",
    "epoch",
    "step",
    "learning_rate",
    *(f"{split}_{score}" for split in ("train", "validation", "test") for score in SCORES),
    *(f"gradient_norm_{value}" for value in CONDENSED),
    *(f"relative_update_{value}" for value in CONDENSED),
    "noise_scale",
)
VALIDATION = ("seed", "step", "loss", "accuracy")

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Tables:
    """The small part of a run."""

    facts: dict[str, Any]
    """The rate, the seeds, and for each seed whether and where it diverged."""
    history: pd.DataFrame
    """A row a seed and epoch, with the columns `HISTORY`."""
    validation: pd.DataFrame
    """A row a seed and evaluation of the validation split, with the columns `VALIDATION`."""


@dataclass(frozen=True)
class Run:
    """One learning rate's networks, a seed each."""

    tables: Tables
    steps: Arrays
    """Every step of the run, the quantities of `stages.core.records.Steps`."""
    parameters: Arrays
    """`weight_l` and `bias_l` as in `Stack.arrays`, with the epochs before the networks: at the
    start, then at the end of each epoch."""


def save_tables(tables: Tables, folder: Path) -> None:
    """Write the small part of a run into an existing folder; floats at full precision."""
    (folder / "run.json").write_text(json_text(tables.facts), encoding="utf-8")
    tables.history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
    tables.validation.to_csv(folder / "validation.csv", index=False, lineterminator="\n")


def save(run: Run, folder: Path) -> None:
    """Write a run into an existing folder."""
    save_tables(run.tables, folder)
    np.savez(folder / "steps.npz", allow_pickle=False, **run.steps)
    np.savez(folder / "parameters.npz", allow_pickle=False, **run.parameters)


def load_tables(folder: Path, command: str | None = None) -> Tables:
    """Read the small part of a run that `save` or `save_tables` wrote.

    Args:
        folder: Where.
        command: What makes it anew, for the remedy; by default that of data/runs.

    Raises:
        UserError: A part is absent or damaged; names the file and the command.
    """
    command = command or remedy(folder)
    try:
        return Tables(
            facts=json.loads((folder / "run.json").read_text(encoding="utf-8")),
            history=read_table(folder / "history.csv", HISTORY),
            validation=read_table(folder / "validation.csv", VALIDATION),
        )
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} does not exist: make it with: {command}") from None
    except ValueError as error:
        raise UserError(f"{folder} is damaged ({error}): make it anew with: {command}") from None


def load_steps(folder: Path) -> Arrays:
    """Read the steps of a run that `save` wrote; raises as `load_tables` does."""
    return read_arrays(folder / "steps.npz", remedy(folder))


def load_parameters(folder: Path) -> Arrays:
    """Read the parameters of a run that `save` wrote; raises as `load_tables` does."""
    return read_arrays(folder / "parameters.npz", remedy(folder))


def remedy(folder: Path, stage: str = "train", candidate_stage: str = "candidate") -> str:
    """Name the command that makes a folder data/…/<dataset>/<rate> anew."""
    dataset, rate = folder.parts[-2:]
    name = f"{candidate_stage}@{dataset}" if rate == CANDIDATE else f"{stage}@{dataset}-{rate}"
    return f"dvc repro --force --single-item {name}"


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file that must have these columns.

    Raises:
        FileNotFoundError: It is absent.
        ValueError: It has other columns, or none.
    """
    table = pd.read_csv(path)
    if tuple(table.columns) != columns:
        raise ValueError(f"{path.name} has the columns {', '.join(table.columns)}")
    return table
