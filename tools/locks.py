"""Check DVC's settings and locks before DVC runs, and say how to get back what it cannot read.

A DVC that is killed while it writes can leave two files cut short: dvc.lock, which names the
results, and rwlock, which names the running DVC. The latter is of no use once that DVC has ended.
"""

import json
from pathlib import Path

from dvc.config import Config
from dvc.exceptions import DvcException
from dvc.rwlock import SCHEMA as RWLOCK_SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.scm import SCM, SCMError
from dvc.utils import strictyaml
from ruamel.yaml.error import MarkedYAMLError
from voluptuous import Invalid

from stages.common.errors import UserError, one_line, run

LOCKS = (Path("dvc.lock"), Path("audit/dvc.lock"))
SETTINGS = Path(".dvc")
RWLOCK = SETTINGS / "tmp" / "rwlock"


def check_settings(folder: Path) -> None:
    """Read DVC's settings as DVC does. It would answer a mistake in them with a traceback.

    Raises:
        UserError: DVC cannot read them.
    """
    try:
        Config(str(folder))
    except (DvcException, OSError) as error:
        raise UserError(
            f"{folder / 'config'} or {folder / 'config.local'} cannot be read by DVC "
            f"({_told(error)}): bring the first back with git restore {folder / 'config'}, and "
            f"correct or remove the second"
        ) from None


def check(lock: Path) -> None:
    """Read a lock as DVC does. A lock that does not exist is fine: DVC makes it.

    Raises:
        UserError: DVC cannot read it.
    """
    try:
        strictyaml.load(str(lock), COMPILED_LOCKFILE_SCHEMA)
    except FileNotFoundError:
        return
    except (DvcException, OSError, RecursionError) as error:
        raise UserError(
            f"{lock} cannot be read by DVC ({_told(error)}): bring it back with "
            f"git restore {lock} (in a merge: git restore --ours {lock}), or remove it, and DVC "
            f"takes what it can from its cache"
        ) from None


def _told(error: Exception) -> str:
    """Say what DVC found, and where."""
    cause = error.__cause__ or error
    if isinstance(cause, MarkedYAMLError) and cause.problem_mark:
        return f"line {cause.problem_mark.line + 1}: {cause.problem}"
    return one_line(getattr(cause, "strerror", None) or cause)


def clear(rwlock: Path) -> None:
    """Remove an rwlock that was cut short, or holds something else than DVC writes.

    Raises:
        UserError: It cannot be read or removed.
    """
    try:
        if rwlock.exists() and not rwlock.is_file():
            raise UserError(f"{rwlock} is not a file: remove it, then run again")
        if not _is_whole(rwlock.read_bytes()):
            rwlock.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"{rwlock} cannot be read or removed ({error.strerror}): remove it, then run again"
        ) from None


def _is_whole(content: bytes) -> bool:
    """Tell whether this is what DVC writes."""
    try:
        RWLOCK_SCHEMA(json.loads(content))
    except (ValueError, Invalid, RecursionError):
        return False
    return True


def check_repository(folder: Path) -> None:
    """Check that git knows the project, as DVC needs.

    Raises:
        UserError: It is not in a git repository.
    """
    try:
        SCM(str(folder.resolve()))
    except SCMError as error:
        raise UserError(
            f"{one_line(error)}: clone the project with git, or make this copy of it a repository "
            f"with git init"
        ) from None


def main() -> None:
    """Check DVC's settings, the locks of both pipelines and the repository."""
    check_repository(Path())
    check_settings(SETTINGS)
    clear(RWLOCK)
    for lock in LOCKS:
        check(lock)


if __name__ == "__main__":
    run(main)
