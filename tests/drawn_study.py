"""A study in which every number differs, and what its figures show, read back from their axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.figures.study import RunSteps, Study

EPOCHS, STEPS_PER_EPOCH = 4, 40
SHARES = ("test_accuracy", "validation_accuracy", "train_accuracy")
SCORES = ("train_loss", "test_loss", "validation_loss", "gradient_norm_mean", "gradient_norm_max")


class End(NamedTuple):
    """How a network ends."""

    outcome: str = "trained"
    lost_epoch: float = np.nan
    lost_step: float = np.nan
    lost_how: str | None = None


TRAINED = End()
UNDERTRAINED = End("undertrained")


def lost(step: int, how: str) -> End:
    """Lose a network at a step, counted from 1."""
    return End("lost", (step - 1) // STEPS_PER_EPOCH + 1, step, how)


ENDS = {
    (0.1, 12): UNDERTRAINED,
    (0.3, 11): lost(3 * STEPS_PER_EPOCH, "collapsed"),
    (0.6, 11): lost(7, "exploded"),
    (0.6, 12): lost(2 * STEPS_PER_EPOCH + 1, "exploded"),
    (0.6, 13): lost(11, "collapsed"),
}
"""At 0.1 and 0.3 two seeds of three train, at 0.6 one of four, at the candidate's 0.2 all."""


def fabricate(
    datasets: Sequence[str] = ("mnist",),
    *,
    grid: Sequence[float] = (0.1, 0.3, 0.6),
    candidate: float = 0.2,
    seeds: Sequence[int] = (11, 12, 13, 14),
    layers: int = 2,
    ends: Mapping[tuple[float, int], End] = ENDS,
) -> Study:
    """Make the tables that diagnose and aggregate would leave, of random numbers.

    Args:
        datasets: As in params.yaml.
        grid: As in params.yaml.
        candidate: As in params.yaml.
        seeds: As in params.yaml.
        layers: Hidden layers.
        ends: Rate and seed → how that network ends, on every dataset; the others train.
    """
    generator = np.random.default_rng(0)
    measured = [
        f"{name}_{layer}"
        for layer in range(layers, 0, -1)
        for name in ("effective_rank", "feature_sparsity")
    ]
    history, diagnostics, networks, steps = [], [], [], {}
    for dataset in datasets:
        for role, rate in [*(("grid", rate) for rate in grid), ("candidate", candidate)]:
            run = {"dataset": dataset, "role": role, "learning_rate": rate}
            bursts = []
            for seed in seeds:
                end = ends.get((rate, seed), TRAINED)
                network: dict[str, Any] = {**run, "seed": seed}
                for epoch in range(EPOCHS + 1):
                    scores = dict(zip(SCORES, generator.lognormal(0, 2, len(SCORES)), strict=True))
                    features = dict(zip(measured, generator.random(len(measured)), strict=True))
                    features["sharpness"] = generator.lognormal(1, 1)
                    if end.lost_how == "exploded" and epoch >= end.lost_epoch:
                        scores |= dict.fromkeys(scores, np.nan)
                        features |= dict.fromkeys(features, np.nan)
                    scores |= dict(zip(SHARES, generator.uniform(0.2, 0.97, 3), strict=True))
                    step = STEPS_PER_EPOCH * epoch
                    if epoch:
                        history.append({**network, "epoch": epoch, "step": step, **scores})
                    diagnostics.append({**network, "epoch": epoch, **features})
                networks.append({**network, **end._asdict(), **scores, **features})
                if end.outcome == "lost":
                    around = np.arange(1 - end.lost_step, 3)
                    values = generator.lognormal(0, 2, (2, len(around)))
                    bursts.append(
                        pd.DataFrame(
                            {"seed": seed, "step": around}
                            | {"loss": values[0], "gradient_norm": values[1]}
                        )
                    )
            first = [1, 2, 3, 5, 9, 17, 30]
            norms = generator.lognormal(0, 1, len(first))
            empty = pd.DataFrame(columns=["seed", "step", "loss", "gradient_norm"])
            steps[dataset, role, rate] = RunSteps(
                pd.DataFrame({"step": first, "gradient_norm": norms}),
                pd.concat(bursts, ignore_index=True) if bursts else empty,
            )
    return Study(
        history=pd.DataFrame(history),
        diagnostics=pd.DataFrame(diagnostics),
        seeds=pd.DataFrame(networks),
        steps=steps,
    )


@dataclass(frozen=True)
class Mark:
    """One point of a line without dashes."""

    x: float
    y: float
    shape: str
    """o (filled), hollow o, D or x."""
    on_edge: bool
    """On the bottom edge of the axes; y then means nothing."""


def lines(axes: Axes, rate: str) -> list[Line2D]:
    """Find the lines with a rate's label that join points."""
    return [line for line in labelled(axes, rate) if line.get_linestyle() != "None"]


def labelled(axes: Axes, rate: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_label() == rate]


def points(line: Line2D) -> dict[float, float]:
    """Read x → y of a line."""
    return dict(np.asarray(line.get_xydata(), dtype=float).tolist())


def marks(axes: Axes, rate: str) -> list[Mark]:
    """Find the marks of a rate, from left to right."""
    found = []
    for line in labelled(axes, rate):
        if line.get_linestyle() == "None":
            hollow = "hollow " * (line.get_fillstyle() == "none")
            for x, y in points(line).items():
                height = line.get_transform().transform((x, y))[1]
                on_edge = bool(np.isclose(height, axes.bbox.y0))
                found.append(Mark(x, y, f"{hollow}{line.get_marker()}", on_edge))
    return sorted(found, key=lambda mark: mark.x)


def joined_means(axes: Axes, muted: str) -> dict[float, float]:
    """Read the line through the means, x → y: the muted one that is not a level."""
    (line,) = [
        line
        for line in axes.lines
        if to_hex(line.get_color()) == muted and line.get_linestyle() == "-"
    ]
    return points(line)


def level(axes: Axes, name: str) -> float:
    """Read the height of the dotted level with a name at its end."""
    (label,) = [text for text in axes.texts if text.get_text() == name]
    height = label.xy[1]  # type: ignore[attr-defined]
    (line,) = [line for line in axes.lines if set(np.ravel(line.get_ydata())) == {height}]
    assert line.get_linestyle() == ":"
    return float(height)


def thin_lines(axes: Axes, hue: str) -> list[dict[float, float]]:
    """Read x → y of each line of a colour that has no label: one network each."""
    return [
        points(line)
        for line in axes.lines
        if to_hex(line.get_color()) == hue and str(line.get_label()).startswith("_")
    ]


def crosses(axes: Axes) -> list[tuple[float, str, str]]:
    """Read the crosses above the top edge: x, text, colour."""
    return [
        (float(text.xy[0]), text.get_text(), to_hex(text.get_color()))  # type: ignore[attr-defined]
        for text in axes.texts
        if "×" in text.get_text()
    ]


def colour(axes: Axes, rate: str) -> str:
    """Read the colour of everything with a rate's label."""
    (found,) = {to_hex(line.get_color()) for line in labelled(axes, rate)}
    return found


def legend(figure: Figure) -> dict[str, Line2D]:
    """Read the figure's legend: name → line."""
    (found,) = figure.legends
    names = [text.get_text() for text in found.get_texts()]
    assert len(set(names)) == len(names)
    return dict(zip(names, found.get_lines(), strict=True))


def tick_names(axes: Axes) -> dict[float, str]:
    """Read the names of the ticks of the x axis, by place."""
    names = [text.get_text() for text in axes.get_xticklabels()]
    return dict(zip(axes.get_xticks().tolist(), names, strict=True))


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def caption(figure: Figure) -> str:
    """Read what is written below everything or above the legend there, as one line."""
    titles = [legend.get_title().get_text() for legend in figure.legends]
    return " ".join(" ".join([figure.get_supxlabel(), *titles]).split())
