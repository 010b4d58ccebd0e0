"""The verdicts on the published claims, each with its evidence."""

import math
from typing import Any

import altair as alt
import pandas as pd

from stages.audit.drawing.effects import LOOKS, TICKS, label, look_of, reach
from stages.audit.judging.claims import CLAIMS
from stages.audit.judging.rungs import named
from stages.report.chart import UNKNOWN, Chart, Key, Panel, Table, known
from stages.report.look import GRID, MUTED, TEXT, both

ENDS = ["gain", "gain_low", "gain_high"]
UNITS = {
    "points": ("{:+.2f}", " points"),
    "factor": ("× {:.2f}", ""),
    "share": ("{:+.0f}", " points"),
    "margins": ("{:+.1f}", " margins"),
    "bound": ("{:.0f}", " %"),
}
"""Unit of an effect → how its number is written, and what follows it. Shares are in points of the
share; one that is compared with a bound is written as it is."""
MINUS = "−"
OFF = {"factor": "most of one side never get there"}
"""Unit → how an infinite effect is written. For other units, most of one side are lost."""
SHAPES = {"o": "circle", "s": "square", "D": "diamond"}
VERDICTS = {"supported": LOOKS[0], "refuted": LOOKS[1]}
"""Verdict → the look of the effects that speak for it."""
LABEL_LIFT = 11
"""Pixels from a mark up to the middle of its label."""
HEADS = ("recipe", "comparison", "effect", "95 % interval", "result")


def claims(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Lay out every claim, in the order of metrics/claims.csv.

    Args:
        table: metrics/claims.csv.
    """
    return [claim(str(name), rows) for name, rows in table.groupby("claim", sort=False)]


def claim(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    """Lay out a claim from its rows, for verdicts.html; what it does not have is empty or None."""
    rules = {each.key: each.compared for each in CLAIMS}
    evidence = Table(HEADS, [line(row) for _, row in rows.iterrows()])
    effects = rows[rows["headline"] == 1].dropna(subset="gain")
    verdict = str(next(iter(rows["verdict"].dropna()), "not run"))
    deciding = effects[effects["decides"] == 1]
    return {
        "name": name,
        "statement": str(rows["statement"].iloc[0]),
        "verdict": verdict,
        "colour": both(VERDICTS[verdict].colour) if verdict in VERDICTS else TEXT,
        "effect": "" if deciding.empty else told(deciding.iloc[0]),
        "rule": rules.get(name, ""),
        "halves": "" if effects.empty else halves(effects.iloc[0]),
        "chart": None if effects.empty else forest(name, effects, evidence),
        "table": evidence,
    }


def told(row: pd.Series) -> str:
    """Write a comparison and its effect."""
    against = f", against {100 * row['bound']:.0f} %" if known(row["bound"]) else ""
    within = interval(row)
    return f"{label(row)}{against}: {effect(row)}" + f" ({within})" * (within != UNKNOWN)


def halves(row: pd.Series) -> str:
    """Write what either half of the seeds says."""
    if row["lower_half"] == row["upper_half"]:
        return f"Each half of the seeds, judged alone: {row['lower_half']}."
    return f"The halves of the seeds, judged alone: {row['lower_half']}, {row['upper_half']}."


def interval(row: pd.Series) -> str:
    """Write the interval of an effect, open where an end is infinite."""
    low, high = written(row, "effect_low"), written(row, "effect_high")
    ends = [row["effect_low"], row["effect_high"]]
    # A factor of 0 is as open an end as an infinite one: its logarithm is infinite.
    finite = [math.isfinite(end) and not (row["unit"] == "factor" and end == 0) for end in ends]
    if all(finite):
        return f"{low} to {high}"
    return f"{low} or more" if finite[0] else f"{high} or less" if finite[1] else UNKNOWN


def line(row: pd.Series) -> list[str]:
    """Write a comparison for the table."""
    recipe = str(row["recipe"])
    return [
        named(recipe) + " (decides)" * (row["headline"] == 1),
        label(row) if known(row["comparison"]) else UNKNOWN,
        effect(row),
        interval(row),
        str(row["result"]),
    ]


def effect(row: pd.Series) -> str:
    """Write an effect, with its unit; in words where most networks of a side have no value."""
    if math.isinf(row["effect"]) or (row["unit"] == "factor" and row["effect"] == 0):
        return OFF.get(row["unit"], "most of one side are lost")
    number = written(row, "effect")
    return number if number == UNKNOWN else number + in_unit(row)[1]


def written(row: pd.Series, column: str) -> str:
    """Write the number of an effect, or of an end of its interval."""
    value = float(row[column]) + (100 * row["bound"] if known(row["bound"]) else 0)
    if math.isnan(value):
        return UNKNOWN
    return in_unit(row)[0].format(value).replace("-", MINUS)


def in_unit(row: pd.Series) -> tuple[str, str]:
    """Choose how an effect is written."""
    return UNITS["bound" if known(row["bound"]) else str(row["unit"])]


def forest(name: str, rows: pd.DataFrame, evidence: Table) -> Chart:
    """Draw the effects that decide a claim, each with its interval."""
    limit = reach(rows)
    drawn = rows[["result"]].assign(
        **{end: rows[end].clip(-limit, limit) for end in ENDS},
        compared=[label(row) for _, row in rows.iterrows()],
        effect=[effect(row) for _, row in rows.iterrows()],
        look=[look_of(result).name for result in rows["result"]],
    )
    present = [look for look in LOOKS if (drawn["look"] == look.name).any()]
    return Chart(
        f"claim-{name.replace('_', '-')}",
        f"the comparisons of “{rows['statement'].iloc[0]}”",
        "",
        [panel(limit)],
        {"effects": drawn},
        evidence,
        key=[Key(look.name, both(look.colour)) for look in present],
        most_in_a_row=1,
        axis_room=24,
    )


def panel(limit: float) -> Panel:
    """Draw effects and intervals.

    Args:
        limit: Where the axis ends on either side, in margins.
    """
    scale = alt.Scale(type="symlog", constant=1, domain=[-limit, limit], nice=False)
    ticks = [tick for tick in TICKS if abs(tick) <= limit]
    axis = alt.Axis(values=ticks, format="~r", title="effect (margins)")
    still = alt.Chart(alt.sequence(0, 1))
    names = [look.name for look in LOOKS]
    colours = alt.Scale(domain=names, range=[both(look.colour) for look in LOOKS])
    shapes = alt.Scale(domain=names, range=[SHAPES[look.mark] for look in LOOKS])
    effects = alt.Chart(alt.NamedData("effects")).encode(
        y=alt.Y("compared:N", sort=None, axis=None),
        tooltip=[alt.Tooltip("compared:N"), alt.Tooltip("effect:N"), alt.Tooltip("result:N")],
    )
    hollow = alt.datum.look == LOOKS[-1].name
    labels = alt.Chart(alt.NamedData("effects")).mark_text(align="left", dy=-LABEL_LIFT, color=TEXT)
    return alt.layer(
        still.mark_rect(color=GRID, opacity=0.6).encode(
            x=alt.XDatum(-1, scale=scale, axis=axis), x2=alt.X2Datum(1)
        ),
        still.mark_rule(color=MUTED).encode(x=alt.XDatum(0, scale=scale, axis=axis)),
        labels.encode(
            x=alt.value(0), y=alt.Y("compared:N", sort=None, axis=None), text="compared:N"
        ),
        effects.mark_rule(strokeWidth=1.5).encode(
            x=alt.X("gain_low:Q", scale=scale, axis=axis),
            x2="gain_high:Q",
            color=alt.Color("look:N", scale=colours, legend=None),
        ),
        effects.mark_point(size=50, opacity=1).encode(
            x=alt.X("gain:Q", scale=scale, axis=axis),
            stroke=alt.Stroke("look:N", scale=colours, legend=None),
            fill=alt.Fill("look:N", scale=colours, legend=None),
            shape=alt.Shape("look:N", scale=shapes, legend=None),
            fillOpacity=alt.condition(hollow, alt.value(0), alt.value(1)),
        ),
    ).properties(width=300, height=alt.Step(36))
