"""Does this run reproduce those tables? Compare two versions of metrics/, and say yes or no.

    python -m tools.compare                 # the workspace with HEAD
    python -m tools.compare v1.0            # the workspace with a tag
    python -m tools.compare v1.0 HEAD       # two revisions

Two processors round differently, so single numbers may differ. The results over all seeds must
agree. `tools.agreement` explains how that is tested.
"""

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.common.errors import UserError, run
from tools.agreement import LEVEL, agreement, cell_columns, shared_cells

NETWORKS = ("metrics/seeds.csv", "metrics/audit/networks.csv")
"""One row per network."""
CLAIMS = "metrics/claims.csv"
NEEDED = {CLAIMS: ("claim", "statement", "verdict"), **dict.fromkeys(NETWORKS, ("seed", "outcome"))}
"""Table → the columns without which it cannot be compared."""
TEXTS = {"dataset", "role", "recipe", "outcome", "lost_how"}
"""The columns of tables of networks that hold text; all others hold numbers."""
DECIDED = {"supported", "refuted", "equivalent"}
"""Verdicts that contradict one another. Chance alone can make the difference between one of these
and undecided, where a claim is near its limit."""
VERDICTS = "Verdicts that differ. Undecided contradicts nothing."
WORKSPACE = "workspace"
SHOWN = 10
"""Rows of the table of the largest differences."""


@dataclass(frozen=True)
class Version:
    """The tables of one revision, or of the workspace."""

    name: str

    def text(self, path: str) -> str | None:
        """Read a file; None if this version has none."""
        if self.name == WORKSPACE:
            file = Path(path)
            return file.read_text(encoding="utf-8") if file.is_file() else None
        shown = _git("show", f"{self.name}:./{path}")
        return None if shown.returncode else shown.stdout

    def table(self, path: str) -> pd.DataFrame | None:
        """Read a table; None if this version has none.

        Raises:
            UserError: It is damaged.
        """
        try:
            text = self.text(path)
            if text is None:
                return None
            table = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
            if path == CLAIMS and "rung" in table:
                return None  # an earlier audit gave a verdict for each recipe, by other rules
            return _checked(path, table)
        except (OSError, ValueError) as error:
            command = "dvc repro" if path == NETWORKS[0] else "make audit"
            raise self._damaged(path, error, f"recreate it with: {command}") from None

    def parameters(self) -> dict[str, Any]:
        """Read params.yaml without validating it; without the file there are no parameters.

        Raises:
            UserError: It cannot be read, or is not a mapping in YAML.
        """
        path = "params.yaml"
        try:
            return dict(YAML(typ="safe").load(self.text(path) or "{}"))
        except (YAMLError, OSError, TypeError, ValueError) as error:
            raise self._damaged(path, error, f"restore it with: git restore {path}") from None

    def _damaged(self, path: str, error: Exception, remedy: str) -> UserError:
        reason = " ".join(str(error).split())
        if self.name != WORKSPACE:
            remedy = "name another revision"
        return UserError(f"{path} of {self.name} is damaged ({reason}): {remedy}")


def _checked(path: str, table: pd.DataFrame) -> pd.DataFrame:
    """Check that a table can be compared.

    Raises:
        ValueError: It lacks a column, or holds text where numbers belong.
    """
    if absent := [name for name in NEEDED[path] if name not in table]:
        raise ValueError(f"it lacks the columns {', '.join(absent)}")
    for name in table if path in NETWORKS else ():
        if name not in TEXTS and len(table) and table[name].dtype.kind not in "iuf":
            raise ValueError(f"{name} holds something that is not a number")
    return table


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)


def version(name: str) -> Version:
    """Look up a revision.

    Raises:
        UserError: git cannot find a revision of that name.
    """
    if name != WORKSPACE:
        found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if found.returncode:
            reason = found.stderr.strip() or "no such revision"
            raise UserError(
                f"{name} cannot be read with git ({reason}): give a commit, a branch, a tag "
                f"or {WORKSPACE}"
            )
    return Version(name)


def compared(old: Version, new: Version) -> tuple[pd.DataFrame, list[str]]:
    """Compare all tables of networks that both versions have.

    Returns:
        One row per comparison, as `tools.agreement.agreement` makes them; and, in sentences, what
        was not compared.

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
    if not any(next(shared_cells(*sides), None) for sides in tables.values()):
        raise UserError(
            f"{old.name} and {new.name} have no learning rate in common: compare runs of the same "
            f"datasets, recipes and rates"
        )
    if differing := ", ".join(different_parameters(old, new)):
        notes.append(f"These are two different studies: params.yaml differs in {differing}.")
    return agreement(tables), notes


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


def report(
    old: Version, new: Version, found: pd.DataFrame, told: pd.DataFrame, notes: list[str]
) -> tuple[str, bool]:
    """Write down what was found, the answer first.

    Args:
        old: What was compared with.
        new: What was compared.
        found: The comparisons.
        told: The verdicts.
        notes: What was not compared.

    Returns:
        The text, and whether the versions agree.
    """
    differing = found[found["differs"]]
    turned = told[told["old"] != told["new"]]
    contradictory = turned[turned[["old", "new"]].isin(DECIDED).all(axis=1)]
    agree = differing.empty and contradictory.empty
    cells = len(found[["table", "cell"]].drop_duplicates())
    answer = "Yes: {} agrees with {}." if agree else "No: {} does not agree with {}."
    lines = [
        answer.format(new.name, old.name),
        f"{len(differing)} of {len(found)} comparisons in {cells} cells differ by more than seeds "
        f"do. {len(turned)} of {len(told)} verdicts differ, {len(contradictory)} contradict.",
        *notes,
    ]
    if found["same"].all():
        lines.append("Every value compared is the same to the last digit.")
    else:
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


def explained(found: pd.DataFrame) -> str:
    """Say what the table of the largest differences shows."""
    return (
        f"The {min(SHOWN, len(found))} largest differences, the least probable first. A cell is "
        f"one learning rate of one recipe on one dataset.\nThe intervals are simultaneous: all of "
        f"them hold with {1 - LEVEL:.0%} confidence; p is corrected for the {len(found)} "
        f"comparisons (Holm)."
    )


def largest(found: pd.DataFrame, old: Version, new: Version) -> str:
    """Lay out the least probable differences in Markdown."""
    first = found.sort_values("p", kind="stable").head(SHOWN)
    shown = first[["cell", "quantity", "old_shown", "new_shown", "change", "corrected"]]
    named = shown.set_axis(["cell", "quantity", old.name, new.name, "change", "p"], axis=1)
    return named.to_markdown(index=False, floatfmt=".2g", disable_numparse=[0, 1, 2, 3, 4])


def say(text: str) -> None:
    """Print a text. Whoever reads it may stop after the first line, as `head -1` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would try again when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Compare two versions, print what was found; the status is 1 if they do not agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", nargs="?", default="HEAD", help="a revision; default: HEAD")
    parser.add_argument("new", nargs="?", default=WORKSPACE, help="default: the files as they are")
    arguments = parser.parse_args()
    old, new = version(arguments.old), version(arguments.new)
    found, notes = compared(old, new)
    text, agree = report(old, new, found, verdicts(old, new), notes)
    say(text)
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    run(main)
