"""Put the committed results into README's tables.

    python -m tools.readme

A table stands between two markers that name its source: metrics/grid.csv, or the first table of
metrics/claims.md. README shows a few of their columns.
"""

import argparse
import re
from pathlib import Path

import pandas as pd

from stages.common.datasets import title
from stages.common.errors import UserError, reading, run
from stages.common.tables import OUTCOMES, read_table
from stages.common.whole_files import whole_file
from stages.results.summary import mean_text, sparsity_of_last_layer

README = Path("README.md")


def results(grid: pd.DataFrame) -> str:
    """Lay out what a reader asks first: how networks end, what they score, how sparse they are.

    Args:
        grid: metrics/grid.csv.
    """
    sparsity = sparsity_of_last_layer(grid)
    rows = []
    for dataset, rates in grid.groupby("dataset", sort=False):
        for _, row in rates.sort_values("learning_rate", kind="stable").iterrows():
            candidate = " (candidate)" if row["role"] == "candidate" else ""
            ended = {outcome: row[f"seeds_{outcome}"] for outcome in OUTCOMES}
            rows.append(
                {
                    "learning rate": f"{title(str(dataset))}, {row['learning_rate']:g}{candidate}",
                    "networks": ", ".join(
                        f"{count} {outcome}" for outcome, count in ended.items() if count
                    ),
                    "test accuracy (%)": mean_text(row, "test_accuracy", 2, 100),
                    "active features (%)": mean_text(row, sparsity, 1, 100),
                }
            )
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def verdicts(page: str) -> str:
    """Count the verdicts, then lay out the claims, each with a link to its section, and its effect.

    Args:
        page: metrics/claims.md.

    Raises:
        UserError: It has no table.
    """
    found = re.search(r"^(Of \d+ claims: .*)\n\n((?:^\|.*\n)+)", page, re.MULTILINE)
    if found is None:
        raise UserError("metrics/claims.md has no table of claims: recreate it with: make audit")
    header, _, *lines = found[2].splitlines()
    names, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (header, *lines))
    shown = pd.DataFrame(rows, columns=names).iloc[:, :3]
    shown["claim"] = [f"[{claim}](metrics/claims.md#{anchor(claim)})" for claim in shown["claim"]]
    return f"{found[1]}\n\n{shown.to_markdown(index=False, disable_numparse=True)}"


def anchor(heading: str) -> str:
    """Write the anchor of a heading, to which links point, as GitHub does."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def updated(readme: str, metrics: Path) -> str:
    """Return README's text with the tables that metrics/ holds.

    Raises:
        UserError: A marker or a file is absent.
    """
    with reading(metrics / "grid.csv", "dvc repro"):
        grid = read_table(metrics / "grid.csv", {"dataset": "str", "role": "str"}, more=True)
    with reading(metrics / "claims.md", "make audit"):
        page = (metrics / "claims.md").read_text(encoding="utf-8")
    tables = {"metrics/grid.csv": results(grid), "metrics/claims.md": verdicts(page)}
    for source, table in tables.items():
        start, end = f"<!-- {source} -->\n\n", f"\n\n<!-- /{source} -->"
        before, found, rest = readme.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise UserError(
                f"{README} has no table between <!-- {source} --> and <!-- /{source} -->: put both "
                f"markers back, each with an empty line between it and the table"
            )
        readme = before + start + table + end + after
    return readme


def main() -> None:
    """Read README and the results, write README."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    text = updated(README.read_text(encoding="utf-8"), Path("metrics"))
    with whole_file(README) as draft:
        draft.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
