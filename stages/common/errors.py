"""How a stage tells its user what went wrong: one line, a status that is not 0, no traceback."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.common import versions


class UserError(Exception):
    """Something the user can put right; the message says what was wrong, where, and the remedy."""


@contextmanager
def reading(path: Path, command: str) -> Iterator[None]:
    """If the block fails, tell the user which file is absent or damaged and how to recreate it.

    Args:
        path: The file that the block reads, or a folder of such files.
        command: The command that makes the file, for the error message.

    Raises:
        UserError: The block raised an `OSError`, a `TypeError` or a `ValueError`, or the path is a
            pipe or a device, which a reader might wait on for ever.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is neither a file nor a folder: remove it, then run again")
        yield
    except FileNotFoundError as error:
        absent = error.filename or path
        raise UserError(f"{absent} does not exist: create it with: {command}") from None
    except (OSError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): recreate it with: {command}") from None


def run(main: Callable[[], None]) -> None:
    """Run `main`, turning a `UserError` or Ctrl-C into a message and an exit status.

    If an installed package has another version than versions.txt lists, `main` does not run.
    """
    if told := versions.other_python():
        print(f"warning: {told}", file=sys.stderr)
    if told := versions.difference():
        sys.exit(f"error: {told}")
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # The process ends now; looking for garbage among PyTorch's modules would take a second.
        gc.freeze()
