"""What training leaves in data/runs/<dataset>/<rate>/, and how the later stages read it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.common.datasets import CLASSES, SIDE, read_arrays
from stages.common.errors import UserError, reading
from stages.common.parameters import CANDIDATE
from stages.common.tables import read_table
from stages.common.whole_files import json_text

SPLITS = ("train", "validation", "test")
SCORES = ("loss", "accuracy", "mape")
CONDENSED = ("mean", "median", "p95", "max")
HISTORY = {
    "seed": "int64",
    "epoch": "int64",
    "step": "int64",
    "learning_rate": "float64",
    **{f"{split}_{each}": "float64" for split in SPLITS for each in SCORES},
    **{f"gradient_norm_{each}": "float64" for each in CONDENSED},
    **{f"relative_update_{each}": "float64" for each in CONDENSED},
    "noise_scale": "float64",
}
"""The columns of a run's history, with their types."""
STEPS = (
    "loss",
    "accuracy",
    "gradient_norm",
    "layer_gradient_norm",
    "example_gradient_norm",
    "relative_update",
)
"""The quantities of `stages.training.training_log.Steps`."""

Arrays = dict[str, NDArray[np.float32]]


class Facts(BaseModel):
    """What run.json holds."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dataset: str
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    seeds: list[int] = Field(min_length=1)
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    steps_per_epoch: int = Field(gt=0)
    chance_accuracy: float = Field(gt=0, le=1)
    """The share of the most frequent class among the test examples."""


@dataclass(frozen=True)
class Run:
    """One learning rate's networks, one per seed."""

    facts: dict[str, Any]
    """What `Facts` names."""
    history: pd.DataFrame
    """One row per seed and epoch, in the order of the seeds, with the columns `HISTORY`."""
    steps: Arrays
    """(steps of the run, networks, …): the quantities of `STEPS`."""
    parameters: Arrays
    """(epochs + 1, networks, …): `weight_l` and `bias_l` as in `Stack.arrays`, at the start and at
    the end of each epoch. Most runs of the audit keep only the end: (1, networks, …)."""

    def network(self, number: int, epoch: int) -> Arrays:
        """Select the parameters of one network at the end of an epoch, (1, …) each."""
        place = epoch - self.facts["epochs"] - 1
        return {name: kept[place, number : number + 1] for name, kept in self.parameters.items()}


def joined(runs: Sequence[Run]) -> Run:
    """Put runs of the same rate and recipe side by side, in order.

    Raises:
        ValueError: The runs differ in more than their seeds.
    """
    first, *others = (run.facts for run in runs)
    if any(other | {"seeds": first["seeds"]} != first for other in others):
        raise ValueError(f"these runs differ in more than their seeds: {[first, *others]}")
    return Run(
        facts=first | {"seeds": [seed for run in runs for seed in run.facts["seeds"]]},
        history=pd.concat([run.history for run in runs], ignore_index=True),
        steps=_side_by_side([run.steps for run in runs]),
        parameters=_side_by_side([run.parameters for run in runs]),
    )


def _side_by_side(blocks: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}


def save(run: Run, folder: Path) -> None:
    """Write a run into an existing folder; floats at full precision."""
    (folder / "run.json").write_text(json_text(run.facts), encoding="utf-8")
    run.history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
    for name, arrays in (("steps", run.steps), ("parameters", run.parameters)):
        same = {each: with_one_nan(array) for each, array in arrays.items()}
        np.savez(folder / f"{name}.npz", allow_pickle=False, **same)


def with_one_nan(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give every NaN the same bits: its sign depends on where in memory a network lies."""
    return np.where(np.isnan(array), np.float32(np.nan), array)


def load(folder: Path, dataset: str, command: str | None = None, *, by_epoch: bool = True) -> Run:
    """Read a run that `save` wrote.

    Args:
        folder: The run's folder.
        dataset: The dataset that the run has to be of.
        command: The command that recreates the run, for the error message; by default the one for
            data/runs.
        by_epoch: Whether it has the parameters after every epoch, or only those at the end.

    Raises:
        UserError: A part is absent or damaged; names the file and the command.
    """
    command = command or remedy(folder)
    facts = read_facts(folder / "run.json", command)
    if facts["dataset"] != dataset:
        raise UserError(
            f"{folder / 'run.json'} is of the dataset {facts['dataset']}: "
            f"recreate it with: {command}"
        )
    networks, epochs = len(facts["seeds"]), facts["epochs"]
    steps, kept = epochs * facts["steps_per_epoch"], epochs + 1 if by_epoch else 1
    history = _read_history(folder / "history.csv", facts, command)
    parameters = _read_parameters(folder / "parameters.npz", (kept, networks), command)
    layers = len(parameters) // 2
    measured = _read_steps(folder / "steps.npz", (steps, networks, layers), command)
    return Run(facts, history, measured, parameters)


def read_facts(path: Path, command: str) -> dict[str, Any]:
    """Read run.json.

    Args:
        path: The file.
        command: The command that recreates the file, for the error message.

    Raises:
        UserError: The file is absent or damaged, or does not hold `Facts`.
    """
    with reading(path, command):
        try:
            return Facts.model_validate_json(path.read_text(encoding="utf-8")).model_dump()
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "all of it"
            raise ValueError(f"{place}: {first['msg']}") from None


def _read_history(path: Path, facts: dict[str, Any], command: str) -> pd.DataFrame:
    seeds, epochs, per_epoch = facts["seeds"], facts["epochs"], facts["steps_per_epoch"]
    with reading(path, command):
        table = read_table(path, HISTORY)
        found = table[["seed", "epoch", "step"]].itertuples(index=False, name=None)
        # The length first: a damaged run.json may name any number of epochs.
        if len(table) != len(seeds) * epochs or [*found] != [
            (seed, epoch, epoch * per_epoch) for seed, epoch in product(seeds, range(1, epochs + 1))
        ]:
            raise ValueError("its seeds, epochs and steps are not those of run.json")
        return table


def _read_steps(path: Path, shape: tuple[int, int, int], command: str) -> Arrays:
    """Read the quantities of `STEPS`, of so many steps, networks and layers."""
    arrays = read_arrays(path, command)
    with reading(path, command):
        _check_arrays(arrays, STEPS, shape[:2])
        for name, array in arrays.items():
            if array.shape != (shape if name == "layer_gradient_norm" else shape[:2]):
                raise ValueError(f"{name} has the shape {array.shape}")
    return arrays


def _read_parameters(path: Path, shape: tuple[int, int], command: str) -> Arrays:
    """Read the weights and biases of every layer, numbered from 0."""
    arrays = read_arrays(path, command)
    layers = range(len(arrays) // 2)
    names = [f"{kind}_{layer}" for layer in layers for kind in ("weight", "bias")]
    with reading(path, command):
        _check_arrays(arrays, names, shape)
        width = SIDE**2
        for layer in layers:
            weight, bias = arrays[f"weight_{layer}"], arrays[f"bias_{layer}"]
            following = weight.shape[-1]
            if weight.shape[2:] != (width, following) or bias.shape[2:] != (1, following):
                raise ValueError(
                    f"layer {layer} takes {width} units and has the shapes "
                    f"{weight.shape} and {bias.shape}"
                )
            width = following
        if width != CLASSES:
            raise ValueError(f"the last layer has {width} units, not {CLASSES}")
    return arrays


def _check_arrays(arrays: Arrays, names: Iterable[str], shape: tuple[int, int]) -> None:
    """See that arrays have these names, the type float32, and shapes that begin like this one."""
    if {*arrays} != {*names}:
        raise ValueError(f"it holds {', '.join(arrays) or 'nothing'}")
    for name, array in arrays.items():
        if array.shape[:2] != shape:
            raise ValueError(f"{name} has the shape {array.shape}, not ({shape[0]}, {shape[1]}, …)")
        if array.dtype != np.float32:
            raise ValueError(f"{name} is {array.dtype}, not float32")


def remedy(folder: Path, stage: str = "train", candidate_stage: str = "candidate") -> str:
    """Name the command that recreates a folder data/…/<dataset>/<rate>."""
    dataset, rate = folder.parts[-2:]
    name = f"{candidate_stage}@{dataset}" if rate == CANDIDATE else f"{stage}@{dataset}-{rate}"
    return f"dvc repro --force --single-item {name}"
