"""Reading a table that another stage has left."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd


def read_table(path: Path, columns: Mapping[str, str], *, more: bool = False) -> pd.DataFrame:
    """Read a CSV file whose columns must each be of a type.

    Args:
        path: The file.
        columns: Its columns and their types; "Int64" is a whole number that may be missing.
        more: Whether it may have other columns besides, in any order; they keep what type they
            seem to have.

    Raises:
        OSError: It is absent or cannot be read.
        ValueError: It has other columns, lacks one, or holds a value of another type.
    """
    try:
        table = pd.read_csv(path)
        fault = _wrong_columns(table, columns, more)
        if fault is None:
            return table.astype(columns)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path.name}: {' '.join(str(error).split())}") from None
    raise ValueError(f"{path.name} {fault}")


def _wrong_columns(table: pd.DataFrame, columns: Mapping[str, str], more: bool) -> str | None:
    """Say what is wrong with a table's columns; None if nothing is."""
    absent = [name for name in columns if name not in table]
    if more and absent:
        return f"lacks the columns {', '.join(absent)}"
    if not more and tuple(table.columns) != tuple(columns):
        return f"has the columns {', '.join(table.columns)}"
    return None
