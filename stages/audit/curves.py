"""Fit how often networks are lost at each rate, match the mechanism's arms, measure rounding."""

import argparse
from pathlib import Path

from pydantic import BaseModel

from stages.audit.judging import failure, failure_tables, mechanism, read_tables, rounding
from stages.common.errors import run
from stages.common.parameters import read_params
from stages.common.tables import csv_text
from stages.common.whole_files import whole_file
from stages.training.parameters import Training


class CurvesParams(BaseModel):
    """The part of params.yaml that the curves read."""

    training: Training


def main() -> None:
    """Read the audit's tables; write what is fitted to them beside them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, help="holds networks.csv and epochs.csv")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = read_params(CurvesParams, arguments.params)
    networks = read_tables.networks(arguments.tables)
    epochs = read_tables.epochs(arguments.tables)
    fits = failure.failures(networks, declared.training.epochs)
    shares = failure.observed(networks)
    made = {
        "failure": failure_tables.failure_table(fits, shares),
        "failure_shares": shares,
        "failure_curves": failure_tables.curves_table(fits),
        "mechanism": mechanism.matched(epochs, networks),
        "rounding": rounding.rounding(networks),
    }
    for name, table in made.items():
        with whole_file(arguments.tables / f"{name}.csv") as draft:
            draft.write_text(csv_text(table), encoding="utf-8")


if __name__ == "__main__":
    run(main)
