"""Read what the figures show from metrics/."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from stages.common.errors import reading
from stages.common.tables import OUTCOMES, check_numbers, read_table, written
from stages.figures.curves import PANELS
from stages.figures.features import QUANTITIES
from stages.figures.study import WHICH_NETWORK, WHICH_RUN, RunKey, RunSteps, Study

FIRST_LAYER = {f"{quantity}_1" for quantity in QUANTITIES}
TABLES = {
    "history": {*WHICH_NETWORK, "epoch", "step", *(panel.column for panel in PANELS)},
    "diagnostics": {*WHICH_NETWORK, "epoch", "sharpness", *FIRST_LAYER},
    "seeds": {
        *WHICH_NETWORK,
        *("outcome", "lost_epoch", "lost_step", "lost_how", "test_accuracy", "train_loss"),
        *FIRST_LAYER,
    },
}
"""Table of the study → its required columns. Of the hidden layers, only the first is required."""
TEXTS = {"dataset", "role", "outcome", "lost_how"}
"""The columns that hold text; all others of these tables hold numbers."""
FIRST_EPOCH = {"step", "gradient_norm"}
BURSTS = {"seed", "step", "loss", "gradient_norm"}


def read_numbers(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a table; check that it has some columns, and numbers in all columns outside `TEXTS`.

    Raises:
        UserError: It is absent, damaged, lacks a column or holds text where numbers belong.
    """
    with reading(path, "dvc repro"):
        table = read_table(path, {}, more=True)
        if absent := ", ".join(sorted({*columns} - {*table})):
            raise ValueError(f"it lacks the columns {absent}")
        check_numbers(table, TEXTS)
    return table


def study_tables(metrics: Path) -> dict[str, pd.DataFrame]:
    """Read the study's tables, by name.

    Raises:
        UserError: A table is absent, damaged or lacks a column.
    """
    tables = {name: read_numbers(metrics / f"{name}.csv", TABLES[name]) for name in TABLES}
    with reading(metrics / "seeds.csv", "dvc repro"):
        _check_networks(tables["seeds"])
        for other in ("diagnostics", "history"):
            if _networks(tables["seeds"]) != _networks(tables[other]):
                raise ValueError(f"its networks are not those of {other}.csv")
    for name in ("diagnostics", "history"):
        with reading(metrics / f"{name}.csv", "dvc repro"):
            _check_epochs(tables[name], every=name == "history")
    return tables


def _networks(table: pd.DataFrame) -> set[tuple[object, ...]]:
    return {*table[WHICH_NETWORK].itertuples(index=False, name=None)}


def _check_networks(seeds: pd.DataFrame) -> None:
    """Check that each network is there once, and how it ended.

    Raises:
        ValueError: There is no network, one is there twice, or its outcome is unknown.
    """
    lost = seeds["outcome"] == "lost"
    if seeds.empty:
        raise ValueError("it holds no network")
    if seeds.duplicated(WHICH_NETWORK).any():
        raise ValueError("it holds a network twice")
    if not {*seeds["outcome"]} <= {*OUTCOMES}:
        raise ValueError(f"outcome is not one of {', '.join(OUTCOMES)}")
    if seeds.loc[lost, ["lost_epoch", "lost_step", "lost_how"]].isna().any(axis=None):
        raise ValueError("it does not say when or how a lost network was lost")


def _check_epochs(table: pd.DataFrame, *, every: bool) -> None:
    """Check that no epoch of a network is there twice or, if every one has to be, missing.

    Raises:
        ValueError: One is.
    """
    if table.duplicated([*WHICH_NETWORK, "epoch"]).any():
        raise ValueError("it holds an epoch of a network twice")
    epochs = table.groupby(WHICH_NETWORK)["epoch"].agg(["min", "max", "size"])
    if every and (epochs != [1, table["epoch"].max(), table["epoch"].max()]).any(axis=None):
        raise ValueError("it lacks an epoch of a network")


def read_study(metrics: Path) -> Study:
    """Read the study's tables, and the recorded steps of every run in the seeds' table.

    Args:
        metrics: Holds the tables, and in runs/<dataset>/<learning rate>/ those of each run.

    Raises:
        UserError: A table is absent, damaged or lacks a column.
    """
    tables = study_tables(metrics)
    steps = {}
    for key in tables["seeds"][WHICH_RUN].drop_duplicates().itertuples(index=False, name=None):
        folder = run_folder(metrics / "runs", key)
        steps[key] = RunSteps(
            read_numbers(folder / "first_epoch.csv", FIRST_EPOCH),
            read_numbers(folder / "bursts.csv", BURSTS),
        )
    return Study(**tables, steps=steps)


def run_folder(runs: Path, key: RunKey) -> Path:
    """Find a run's folder by the number in its name.

    A learning rate has several spellings (1 and 1.0), and the tables keep six digits of it.
    """
    dataset, role, rate = key
    if role == "candidate":
        return runs / dataset / role
    same = (path for path, number in numbered(runs / dataset) if written(number) == written(rate))
    return next(same, runs / dataset / f"{rate:g}")


def numbered(folder: Path) -> Iterator[tuple[Path, float]]:
    """List the entries of a folder whose names are numbers, each with its number."""
    for path in sorted(folder.glob("*")):
        try:
            yield path, float(path.name)
        except ValueError:
            continue
