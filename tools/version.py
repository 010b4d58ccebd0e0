"""Read the tables of one version of metrics/: of a revision in git, or of the workspace."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.audit.judging.verdicts import Verdict
from stages.common import lifetime
from stages.common.errors import UserError, one_line
from stages.common.tables import OUTCOMES, check_numbers, read_table
from tools.agreement import cell_columns

WORKSPACE = "workspace"
NETWORKS = ("metrics/seeds.csv", "metrics/audit/networks.csv")
"""One row per network."""
CLAIMS = "metrics/claims.csv"
PARAMETERS = "params.yaml"
NEEDED = {"dataset": "str", "learning_rate": "float64", "seed": "int64", "outcome": "str"}
"""The columns without which a table of networks cannot be compared, and their types."""
NEEDED_OF_CLAIMS = {"claim": "str", "statement": "str", "verdict": "str"}
TEXTS = {"dataset", "role", "recipe", "outcome", "lost_how"}
"""The columns of tables of networks that hold text; all others hold numbers."""


@dataclass(frozen=True)
class Version:
    """The files of one revision, or of the workspace."""

    name: str
    folder: Path

    def table(self, path: str) -> pd.DataFrame | None:
        """Read a table; None if this version has none.

        Raises:
            UserError: It is damaged.
        """
        remedy = f"recreate it with: {'dvc repro' if path == NETWORKS[0] else 'make audit'}"
        with self._reading(path, remedy) as file:
            if file is None:
                return None
            return claims(file) if path == CLAIMS else networks(file)

    def parameters(self) -> dict[str, Any]:
        """Read params.yaml without validating it; without the file there are no parameters.

        Raises:
            UserError: It cannot be read, or is not a mapping in YAML.
        """
        with self._reading(PARAMETERS, f"restore it with: git restore {PARAMETERS}") as file:
            return {} if file is None else dict(YAML(typ="safe").load(file) or {})

    @contextmanager
    def _reading(self, path: str, remedy: str) -> Iterator[Path | None]:
        """Find a file; None if there is none. If the block fails, say that it is damaged."""
        try:
            yield existing(self.folder / path)
        except (OSError, TypeError, ValueError, LookupError, YAMLError) as error:
            told = remedy if self.name == WORKSPACE else "name another revision"
            raise UserError(
                f"{path} of {self.name} is damaged ({one_line(error)}): {told}"
            ) from None


def existing(path: Path) -> Path | None:
    """Check that a path is a file; None if nothing is there.

    Raises:
        ValueError: It is something else.
    """
    if not path.exists() and not path.is_symlink():
        return None
    if not path.is_file():
        raise ValueError("it is not a file")
    return path


def networks(path: Path) -> pd.DataFrame:
    """Read a table of networks.

    Raises:
        ValueError: It lacks networks, a column or a value, or holds text where numbers belong, an
            unknown outcome or a network twice.
    """
    table = read_table(path, NEEDED, more=True)
    if table.empty:
        raise ValueError("it holds no network")
    check_numbers(table, TEXTS)
    for name in cell_columns(table):
        if table[name].isna().any():
            raise ValueError(f"{name} is missing in a row")
    if not table["outcome"].isin(OUTCOMES).all():
        raise ValueError(f"outcome is not one of {', '.join(OUTCOMES)}")
    if table.duplicated([*cell_columns(table), "seed"]).any():
        raise ValueError("it holds a network twice")
    return table


def claims(path: Path) -> pd.DataFrame | None:
    """Read the table of claims; None if its verdicts, one per recipe, follow earlier rules.

    Raises:
        ValueError: It lacks a column, a verdict is unknown, or a claim has none or two.
    """
    if "rung" in read_table(path, {}, more=True):
        return None
    table = read_table(path, NEEDED_OF_CLAIMS, more=True)
    if not table["verdict"].dropna().isin([*Verdict]).all():
        raise ValueError(f"verdict is not one of {', '.join(Verdict)}")
    if table.empty or (table.groupby("claim")["verdict"].nunique() != 1).any():
        raise ValueError("a claim has no verdict, or two")
    return table


@contextmanager
def version(name: str) -> Iterator[Version]:
    """Look up a revision, and keep its files as long as the block runs.

    Raises:
        UserError: git cannot find a revision of that name.
    """
    if name == WORKSPACE:
        yield Version(name, Path())
        return
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if found.returncode or not name:
        raise _unreadable(name, found)
    commit = found.stdout.decode().strip()
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            lifetime.scratch.add(folder)  # removed if this ends by a signal
            stack.callback(lifetime.scratch.discard, folder)
            for path in (*NETWORKS, CLAIMS, PARAMETERS):
                _copy(name, commit, path, folder / path)
        except OSError as error:
            raise UserError(
                f"the files of {name} cannot be copied to a temporary folder ({error.strerror}): "
                f"free some space, or name another folder in TMPDIR"
            ) from None
        yield Version(name, folder)


def _copy(name: str, commit: str, path: str, target: Path) -> None:
    """Copy a file of a commit, if it has one.

    Raises:
        UserError: git cannot read it.
    """
    listed = _git("ls-tree", commit, f"./{path}")
    if not (listed.returncode or listed.stdout):
        return
    shown = _git("show", f"{commit}:./{path}")
    if shown.returncode:
        raise _unreadable(name, shown)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(shown.stdout)


def _unreadable(name: str, ended: subprocess.CompletedProcess[bytes]) -> UserError:
    reason = one_line(ended.stderr.decode(errors="replace")) or "no such revision"
    return UserError(
        f"git cannot read {name!r} ({reason}): give a commit, a branch, a tag or {WORKSPACE}, "
        f"in a clone of your own"
    )


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"git cannot be run ({error}): install it") from None
