"""Does this run reproduce those tables? Compare two versions of metrics/, and say yes or no.

    python -m tools.compare                 # the workspace with HEAD
    python -m tools.compare v1.0            # the workspace with a tag
    python -m tools.compare v1.0 HEAD       # two revisions

Two processors round differently, so single numbers may differ. The results over all seeds must
agree. `tools.agreement` explains how that is tested.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from stages.common.errors import UserError, run, say
from tools.agreement import (
    LEVEL,
    QUANTITIES,
    Cell,
    agreement,
    cell_columns,
    missing_values,
    shared_cells,
)
from tools.version import CLAIMS, NETWORKS, WORKSPACE, Version, version

DECIDED = {"supported", "refuted", "equivalent"}
"""Verdicts that contradict one another. Chance alone can make the difference between one of these
and undecided, where a claim is near its limit."""
VERDICTS = "Verdicts that differ. Undecided contradicts nothing."
SHOWN = 10
"""Rows of the table of the largest differences."""


@dataclass(frozen=True)
class Compared:
    """What the tables of networks say."""

    found: pd.DataFrame
    """One row per comparison, as `tools.agreement.agreement` makes them."""
    cells: int
    same: int
    """Of the cells, how many hold the same networks on both sides."""
    notes: Sequence[str]
    """In sentences: what was not compared."""


def compared(old: Version, new: Version) -> Compared:
    """Compare all tables of networks that both versions have.

    Raises:
        UserError: The versions have no table, or no cell, in common.
    """
    tables: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
    notes: list[str] = []
    for path in (*NETWORKS, CLAIMS):
        before, after = old.table(path), new.table(path)
        if (before is None) != (after is None):
            absent = old if before is None else new
            notes.append(f"{path} was not compared: {absent.name} has none to compare.")
        elif before is not None and after is not None:
            notes += unmatched(path, old, before, new, after)
            if path in NETWORKS:
                tables[path] = before, after
    if not tables:
        raise UserError(
            f"{old.name} and {new.name} have no table in common ({', '.join(NETWORKS)}): "
            f"run dvc repro first, or name two revisions that have results"
        )
    cells = shared_cells(tables)
    if not cells:
        raise UserError(
            f"{old.name} and {new.name} have no learning rate in common: compare runs of the same "
            f"datasets, recipes and rates"
        )
    notes += incomplete(cells, old, new)
    if differing := ", ".join(different_parameters(old, new)):
        notes.append(f"These are two different studies: params.yaml differs in {differing}.")
    others = [cell for cell in cells if not cell.is_same()]
    return Compared(agreement(others), len(cells), len(cells) - len(others), notes)


def incomplete(cells: Sequence[Cell], old: Version, new: Version) -> Iterator[str]:
    """Say where the two sides have different numbers of networks, or of values to compare."""
    for path in NETWORKS:
        inside = [cell for cell in cells if cell.table == path]
        counts = sum(len(cell.old) for cell in inside), sum(len(cell.new) for cell in inside)
        if counts[0] != counts[1]:
            yield (
                f"{path}: in the cells compared {old.name} has {counts[0]} networks, {new.name} "
                f"{counts[1]}."
            )
        for quantity in QUANTITIES:
            missing = [
                sum(missing_values(quantity, getattr(cell, side)) for cell in inside)
                for side in ("old", "new")
            ]
            if missing[0] != missing[1]:
                yield (
                    f"{path}: {quantity.name} is missing for {missing[0]} trained networks of "
                    f"{old.name} and {missing[1]} of {new.name}."
                )


def different_parameters(old: Version, new: Version) -> list[str]:
    """List the sections of params.yaml in which two versions differ.

    Raises:
        UserError: A params.yaml cannot be read.
    """
    before, after = old.parameters(), new.parameters()
    return sorted(str(key) for key in before | after if before.get(key) != after.get(key))


def unmatched(
    path: str, old: Version, before: pd.DataFrame, new: Version, after: pd.DataFrame
) -> Iterator[str]:
    """Say which cells, or which claims, only one version has."""
    cells = {}
    for each, table in ((old, before), (new, after)):
        rows = table[["claim"] if path == CLAIMS else cell_columns(table)]
        cells[each.name] = {*rows.itertuples(index=False, name=None)}
    for name, other in ((old.name, new.name), (new.name, old.name)):
        if only := cells[name] - cells[other]:
            listed = ", ".join(sorted(" ".join(map(str, cell)) for cell in only))
            yield f"{path}: only {name} has {listed}."


def verdicts(old: Version, new: Version) -> pd.DataFrame:
    """List the verdicts on the claims that both versions have.

    A verdict is repeated in all rows that belong to it. Other rows have none.

    Returns:
        One row per claim, in the words of the new version; columns claim, old, new.
    """
    sides = []
    for side, each in (("old", old), ("new", new)):
        table = each.table(CLAIMS)
        if table is None:
            return pd.DataFrame(columns=["claim", "old", "new"])
        told = table.dropna(subset="verdict").drop_duplicates("claim")
        sides.append(told.set_index("claim").rename(columns={"verdict": side}))
    both = sides[1].join(sides[0]["old"], how="inner")[["statement", "old", "new"]]
    return both.reset_index(drop=True).rename(columns={"statement": "claim"})


def report(old: Version, new: Version, networks: Compared, told: pd.DataFrame) -> tuple[str, bool]:
    """Write down what was found, the answer first.

    Args:
        old: What was compared with.
        new: What was compared.
        networks: What the tables of networks say.
        told: The verdicts.

    Returns:
        The text, and whether the versions agree.
    """
    found = networks.found
    differing = found[found["differs"]]
    turned = told[told["old"] != told["new"]]
    contradictory = turned[turned[["old", "new"]].isin(DECIDED).all(axis=1)]
    agree = differing.empty and contradictory.empty
    yes = "Yes, as far as they can be compared" if networks.notes else "Yes"
    no = f"No: {new.name} does not agree with {old.name}."
    lines = [
        f"{yes}: {new.name} agrees with {old.name}." if agree else no,
        counted(networks),
        f"{len(turned)} of {len(told)} verdicts differ, {len(contradictory)} contradict.",
        *networks.notes,
    ]
    if not found.empty:
        counts = found.groupby("quantity", sort=False)["differs"].agg(["size", "sum"])
        counts = counts.reset_index().set_axis(["quantity", "comparisons", "differ"], axis=1)
        lines += [
            "",
            counts.to_markdown(index=False),
            "",
            explained(found),
            "",
            largest(found, old, new),
        ]
    if not turned.empty:
        shown = turned.set_axis(["claim", old.name, new.name], axis=1)
        lines += ["", VERDICTS, "", shown.to_markdown(index=False)]
    return "\n".join(lines), agree


def counted(networks: Compared) -> str:
    """Say how many comparisons were made, and how many differ."""
    if networks.found.empty:
        return f"In all {networks.cells} cells, all that is compared is the same to the last digit."
    told = (
        f"{networks.found['differs'].sum()} of {len(networks.found)} comparisons in "
        f"{networks.cells - networks.same} cells differ by more than seeds do."
    )
    if networks.same:
        told += f" Not counted: {networks.same} cells that hold the same networks on both sides."
    return told


def explained(found: pd.DataFrame) -> str:
    """Say what the table of the largest differences shows."""
    return (
        f"The {min(SHOWN, len(found))} largest differences, the least probable first. A cell is "
        f"one learning rate of one recipe on one dataset.\nThe intervals are simultaneous: all of "
        f"them hold with {1 - LEVEL / 2:.1%} confidence; p is corrected for the number of "
        f"comparisons (Holm)."
    )


def largest(found: pd.DataFrame, old: Version, new: Version) -> str:
    """Lay out the least probable differences in Markdown."""
    first = found.sort_values("p", kind="stable").head(SHOWN)
    shown = first[["cell", "quantity", "old_shown", "new_shown", "change", "corrected"]]
    named = shown.set_axis(["cell", "quantity", old.name, new.name, "change", "p"], axis=1)
    return named.to_markdown(index=False, floatfmt=".2g", disable_numparse=[0, 1, 2, 3, 4])


def main() -> None:
    """Compare two versions, print what was found; the status is 1 if they do not agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", nargs="?", default="HEAD", help="a revision; default: HEAD")
    parser.add_argument("new", nargs="?", default=WORKSPACE, help="default: the files as they are")
    arguments = parser.parse_args()
    with version(arguments.old) as old, version(arguments.new) as new:
        text, agree = report(old, new, compared(old, new), verdicts(old, new))
    say(text)
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    run(main)
