"""Gather the measured runs that params.yaml names into the tables of metrics/."""

import argparse
from pathlib import Path

from stages.common.errors import run
from stages.common.parameters import read_params
from stages.common.tables import csv_text
from stages.common.whole_files import json_text, whole_file
from stages.results.parameters import AggregateParams
from stages.results.summary import readable, summary
from stages.results.tables import (
    diagnostics_table,
    gather,
    grid_table,
    history_table,
    seeds_table,
)


def main() -> None:
    """Read the runs, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="holds <dataset>/<learning rate>/")
    parser.add_argument("metrics", type=Path, help="folder to write the tables to")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    study = list(gather(read_params(AggregateParams, arguments.params), arguments.runs))
    seeds = seeds_table(study)
    grid = grid_table(seeds)
    tables = {
        "history": history_table(study),
        "diagnostics": diagnostics_table(study),
        "seeds": seeds,
        "grid": grid,
    }
    texts = {f"{name}.csv": csv_text(table) for name, table in tables.items()}
    texts |= {"grid.md": readable(grid), "summary.json": json_text(summary(grid))}
    for name, text in texts.items():
        with whole_file(arguments.metrics / name) as draft:
            draft.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run(main)
