"""Draw the ladder of each dataset, in a light and a dark theme."""

import argparse
from pathlib import Path

from pydantic import BaseModel

from stages.audit.published import NOTEBOOK_ACCURACY
from stages.audit.recipes import rungs, titles
from stages.audit.tables import read
from stages.core import params
from stages.core.errors import run
from stages.core.files import whole_directory
from stages.figures import look
from stages.figures.ladder import ladder


class FiguresParams(BaseModel):
    """The part of params.yaml that the audit's figures read."""

    audit: params.Audit


def main() -> None:
    """Read the ladder's table, write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = params.load(FiguresParams, arguments.params)
    table = read(arguments.metrics / "ladder.csv")
    names = titles(rungs(declared.audit))
    with whole_directory(arguments.figures) as draft:
        for theme in look.THEMES:
            with look.themed(theme):
                for dataset, rows in table.groupby("dataset", sort=False):
                    heading = f"{look.title(str(dataset))}: the published protocol, step by step"
                    notebook = NOTEBOOK_ACCURACY.get(str(dataset), {})
                    figure = ladder(rows, names, notebook, heading, theme)
                    look.save(figure, draft / f"{dataset}-{theme.name}.png")


if __name__ == "__main__":
    run(main)
