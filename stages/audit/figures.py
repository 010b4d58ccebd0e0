"""Draw the audit's tables as figures, in a light and a dark theme."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from pydantic import BaseModel

from stages.audit.drawing.effects import effects
from stages.audit.drawing.failure import failure
from stages.audit.drawing.ladder import ladder
from stages.audit.drawing.mechanism import mechanism
from stages.audit.judging import read_tables
from stages.audit.judging.published import NOTEBOOK_ACCURACY
from stages.audit.judging.read_tables import PLACE, numbers, texts, with_ends
from stages.audit.judging.rungs import RUNGS
from stages.common.errors import run
from stages.common.parameters import Rates, read_params
from stages.figures.theme import Theme, save_all

CURVES = PLACE | numbers("share", "low", "high")
SHARES = CURVES | {"networks": "int64", "lost": "int64"}
MECHANISM = texts("dataset", "recipe") | {"seed": "int64"} | texts("outcome") | numbers("bound")
CLAIMS = (
    texts("statement")
    | {"headline": "int64"}
    | texts("comparison", "quantity", "among")
    | with_ends("gain")
    | texts("result", "verdict")
)
"""The columns that are read of each table, with their types."""


class FiguresParams(BaseModel):
    """The part of params.yaml that the audit's figures read: which rate has which colour."""

    learning_rates: Rates


def read(tables: Path, metrics: Path) -> dict[str, pd.DataFrame]:
    """Read what is drawn.

    Args:
        tables: Holds the audit's tables.
        metrics: Holds claims.csv.

    Raises:
        UserError: A table is absent or damaged.
    """
    return {
        "networks": read_tables.networks(tables),
        "epochs": read_tables.epochs(tables),
        "failure": read_tables.failure(tables),
        "failure_shares": read_tables.read(tables / "failure_shares.csv", SHARES),
        "failure_curves": read_tables.read(tables / "failure_curves.csv", CURVES),
        "mechanism": read_tables.read(tables / "mechanism.csv", MECHANISM),
        "claims": read_tables.read(metrics / "claims.csv", CLAIMS),
    }


def draw(
    tables: Mapping[str, pd.DataFrame], grid: Sequence[float], theme: Theme
) -> dict[str, Figure]:
    """Draw every figure in one theme, by name; none without data.

    Args:
        tables: As `read` returns them.
        grid: The core study's rates, for the colours.
        theme: Its colours.
    """
    drawn = {}
    networks, fits = tables["networks"], tables["failure"]
    for dataset in networks.loc[networks["recipe"].isin(RUNGS), "dataset"].unique():
        notebook = NOTEBOOK_ACCURACY.get(dataset, {})
        drawn[f"{dataset}-ladder"] = ladder(networks, dataset, notebook, grid, theme)
    if not fits.empty:
        shares, curves = tables["failure_shares"], tables["failure_curves"]
        drawn["failure"] = failure(fits, shares, curves, theme)
    if not tables["mechanism"].empty:
        drawn["mechanism"] = mechanism(tables["epochs"], tables["mechanism"], grid, theme)
    drawn["effects"] = effects(tables["claims"], theme)
    return drawn


def main() -> None:
    """Read the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, help="holds the audit's tables")
    parser.add_argument("metrics", type=Path, help="holds claims.csv")
    parser.add_argument("figures", type=Path, help="folder to write the figures to")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    grid = read_params(FiguresParams, arguments.params).learning_rates
    tables = read(arguments.tables, arguments.metrics)
    save_all(lambda theme: draw(tables, grid, theme), arguments.figures)


if __name__ == "__main__":
    run(main)
