"""Draw the ladder of each dataset, in a light and a dark theme."""

import argparse
from pathlib import Path

from pydantic import BaseModel

from stages.audit.judging.ladder_figure import ladder
from stages.audit.judging.ladder_order import rungs, titles
from stages.audit.judging.published import NOTEBOOK_ACCURACY
from stages.audit.judging.read_tables import LADDER, LADDER_STAGE, read
from stages.audit.training.parameters import Audit
from stages.common.errors import UserError, run
from stages.common.parameters import read_params
from stages.common.whole_files import whole_directory
from stages.figures.theme import THEMES, save, themed, title


class FiguresParams(BaseModel):
    """The part of params.yaml that the audit's figures read."""

    audit: Audit


def main() -> None:
    """Read the ladder's table, write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    declared = read_params(FiguresParams, arguments.params)
    table = read(arguments.metrics / "ladder.csv", LADDER)
    names = titles(rungs(declared.audit))
    for dataset, rows in table.groupby("dataset", sort=False):
        if absent := [name for name in names if name not in set(rows["rung"])]:
            raise UserError(
                f"{arguments.metrics / 'ladder.csv'} has no {absent[0]} of {dataset}: "
                f"make it anew with: {LADDER_STAGE}"
            )
    with whole_directory(arguments.figures) as draft:
        for theme in THEMES:
            with themed(theme):
                for dataset, rows in table.groupby("dataset", sort=False):
                    heading = f"{title(str(dataset))}: the published protocol, step by step"
                    notebook = NOTEBOOK_ACCURACY.get(str(dataset), {})
                    figure = ladder(rows, names, notebook, heading, theme)
                    save(figure, draft / f"{dataset}-{theme.name}.png")


if __name__ == "__main__":
    run(main)
