"""How a stage tells its user what went wrong: one line, a status that is not 0, no traceback."""

import gc
import os
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
        raise UserError(
            f"{path} is damaged ({one_line(error)}): recreate it with: {command}"
        ) from None


def one_line(told: object) -> str:
    """Write an error or a text on one line, for a message."""
    return " ".join(str(told).split())


def say(text: str) -> None:
    """Print a result. Whoever reads it may stop after the first line, as `head -1` does.

    Raises:
        UserError: It cannot be written, such as to a full disk.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        # Python would try again when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise UserError(f"the output cannot be written ({error.strerror})") from None


def run(main: Callable[[], None]) -> None:
    """Run `main`, turning a `UserError` or Ctrl-C into a message and an exit status.

    If an installed package has another version than versions.txt lists, `main` does not run.
    """
    if sys.stderr is None:
        # Closed by whoever started this. The next file opened would take its place.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if told := versions.difference():
        sys.exit(f"error: {told}")
    if told := versions.other_python():
        print(f"warning: {told}", file=sys.stderr)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # The process ends now; looking for garbage among PyTorch's modules would take a second.
        gc.freeze()
