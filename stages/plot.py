"""Draw the tables of metrics/ and the steps of the runs as figures, in a light and a dark theme."""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from stages.core.errors import UserError, run
from stages.core.files import whole_directory
from stages.figures import look
from stages.figures.accuracy import accuracy
from stages.figures.curves import PANELS, curves
from stages.figures.features import QUANTITIES, features, plateau
from stages.figures.gradient import gradient
from stages.figures.headline import headline
from stages.figures.look import Theme
from stages.figures.outcomes import outcomes
from stages.figures.sharpness import sharpness
from stages.figures.study import WHICH_NETWORK, Study, load_steps

MEASURED = {f"{quantity}_1" for quantity in QUANTITIES}
NEEDED = {
    "history": {*WHICH_NETWORK, "epoch", *(panel.column for panel in PANELS)},
    "diagnostics": {*WHICH_NETWORK, "epoch", "sharpness", *MEASURED},
    "seeds": {
        *WHICH_NETWORK,
        *("outcome", "diverged_epoch", "diverged_step", "test_accuracy", "train_loss"),
        *MEASURED,
    },
}
"""Table → the columns drawn; of the hidden layers, which may be many, the first one's."""


def read(folder: Path, name: str) -> pd.DataFrame:
    """Read one of the tables.

    Raises:
        UserError: It is absent, damaged or lacks a column.
    """
    path, remedy = folder / f"{name}.csv", "make it anew with: dvc repro --force aggregate"
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: make it with: dvc repro aggregate") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): {remedy}") from None
    absent = ", ".join(sorted(NEEDED[name] - set(table.columns)))
    if absent:
        raise UserError(f"{path} lacks the columns {absent}: {remedy}")
    return table


def draw(study: Study, theme: Theme) -> dict[str, Figure]:
    """Draw every figure of the study in one theme, by name."""
    drawn = {
        "headline": headline(study, theme),
        "outcomes": outcomes(study, theme),
        "plateau": plateau(study, theme),
    }
    by_dataset = {
        "curves": curves,
        "accuracy": accuracy,
        "gradient": gradient,
        "features": features,
        "sharpness": sharpness,
    }
    for dataset in study.datasets:
        for name, draw_one in by_dataset.items():
            drawn[f"{dataset}-{name}"] = draw_one(study, dataset, theme)
    return drawn


def main() -> None:
    """Read the tables and the steps, write the look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("figures", type=Path)
    arguments = parser.parse_args()
    tables = {name: read(arguments.metrics, name) for name in NEEDED}
    study = Study(**tables, steps=load_steps(arguments.runs, tables["seeds"]))
    with whole_directory(arguments.figures) as draft:
        for theme in look.THEMES:
            with look.themed(theme):
                for name, figure in draw(study, theme).items():
                    look.save(figure, draft / f"{name}-{theme.name}.png")


if __name__ == "__main__":
    run(main)
