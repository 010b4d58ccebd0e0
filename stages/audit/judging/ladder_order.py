"""The order of the ladder's rungs, and what each differs from."""

from collections.abc import Iterable

from stages.audit.training.parameters import CORE, Audit


def rungs(audit: Audit) -> list[str]:
    """Order the rungs: the ladder's recipes on the grid, core before the first that follows it."""
    names = [name for name in audit.ladder if audit.recipes[name].rates is None]
    follows = [name for name in names if audit.recipes[name].after == CORE]
    names.insert(names.index(follows[0]) if follows else len(names), CORE)
    return names


def before(audit: Audit, rung: str) -> str | None:
    """Name the rung that a rung differs from in one thing; None for the first."""
    order = rungs(audit)
    declared = None if rung == CORE else audit.recipes[rung].after
    place = order.index(rung) if rung in order else 0
    return declared or (order[place - 1] if place else None)


def titles(names: Iterable[str]) -> dict[str, str]:
    """Write the names of rungs for readers."""
    return {name: "constant (core)" if name == CORE else name.replace("_", " ") for name in names}
