"""Sum up the networks of one rung: how each ended, what it scored last, what its units do."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stages.audit.training.recipes import RungParams
from stages.common.datasets import Prepared, load
from stages.common.errors import run
from stages.common.parameters import read_params
from stages.common.whole_files import whole_file
from stages.diagnostics import features
from stages.diagnostics.outcomes import outcomes
from stages.diagnostics.parameters import Diagnose, Outcome
from stages.training import run_files
from stages.training.device import device_named, make_deterministic
from stages.training.splits import Splits
from stages.training.stack import Stack

DIGITS = 6
"""Significant digits in the table."""
LAST_EPOCH = {
    "validation_accuracy": "validation_accuracy",
    "test_accuracy": "test_accuracy",
    "train_accuracy": "train_accuracy",
    "test_loss": "test_loss",
    "train_loss": "train_loss",
    "gradient_norm_mean": "gradient_norm",
}
"""Column of the history → column of the table, which has the last epoch's value."""


class MeasureParams(RungParams):
    """The part of params.yaml that measuring a rung reads."""

    diagnose: Diagnose
    outcome: Outcome


def measured(ended: run_files.Run, sample: Tensor, outcome: Outcome) -> pd.DataFrame:
    """Sum up the networks of one learning rate, one row per seed.

    Args:
        ended: A run of a rung; of its parameters, the last are measured.
        sample: (examples, pixels), what the hidden units are measured on.
        outcome: How it is judged how a network ended.
    """
    facts = ended.facts
    last = ended.history[ended.history["epoch"] == facts["epochs"]].set_index("seed")
    table = outcomes(ended, outcome).set_index("seed")
    table["chance_accuracy"] = facts["chance_accuracy"]
    table = table.join(last[list(LAST_EPOCH)].rename(columns=LAST_EPOCH))
    table = table.join(feature_sparsity(ended, sample)).reset_index()
    table.insert(0, "learning_rate", facts["learning_rate"])
    return table


def feature_sparsity(ended: run_files.Run, sample: Tensor) -> pd.DataFrame:
    """Measure each hidden layer at the end of a run, by seed; NaN without finite parameters."""
    last = {name: values[-1] for name, values in ended.parameters.items()}
    stack = Stack.from_arrays(last).to(sample.device)
    names = [f"feature_sparsity_{layer + 1}" for layer in range(len(stack.widths) - 2)]
    table = pd.DataFrame(np.nan, index=ended.facts["seeds"], columns=names)
    alive = stack.finite().cpu()
    if alive.any():
        with torch.inference_mode():
            *hidden, _ = stack.only(alive).activations(sample)
            for name, activations in zip(names, hidden, strict=True):
                # On the CPU, in float64, which MPS lacks.
                found = features.feature_sparsity(activations.cpu())
                table.loc[alive.tolist(), name] = found.numpy()
    return table


def main() -> None:
    """Read a rung's runs, write its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds processed/ and audit/rungs/")
    parser.add_argument("tables", type=Path, help="the table goes to <dataset>/<recipe>.csv")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--recipe", required=True, help="one of audit.recipes")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    dataset, name = arguments.dataset, arguments.recipe
    declared = read_params(MeasureParams, arguments.params)
    recipe = declared.recipe(name)
    make_deterministic(declared.seeds[0])
    splits = Splits.of(
        load(Prepared, arguments.data / "processed" / f"{dataset}.npz", f"preprocess@{dataset}"),
        declared.applied(recipe, dataset).normalization,
        device_named(declared.device),
    )
    sample = splits.train.inputs[: declared.diagnose.examples]
    rung = arguments.data / "audit" / "rungs" / dataset / name
    command = f"dvc repro --force --single-item audit/dvc.yaml:rung@{dataset}-{name}"
    runs = (run_files.load(rung / f"{rate:g}", command) for rate in declared.rates(recipe))
    tables: list[Any] = [measured(each, sample, declared.outcome) for each in runs]
    table = pd.concat(tables).replace([np.inf, -np.inf], np.nan)
    with whole_file(arguments.tables / dataset / f"{name}.csv") as draft:
        table.to_csv(draft, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


if __name__ == "__main__":
    run(main)
