"""Tables: how every stage writes them as CSV, and reads those that another stage has left."""

import csv
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

DIGITS = 6
"""Significant digits of a number in a table: finer differences are rounding of the arithmetic."""
OUTCOMES = ("trained", "undertrained", "lost")
"""How a network may end, in the order in which tables list it."""


def csv_text(table: pd.DataFrame) -> str:
    """Write a table as CSV, with six significant digits; whole numbers stay whole."""
    return table.to_csv(index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


def read_table(path: Path, columns: Mapping[str, str], *, more: bool = False) -> pd.DataFrame:
    """Read a CSV file, and check the names and types of its columns.

    Args:
        path: The file.
        columns: Its columns and their types; "Int64" is a whole number that may be missing.
        more: Whether it may have other columns besides, in any order. Pandas infers their types.

    Raises:
        OSError: It is absent or cannot be read.
        ValueError: It has other columns, lacks one, has a row of more or fewer values than its
            header, or holds a value of another type.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            _check(csv.reader(file), columns, more)
        return pd.read_csv(path, dtype={**columns})
    except (TypeError, ValueError, OverflowError, csv.Error) as error:
        raise ValueError(str(error)) from None


def written(number: float) -> str:
    """Write a number as tables do."""
    return f"{number:.{DIGITS}g}"


def last_layer(table: pd.DataFrame, quantity: str, ending: str = "") -> str:
    """Name a quantity's column for the last hidden layer, such as effective_rank_2.

    Args:
        table: It has one such column per hidden layer, numbered from 1.
        quantity: What stands before the number.
        ending: What stands after it, such as "_mean".

    Returns:
        The column with the largest number. If there is none, the quantity has a single column.
    """
    numbered = re.compile(rf"{quantity}_(\d+){ending}")
    layers = {name: numbered.fullmatch(name) for name in map(str, table)}
    numbers = {name: int(match[1]) for name, match in layers.items() if match}
    return max(numbers, key=numbers.__getitem__, default=f"{quantity}{ending}")


def check_numbers(table: pd.DataFrame, texts: Container[str]) -> None:
    """Check that all columns but some hold numbers.

    Args:
        table: A table, as read.
        texts: The columns that hold text.

    Raises:
        ValueError: Another column holds something else.
    """
    for name in map(str, table):
        if name not in texts and len(table) and table[name].dtype.kind not in "iuf":
            raise ValueError(f"{name} holds something that is not a number")


def _check(rows: Iterator[Sequence[str]], columns: Mapping[str, str], more: bool) -> None:
    """Refuse wrong columns, short rows that pandas would pad, and long ones with extra values."""
    header = next(rows, None)
    if header is None:
        raise ValueError("it is empty")
    absent = [name for name in columns if name not in header]
    if more and absent:
        raise ValueError(f"it lacks the columns {', '.join(absent)}")
    if not more and tuple(header) != tuple(columns):
        raise ValueError(f"it has the columns {', '.join(header)}")
    for number, row in enumerate(rows, start=2):
        if len(row) not in (0, len(header)):
            raise ValueError(f"row {number} has {len(row)} values instead of {len(header)}")
