"""Train one learning rate: one network per seed."""

import argparse
import math
from functools import partial
from pathlib import Path

from stages.common.datasets import load_prepared
from stages.common.errors import UserError, run
from stages.common.parameters import CANDIDATE, read_params
from stages.common.whole_files import whole_directory
from stages.training import run_files
from stages.training.device import device_named, make_deterministic
from stages.training.loop import train_block
from stages.training.parameters import CandidateParams, TrainParams
from stages.training.workers import in_blocks


def number(rate: str) -> float:
    """Read a learning rate of the command line.

    Raises:
        UserError: It is not a finite number above 0.
    """
    try:
        read = float(rate)
    except ValueError:
        read = math.nan
    if not 0 < read < math.inf:
        raise UserError(f"--lr {rate}: not a finite number above 0; give a rate, such as 0.3")
    return read


def main() -> None:
    """Train a rate of the grid, or the candidate, and write its run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds processed/ and runs/")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--lr", help="a rate of the grid; without it, params.yaml's candidate")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    dataset = arguments.dataset
    if arguments.lr is None:
        candidate = read_params(CandidateParams, arguments.params)
        declared: TrainParams = candidate
        rate, name = float(candidate.lr), CANDIDATE
        title = f"{dataset} at {rate:g} (candidate)"
    else:
        declared = read_params(TrainParams, arguments.params)
        rate, name = number(arguments.lr), arguments.lr
        title = f"{dataset} at {rate:g}"
    make_deterministic()
    prepared = load_prepared(arguments.data, dataset)
    blocks = in_blocks(
        partial(train_block, prepared=prepared, rate=rate, declared=declared, dataset=dataset),
        declared.seeds,
        title=title,
        total=len(declared.seeds) * declared.training.epochs,
        unit="network epoch",
        alone=device_named(declared.device).type != "cpu",
    )
    with whole_directory(arguments.data / "runs" / dataset / name) as draft:
        run_files.save(run_files.joined(blocks), draft)


if __name__ == "__main__":
    run(main)
