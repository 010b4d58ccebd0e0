"""Measure one training run: how its networks ended, their hidden units, their curvature."""

import argparse
from functools import partial
from pathlib import Path

from stages.common.datasets import Prepared, load_prepared
from stages.common.errors import run
from stages.common.parameters import CANDIDATE, read_params
from stages.common.whole_files import whole_directory
from stages.diagnostics import diagnostics_files
from stages.diagnostics.diagnostics_files import Measured
from stages.diagnostics.measure import Measurements, chosen_epochs, measure_block
from stages.diagnostics.outcomes import outcomes
from stages.diagnostics.parameters import DiagnoseParams
from stages.diagnostics.step_tables import bursts, first_epoch
from stages.training import run_files, workers
from stages.training.device import device_named, make_deterministic
from stages.training.run_files import Run


def diagnose(finished: Run, prepared: Prepared, declared: DiagnoseParams) -> Measured:
    """Measure a run.

    Args:
        finished: The run.
        prepared: The dataset it was trained on.
        declared: What is measured, and how it is judged how a network ended.
    """
    facts, steps = finished.facts, finished.steps
    networks = outcomes(finished, declared.outcome)
    epochs = chosen_epochs(facts["epochs"], declared.diagnose.every_epochs)
    blocks = workers.in_blocks(
        partial(measure_block, run=finished, prepared=prepared, declared=declared),
        facts["seeds"],
        title=f"measuring {facts['dataset']} at {facts['learning_rate']:g}",
        total=len(facts["seeds"]) * len(epochs),
        unit="network epoch",
        alone=device_named(declared.device).type != "cpu",
    )
    return Measured(
        facts,
        finished.history,
        networks,
        **Measurements.joined(blocks)._asdict(),
        first_epoch=first_epoch(steps["gradient_norm"][: facts["steps_per_epoch"]], networks),
        bursts=bursts(steps["loss"], steps["gradient_norm"], networks),
    )


def main() -> None:
    """Read a run, write what is measured of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds processed/, runs/ and diagnostics/")
    parser.add_argument("--dataset", required=True)
    parser.add_argument(
        "--lr", default=CANDIDATE, help="a rate of the grid; without it, the candidate"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = read_params(DiagnoseParams, arguments.params)
    make_deterministic()
    place = Path(arguments.dataset, arguments.lr)
    prepared = load_prepared(arguments.data, arguments.dataset)
    finished = run_files.load(arguments.data / "runs" / place, arguments.dataset)
    measured = diagnose(finished, prepared, declared)
    with whole_directory(arguments.data / "diagnostics" / place) as draft:
        diagnostics_files.save(measured, draft)


if __name__ == "__main__":
    run(main)
