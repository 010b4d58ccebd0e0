"""Figures by epoch and by step, read back from their axes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import stats

from stages.figures.curves import curves
from stages.figures.gradient import gradient
from stages.figures.sharpness import sharpness
from stages.figures.study import Study
from stages.figures.theme import DARK, LIGHT
from tests.drawn_study import (
    STEPS_PER_EPOCH,
    caption,
    colour,
    crosses,
    fabricate,
    legend,
    level,
    lines,
    lost,
    points,
    texts,
    thin_lines,
)

STUDY = fabricate()
RATES = {"0.1": 0.1, "0.2 (candidate)": 0.2, "0.3": 0.3, "0.6": 0.6}
LOST_EPOCH = {(0.3, 11): 3, (0.6, 11): 1, (0.6, 12): 3, (0.6, 13): 1}
LEGEND = ["0.6\n3 of 4 lost", "0.3\n1 of 4 lost", "0.2 (candidate)", "0.1"]
PANELS: dict[str, tuple[str, Callable[..., Any]]] = {
    "training loss (nats)": ("train_loss", stats.gmean),
    "test loss (nats)": ("test_loss", stats.gmean),
    "test accuracy": ("test_accuracy", np.mean),
    "gradient norm (mean over steps)": ("gradient_norm_mean", stats.gmean),
}


@pytest.fixture
def curves_figure() -> Figure:
    return curves(STUDY, "mnist", LIGHT)


@pytest.fixture
def gradient_figure() -> Figure:
    return gradient(STUDY, "mnist", LIGHT)


def named(figure: Figure, label: str) -> Axes:
    (found,) = [axes for axes in figure.axes if axes.get_ylabel() == label]
    return found


def by_epoch(drawn: list[dict[float, float]]) -> dict[int, list[float]]:
    """List, epoch by epoch, the values of networks that are drawn one by one."""
    values: dict[int, list[float]] = {}
    for network in drawn:
        for epoch, value in network.items():
            values.setdefault(int(epoch), []).append(value)
    return dict(sorted(values.items()))


def before_loss(table: pd.DataFrame, rate: float, column: str) -> dict[int, list[float]]:
    """List, epoch by epoch, the values at a rate of the networks that are not yet lost."""
    values: dict[int, list[float]] = {}
    for row in table[table["learning_rate"] == rate].to_dict("records"):
        if row["epoch"] < LOST_EPOCH.get((rate, row["seed"]), np.inf):
            values.setdefault(row["epoch"], []).append(row[column])
    return values


@pytest.mark.parametrize("label", PANELS)
def test_a_curve_is_the_mean_over_the_networks_not_yet_lost(
    curves_figure: Figure, label: str
) -> None:
    column, mean = PANELS[label]
    for rate, number in RATES.items():
        (line,) = lines(named(curves_figure, label), rate)
        values = before_loss(STUDY.history, number, column)
        assert points(line) == pytest.approx({epoch: mean(of) for epoch, of in values.items()})


@pytest.mark.parametrize("label", PANELS)
def test_a_thin_line_is_one_network_until_it_is_lost(curves_figure: Figure, label: str) -> None:
    axes = named(curves_figure, label)
    for rate, number in RATES.items():
        drawn = thin_lines(axes, colour(axes, rate))
        assert by_epoch(drawn) == before_loss(STUDY.history, number, PANELS[label][0])


def test_losses_and_norms_are_on_logarithmic_axes_and_accuracy_is_in_percent(
    curves_figure: Figure,
) -> None:
    curves_figure.draw_without_rendering()
    scales = {label: named(curves_figure, label).get_yscale() for label in PANELS}
    assert scales == dict(zip(PANELS, ("log", "log", "function", "log"), strict=True))
    ticks = named(curves_figure, "test accuracy").yaxis.get_ticklabels()
    shown = [tick.get_text() for tick in ticks]
    assert {"30 %", "50 %", "70 %", "90 %"} <= set(shown)


def test_equal_steps_on_the_accuracy_axis_divide_the_error_by_equal_factors(
    curves_figure: Figure,
) -> None:
    to_display = named(curves_figure, "test accuracy").transData
    heights = to_display.transform([(1, accuracy) for accuracy in (0, 0.9, 0.99, 0.999)])[:, 1]
    assert np.diff(heights) == pytest.approx(heights[1] - heights[0])


@pytest.mark.parametrize("label", PANELS)
def test_crosses_are_at_the_epochs_in_which_networks_were_lost(
    curves_figure: Figure, label: str
) -> None:
    axes = named(curves_figure, label)
    of_03, of_06 = colour(axes, "0.3"), colour(axes, "0.6")
    assert crosses(axes) == [(3, "×", of_03), (1, "2×", of_06), (3, "×", of_06)]


@pytest.mark.parametrize("draw", [curves, gradient])
def test_the_legend_gives_each_rate_its_colour_its_dashes_and_its_losses(
    draw: Callable[..., Figure],
) -> None:
    figure = draw(STUDY, "mnist", DARK)
    entries = legend(figure)
    assert list(entries) == LEGEND
    for name, entry in entries.items():
        (line,) = lines(figure.axes[0], name.split("\n")[0])
        shown = (to_hex(entry.get_color()), entry.get_linestyle(), entry.get_marker())
        assert shown == (to_hex(line.get_color()), line.get_linestyle(), line.get_marker())


def test_the_candidate_alone_is_dashed(curves_figure: Figure) -> None:
    dashes = {rate: lines(curves_figure.axes[0], rate)[0].get_linestyle() for rate in RATES}
    assert dashes == {"0.1": "-", "0.2 (candidate)": "--", "0.3": "-", "0.6": "-"}


def test_a_rate_at_which_all_were_lost_in_the_first_epoch_is_still_in_the_legend() -> None:
    gone = {(0.6, seed): lost(seed, "exploded") for seed in (11, 12, 13, 14)}
    entries = legend(curves(fabricate(ends=gone), "mnist", LIGHT))
    assert list(entries) == ["0.6\n4 of 4 lost", "0.3", "0.2 (candidate)", "0.1"]


@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_a_spike_runs_off_the_top_instead_of_flattening_the_other_curves(rate: float) -> None:
    study = fabricate(ends={})
    study.history.loc[study.history["learning_rate"] == 0.6, "train_loss"] *= 1e-6
    spike = (study.history["learning_rate"] == rate) & (study.history["epoch"] == 2)
    study.history.loc[spike, "train_loss"] = 1e12
    axes = named(curves(study, "mnist", LIGHT), "training loss (nats)")
    curves_drawn = [points(lines(axes, name)[0]) for name in RATES]
    usual = [value for curve in curves_drawn for value in curve.values() if value < 1e11]
    assert max(curve[1] for curve in curves_drawn) < axes.get_ylim()[1] <= 4 * max(usual)


def test_only_what_is_in_the_picture_is_explained() -> None:
    calm = fabricate(ends={})
    for draw in (curves, gradient, sharpness):
        assert "×" in caption(draw(STUDY, "mnist", LIGHT)) or draw is sharpness
        assert "×" not in caption(draw(calm, "mnist", LIGHT))


@pytest.mark.parametrize("number", range(4))
def test_a_panel_of_sharpness_shows_median_seeds_and_level_of_its_rate(number: int) -> None:
    rate, value = list(RATES.items())[number]
    axes = sharpness(STUDY, "mnist", LIGHT).axes[number]
    values = before_loss(STUDY.diagnostics, value, "sharpness")
    curve, stability = lines(axes, rate)
    assert points(curve) == pytest.approx({at: np.median(of) for at, of in values.items()})
    assert set(np.ravel(stability.get_ydata())) == {2 / value}
    assert by_epoch(thin_lines(axes, colour(axes, rate))) == values
    assert level(axes, f"2 / {value:g}") == 2 / value
    assert axes.get_yscale() == "log"


def test_a_panel_of_sharpness_is_named_by_its_rate_and_its_losses() -> None:
    figure = sharpness(STUDY, "mnist", LIGHT)
    titles = ["0.1", "0.2 (candidate)", "0.3, 1 of 4 lost", "0.6, 3 of 4 lost"]
    assert [axes.get_title() for axes in figure.axes] == titles


def test_a_panel_of_sharpness_shows_the_medians_of_the_other_rates_in_grey() -> None:
    panels = sharpness(STUDY, "mnist", LIGHT).axes
    grey = [line for line in panels[0].lines if to_hex(line.get_color()) == LIGHT.muted]
    others = zip(list(RATES)[1:], panels[1:], strict=True)
    assert [points(line) for line in grey] == [
        points(lines(axes, rate)[0]) for rate, axes in others
    ]


def test_the_first_epoch_is_drawn_step_by_step(gradient_figure: Figure) -> None:
    axes = gradient_figure.axes[0]
    for rate, number in RATES.items():
        role = "candidate" if "candidate" in rate else "grid"
        table = STUDY.steps["mnist", role, number].first_epoch
        (line,) = lines(axes, rate)
        assert points(line) == dict(zip(table["step"], table["gradient_norm"], strict=True))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim() == (1, STEPS_PER_EPOCH)


def test_crosses_of_the_first_epoch_are_at_the_steps_at_which_networks_were_lost(
    gradient_figure: Figure,
) -> None:
    axes = gradient_figure.axes[0]
    of_06 = colour(axes, "0.6")
    assert sorted(crosses(axes)) == [(7, "×", of_06), (11, "×", of_06)]


@pytest.mark.parametrize(
    ("label", "quantity"),
    [("loss of the batch (nats)", "loss"), ("gradient norm", "gradient_norm")],
)
def test_bursts_are_drawn_for_each_lost_network_from_the_step_of_the_loss(
    gradient_figure: Figure, label: str, quantity: str
) -> None:
    axes = next(axes for axes in gradient_figure.axes[1:] if axes.get_ylabel() == label)
    assert axes.get_xlabel() == "steps since the breakdown began"
    assert axes.get_yscale() == "log"
    drawn = {rate: [points(line) for line in lines(axes, rate)] for rate in RATES}
    expected: dict[str, list[Any]] = {rate: [] for rate in RATES}
    for rate, seed in LOST_EPOCH:
        table = STUDY.steps["mnist", "grid", rate].bursts
        burst = table[table["seed"] == seed]
        expected[f"{rate:g}"].append(dict(zip(burst["step"], burst[quantity], strict=True)))
    assert drawn == expected


def test_an_explosion_runs_off_the_top() -> None:
    run = STUDY.steps["mnist", "grid", 0.6]
    burst = run.bursts.assign(loss=1e30, gradient_norm=1e35)
    steps = STUDY.steps | {("mnist", "grid", 0.6): run._replace(bursts=burst)}
    figure = gradient(replace(STUDY, steps=steps), "mnist", LIGHT)
    assert [axes.get_ylim()[1] for axes in figure.axes[1:]] == [1e5, 1e5]
    assert "Those that explode run off the top." in caption(figure)


def test_where_no_network_was_lost_the_panels_of_bursts_say_so() -> None:
    figure = gradient(fabricate(ends={}), "mnist", LIGHT)
    assert [texts(axes) for axes in figure.axes] == [[], *[["no network was lost"]] * 2]


def test_figures_over_epochs_show_their_own_dataset() -> None:
    study = fabricate(datasets=("digits", "mnist"), ends={})
    alone = Study(
        history=study.history[study.history["dataset"] == "mnist"],
        diagnostics=study.diagnostics[study.diagnostics["dataset"] == "mnist"],
        seeds=study.seeds[study.seeds["dataset"] == "mnist"],
        steps=study.steps,
    )
    for draw in (curves, gradient, sharpness):
        of_both, of_one = draw(study, "mnist", LIGHT), draw(alone, "mnist", LIGHT)
        for axes, other in zip(of_both.axes, of_one.axes, strict=True):
            assert [points(line) for line in axes.lines] == [points(line) for line in other.lines]
