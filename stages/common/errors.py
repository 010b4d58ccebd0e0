"""How a stage tells its user what went wrong: one line, a status that is not 0, no traceback."""

import sys
from collections.abc import Callable

from stages.common import versions


class UserError(Exception):
    """Something the user can put right; the message says what was wrong, where, and the remedy."""


def run(main: Callable[[], None]) -> None:
    """Run `main`, turning a `UserError` or Ctrl-C into a message and an exit status.

    With other versions of the packages than those that the results rest on, nothing runs.
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
