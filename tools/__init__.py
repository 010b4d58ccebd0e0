"""Programs to run by hand: `python -m tools.…`."""

import stages  # noqa: F401  Ctrl-C then ends a tool, as it does a stage, while it is imported.
