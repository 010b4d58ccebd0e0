"""How a stage tells its user what went wrong: one line, a status that is not 0, no traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right; the message says what was wrong, where, and the remedy."""


def run(main: Callable[[], None]) -> None:
    """Run a stage's `main`, turning a `UserError` or Ctrl-C into a message and an exit status."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
