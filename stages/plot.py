"""Draw the tables of metrics/ as figures, in a light and a dark theme."""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from stages.common.errors import run
from stages.figures.accuracy import accuracy
from stages.figures.curves import curves
from stages.figures.features import features, plateau
from stages.figures.gradient import gradient
from stages.figures.headline import headline
from stages.figures.outcomes import outcomes
from stages.figures.read_study import read_study
from stages.figures.sharpness import sharpness
from stages.figures.study import Study
from stages.figures.theme import Theme, save_all


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
    """Read the tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path, help="holds the tables")
    parser.add_argument("figures", type=Path, help="folder to write the figures to")
    arguments = parser.parse_args()
    study = read_study(arguments.metrics)
    save_all(lambda theme: draw(study, theme), arguments.figures)


if __name__ == "__main__":
    run(main)
