"""Read the audit's tables."""

from pathlib import Path

import pandas as pd

from stages.core.errors import UserError

LADDER_STAGE = "dvc repro --force --single-item audit/dvc.yaml:ladder"


def read(path: Path, command: str = LADDER_STAGE) -> pd.DataFrame:
    """Read a table.

    Args:
        path: A CSV file.
        command: What makes it anew, for the remedy.

    Raises:
        UserError: It is absent or damaged.
    """
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: make it with: {command}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): make it anew with: {command}") from None
