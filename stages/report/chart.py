"""A chart of the page: its Vega-Lite specification, and the table behind it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import altair as alt
import pandas as pd

from stages.common.tables import written
from stages.figures.accuracy import CHANCE
from stages.figures.theme import SMALLEST_ERROR
from stages.report.look import CONFIG, CROSS

Panel: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart
Row: TypeAlias = Mapping[Any, Any]
"""A row of a table: column → value."""
UNKNOWN = "–"
"""A table's cell without a value."""
GAP = 24
"""Pixels between panels; page.js repeats this number."""
ACCURACY_TICKS = (0.1, 0.5, 0.7, 0.8, 0.85, 0.88, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998)


@dataclass(frozen=True)
class Table:
    """A table for readers: heads of the columns, and the cells."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Key:
    """A colour with its meaning."""

    label: str
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with the table behind it."""

    name: str
    """Unique in the page: letters, digits and hyphens."""
    title: str
    caption: str
    panels: Sequence[Panel]
    """They refer to their data by `alt.NamedData`; the page decides how wide they are."""
    data: Mapping[str, pd.DataFrame]
    """Name → rows."""
    table: Table
    parameters: Sequence[alt.Parameter] = ()
    """The Vega parameters that the page's script sets."""
    key: Sequence[Key] = ()
    """What its colours mean, where nothing else on the page says so."""
    most_in_a_row: int = 3
    panel_width: int = 300
    """Pixels, axes included, that a panel needs beside another."""
    axis_room: int = 56
    """Pixels of a panel that its axis takes."""

    def written(self) -> dict[str, Any]:
        """Return everything that the page draws the chart from, ready for JSON.

        Returns:
            specification: the chart in Vega-Lite; data: name → columns and rows, with None for a
            value that is missing or infinite.
        """
        view = alt.concat(*self.panels, columns=self.most_in_a_row, spacing=GAP)
        specification = view.add_params(*self.parameters).to_dict()
        data = {
            name: {
                "columns": list(rows.columns),
                "rows": [
                    [plain(value) for value in row]
                    for row in rows.astype(object).itertuples(index=False, name=None)
                ],
            }
            for name, rows in self.data.items()
        }
        return {"specification": specification | {"config": CONFIG}, "data": data}


def plain(value: object) -> object:
    """Convert a cell to a value of JSON; a float is rounded to the six digits of the tables."""
    if not known(value):
        return None
    return float(written(value)) if isinstance(value, float) else value


def known(value: object) -> bool:
    """Tell whether a cell holds something that can be shown."""
    return not pd.isna(value) and value not in (math.inf, -math.inf)  # type: ignore[call-overload]


def number(value: float, digits: str) -> str:
    """Write a number for a table: `digits` as Python's format, a dash where it is missing."""
    if not known(value):
        return UNKNOWN
    return f"{value:{digits}}".replace("%", " %")


def with_error(networks: pd.DataFrame) -> pd.DataFrame:
    """Add 1 - accuracy for `accuracy_axis`, never 0; that of chance where a network exploded.

    Such a network has no accuracy, whatever the table says.
    """
    accuracy = networks["test_accuracy"].mask(networks["lost_how"] == "exploded")
    error = (1 - accuracy.fillna(CHANCE)).clip(lower=SMALLEST_ERROR)
    return networks.assign(test_accuracy=accuracy, error=error)


def accuracy_axis(error: str, errors: tuple[float, float] | None = None) -> alt.Y:
    """Space accuracies by the logarithm of the error, as the figures do.

    One axis can then show a failure at 10 % and still separate 98 % from 97 %.

    Args:
        error: The column of 1 - accuracy.
        errors: Its smallest and its largest, for an axis that several panels share.
    """
    return alt.Y(
        f"{error}:Q",
        scale=alt.Scale(
            type="log",
            reverse=True,
            nice=False,
            padding=6,
            domain=alt.Undefined if errors is None else list(errors),
        ),
        axis=alt.Axis(
            values=[round(1 - accuracy, 6) for accuracy in ACCURACY_TICKS],
            labelExpr="format(100 - 100 * datum.value, '.4~g') + ' %'",
            labelOverlap="greedy",
            title=None,
        ),
    )


def log_axis(column: str) -> alt.Y:
    """Make an axis logarithmic, with plain numbers at its ticks."""
    return alt.Y(
        f"{column}:Q",
        scale=alt.Scale(type="log", nice=False, padding=6),
        axis=alt.Axis(format="~g", tickCount=5, labelOverlap="greedy", title=None),
    )


def plain_axis(column: str) -> alt.Y:
    """Make an axis linear, from 0."""
    return alt.Y(f"{column}:Q", axis=alt.Axis(format="~r", tickCount=4, title=None))


def share_axis(column: str) -> alt.Y:
    """Make an axis linear, from 0, in per cent."""
    return alt.Y(f"{column}:Q", axis=alt.Axis(format="~%", tickCount=4, title=None))


def outcome_mark() -> dict[str, Any]:
    """Encode how networks ended: filled circles trained, hollow ones undertrained, × lost."""
    shapes = alt.Scale(
        domain=["trained", "undertrained", "lost"], range=["circle", "circle", CROSS]
    )
    trained = alt.datum["outcome"] == "trained"
    return {
        "shape": alt.Shape("outcome:N", scale=shapes, legend=None),
        "fillOpacity": alt.condition(trained, alt.value(0.8), alt.value(0)),
    }
