"""Figures by learning rate, read back from their axes."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from scipy import stats

from stages.figures.accuracy import accuracy
from stages.figures.features import features, plateau
from stages.figures.headline import headline
from stages.figures.outcomes import outcomes
from stages.figures.theme import DARK, LIGHT
from tests.drawn_study import (
    caption,
    fabricate,
    joined_means,
    legend,
    level,
    lost,
    marks,
    texts,
    tick_names,
)

STUDY = fabricate()
RATES = {"0.1": 0.1, "0.2 (candidate)": 0.2, "0.3": 0.3, "0.6": 0.6}
SHAPES = {
    "0.1": ["o", "hollow o", "o", "o"],
    "0.2 (candidate)": ["D"] * 4,
    "0.3": ["x", "o", "o", "o"],
    "0.6": ["x", "x", "x", "o"],
}
EXPLODED = {"0.1": [], "0.2 (candidate)": [], "0.3": [], "0.6": [0, 1]}
"""Which of a rate's seeds, in order, exploded."""
NONE_TRAIN = {
    (rate, seed): lost(9, "collapsed") for rate in (0.1, 0.2, 0.3, 0.6) for seed in range(11, 15)
}


def column(name: str, rate: float) -> list[float]:
    seeds = STUDY.seeds[STUDY.seeds["learning_rate"] == rate].sort_values("seed")
    return list(seeds[name])


def trained(name: str, rate: float) -> list[float]:
    shapes = SHAPES[f"{rate:g}"]
    return [value for value, shape in zip(column(name, rate), shapes, strict=True) if shape == "o"]


def assert_marks_are(axes: Axes, name: str) -> None:
    """Compare the marks of every rate with a column of the seeds' table."""
    for rate, number in RATES.items():
        drawn = marks(axes, rate)
        assert [mark.shape for mark in drawn] == SHAPES[rate]
        assert [place for place, mark in enumerate(drawn) if mark.on_edge] == EXPLODED[rate]
        heights = [mark.y for mark in drawn if not mark.on_edge]
        alive = [x for place, x in enumerate(column(name, number)) if place not in EXPLODED[rate]]
        assert heights == alive
        assert np.mean([mark.x for mark in drawn]) == pytest.approx(number)


def assert_line_is_mean_of_trained(axes: Axes, name: str) -> None:
    means = {rate: np.mean(trained(name, rate)) for rate in (0.1, 0.3, 0.6)}
    assert joined_means(axes, LIGHT.muted) == pytest.approx(means)


def test_accuracy_is_one_mark_per_network_by_how_it_ended() -> None:
    (axes,) = accuracy(STUDY, "mnist", LIGHT).axes
    assert axes.get_ylabel() == "final test accuracy"
    assert_marks_are(axes, "test_accuracy")
    assert_line_is_mean_of_trained(axes, "test_accuracy")


def test_chance_is_one_in_ten() -> None:
    (axes,) = accuracy(STUDY, "mnist", LIGHT).axes
    assert level(axes, "chance") == 0.1


def test_lost_networks_are_counted_below_their_rate() -> None:
    (axes,) = accuracy(STUDY, "mnist", LIGHT).axes
    counts = {text.xy[0]: text.get_text() for text in axes.texts if " of " in text.get_text()}  # type: ignore[attr-defined]
    assert counts == {0.3: "1 of 4", 0.6: "3 of 4"}


def test_the_candidate_is_named_with_its_mark() -> None:
    (axes,) = accuracy(STUDY, "mnist", LIGHT).axes
    assert tick_names(axes) == {0.1: "0.1", 0.2: "\n◆ 0.2", 0.3: "0.3", 0.6: "0.6"}


def test_rates_are_spaced_by_their_logarithm_beyond_a_decade() -> None:
    (axes,) = accuracy(fabricate(grid=(0.01, 1.0), candidate=0.1), "mnist", LIGHT).axes
    assert list(tick_names(axes)) == [-2, -1, 0]
    (axes,) = accuracy(fabricate(grid=(0.1, 1.0), candidate=0.2), "mnist", LIGHT).axes
    assert list(tick_names(axes)) == [0.1, 0.2, 1.0]


@pytest.mark.parametrize("layers", [1, 3, 11])
def test_features_have_a_row_of_panels_for_each_hidden_layer(layers: int) -> None:
    study = fabricate(layers=layers)
    figure = features(study, "mnist", LIGHT)
    panels = np.reshape(np.array(figure.axes), (layers, 2))
    names = [axes.get_ylabel() for axes in panels[:, 0]]
    assert names == [f"hidden layer {layer + 1}" for layer in range(layers)]
    titles = [axes.get_title() for axes in panels[0]]
    assert titles == ["active features", "effective rank"]
    candidate = study.seeds[study.seeds["role"] == "candidate"]
    for layer, row in enumerate(panels, start=1):
        for axes, quantity in zip(row, ("feature_sparsity", "effective_rank"), strict=True):
            drawn = [mark.y for mark in marks(axes, "0.2 (candidate)")]
            assert drawn == list(candidate[f"{quantity}_{layer}"])


def test_features_are_one_mark_per_network_by_how_it_ended() -> None:
    figure = features(STUDY, "mnist", LIGHT)
    names = [
        f"{name}_{layer}" for layer in (1, 2) for name in ("feature_sparsity", "effective_rank")
    ]
    for axes, name in zip(figure.axes, names, strict=True):
        assert_marks_are(axes, name)
        assert_line_is_mean_of_trained(axes, name)


def test_features_are_compared_with_the_median_before_training() -> None:
    start = STUDY.diagnostics[STUDY.diagnostics["epoch"] == 0]
    sparsity, rank = features(STUDY, "mnist", LIGHT).axes[2:]
    assert level(sparsity, "start") == np.median(start["feature_sparsity_2"])
    assert level(rank, "start") == np.median(start["effective_rank_2"])


def test_shares_are_in_percent_and_ranks_are_not() -> None:
    figure = features(STUDY, "mnist", LIGHT)
    figure.draw_without_rendering()
    shares, ranks = (
        {tick.get_text() for tick in axes.get_yticklabels()} for axes in figure.axes[:2]
    )
    assert {"0 %", "20 %", "40 %", "60 %", "80 %"} <= shares
    assert {"0.0", "0.2", "0.4", "0.6", "0.8"} <= ranks


def segments(axes: Axes) -> dict[float, list[tuple[str, float, float]]]:
    """Read each bar's place → its parts from below: colour, lower end, height."""
    found: dict[float, list[tuple[str, float, float]]] = {}
    for patch in axes.patches:
        assert isinstance(patch, Rectangle)
        place = round(patch.get_x() + patch.get_width() / 2, 6)
        part = (to_hex(patch.get_facecolor()), patch.get_y(), patch.get_height())
        found.setdefault(place, []).append(part)
    return found


def test_outcomes_are_stacked_from_trained_to_exploded() -> None:
    (axes,) = outcomes(STUDY, LIGHT).axes
    good, under, collapsed, exploded = LIGHT.endings
    assert segments(axes) == {
        0.1: [(good, 0, 3 / 4), (under, 3 / 4, 1 / 4)],
        0.2: [(good, 0, 1)],
        0.3: [(good, 0, 3 / 4), (collapsed, 3 / 4, 1 / 4)],
        0.6: [(good, 0, 1 / 4), (collapsed, 1 / 4, 1 / 4), (exploded, 2 / 4, 2 / 4)],
    }
    numbers = {
        (text.get_position()[0], text.get_position()[1], text.get_text()) for text in axes.texts
    }
    assert numbers == {
        *((0.1, 0.375, "3"), (0.1, 0.875, "1"), (0.2, 0.5, "4")),
        *((0.3, 0.375, "3"), (0.3, 0.875, "1")),
        *((0.6, 0.125, "1"), (0.6, 0.375, "1"), (0.6, 0.75, "2")),
    }


def test_the_legend_of_outcomes_names_their_colours() -> None:
    (axes,) = outcomes(STUDY, DARK).axes
    found = axes.get_legend()
    assert found is not None
    names = [text.get_text() for text in found.get_texts()]
    colours = [to_hex(patch.get_facecolor()) for patch in found.get_patches()]
    assert dict(zip(names, colours, strict=True)) == dict(
        zip(
            ("trained", "undertrained", "lost: collapsed", "lost: exploded"),
            DARK.endings,
            strict=True,
        )
    )


def test_nothing_is_named_that_is_not_in_the_picture() -> None:
    study = fabricate(ends={(0.6, 12): lost(9, "exploded")})
    figure = outcomes(study, LIGHT)
    found = figure.axes[0].get_legend()
    assert found is not None
    assert {text.get_text() for text in found.get_texts()} == {"trained", "lost: exploded"}
    drawn = (figure, accuracy(study, "mnist", LIGHT), headline(study, LIGHT))
    for text in map(caption, drawn):
        assert "ndertrained" not in text
        assert "ollapsed" not in text
        assert "xploded" in text


@pytest.mark.parametrize("layers", [1, 3, 11])
def test_the_plateau_shows_the_last_hidden_layer_against_the_training_loss(layers: int) -> None:
    study = fabricate(layers=layers)
    (axes,) = plateau(study, LIGHT).axes
    assert axes.get_xlabel() == "training loss (nats)"
    assert axes.get_ylabel() == f"active features, hidden layer {layers}"
    assert axes.get_xscale() == "log"
    for rate, number in RATES.items():
        seeds = study.seeds[study.seeds["learning_rate"] == number]
        seeds = seeds[seeds["lost_how"] != "exploded"].sort_values("train_loss")
        pairs = zip(seeds["train_loss"], seeds[f"feature_sparsity_{layers}"], strict=True)
        assert [(mark.x, mark.y) for mark in marks(axes, rate)] == list(pairs)


def test_the_plateau_marks_networks_by_how_they_ended() -> None:
    (axes,) = plateau(STUDY, LIGHT).axes
    shapes = {rate: sorted(mark.shape for mark in marks(axes, rate)) for rate in RATES}
    assert shapes == {
        "0.1": ["hollow o", "o", "o", "o"],
        "0.2 (candidate)": ["D"] * 4,
        "0.3": ["o", "o", "o", "x"],
        "0.6": ["o", "x"],
    }


def test_the_correlation_is_spearmans_over_the_networks_that_trained() -> None:
    seeds = STUDY.seeds[STUDY.seeds["outcome"] == "trained"]
    rho = stats.spearmanr(seeds["train_loss"], seeds["feature_sparsity_2"]).statistic
    (axes,) = plateau(STUDY, LIGHT).axes
    assert texts(axes) == [f"ρ = {rho:.2f} (11 networks)".replace("-", "−")]


def test_too_few_trained_networks_have_no_correlation() -> None:
    (axes,) = plateau(fabricate(ends=NONE_TRAIN), LIGHT).axes
    assert texts(axes) == ["too few networks for ρ"]


def test_the_plateau_names_only_rates_that_have_a_mark() -> None:
    gone = {(0.6, seed): lost(9, "exploded") for seed in range(11, 15)}
    figure = plateau(fabricate(ends=gone), LIGHT)
    assert list(legend(figure)) == ["0.1", "0.2 (candidate)", "0.3"]
    assert {entry.get_linestyle() for entry in legend(figure).values()} == {"None"}
    markers = [entry.get_marker() for entry in legend(figure).values()]
    assert markers == ["o", "D", "o"]


def test_the_headline_repeats_accuracy_and_sparsity_of_each_dataset_in_four_panels() -> None:
    study = fabricate(datasets=("mnist", "digits"), layers=3)
    figure = headline(study, LIGHT)
    panels = np.reshape(np.array(figure.axes), (2, 2))
    for dataset, (scores, sparsity) in zip(study.datasets, panels.T, strict=True):
        (expected,) = accuracy(study, dataset, LIGHT).axes
        last = features(study, dataset, LIGHT).axes[-2]
        for rate in RATES:
            assert marks(scores, rate) == marks(expected, rate)
            assert marks(sparsity, rate) == marks(last, rate)
        assert texts(scores) == texts(expected)
    titles = [axes.get_title() for axes in panels[0]]
    assert titles == ["MNIST", "Digits"]
    assert figure.legends == []


def test_every_row_of_panels_names_its_rates() -> None:
    for figure in (headline(STUDY, LIGHT), features(STUDY, "mnist", LIGHT)):
        for axes in figure.axes:
            assert list(tick_names(axes).values()) == ["0.1", "\n◆ 0.2", "0.3", "0.6"]
            assert all(tick.label1.get_visible() for tick in axes.xaxis.get_major_ticks())


def test_networks_of_one_dataset_do_not_enter_another() -> None:
    study = fabricate(datasets=("mnist", "digits"))
    seeds = study.seeds[(study.seeds["dataset"] == "digits") & (study.seeds["role"] == "candidate")]
    (axes,) = accuracy(study, "digits", LIGHT).axes
    drawn = [mark.y for mark in marks(axes, "0.2 (candidate)")]
    assert drawn == list(seeds["test_accuracy"])
