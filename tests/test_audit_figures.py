"""The audit's figures, read back from their axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.audit import curves as curves_stage
from stages.audit import figures as figures_stage
from stages.audit.drawing.effects import effects
from stages.audit.drawing.failure import failure, recipe_colour
from stages.audit.drawing.ladder import ladder
from stages.audit.drawing.mechanism import mechanism
from stages.audit.judging import failure as hazard
from stages.common.errors import UserError
from stages.figures.theme import DARK, LIGHT, rate_colour
from tests import imitated_audit
from tests.drawn_study import caption, joined_means, marks, points, texts

GRID = (0.1, 0.2, 0.384, 0.48, 0.6)
PARAMS = Path(__file__).parents[1] / "params.yaml"


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_grids_rates_are_evenly_spaced_on_the_colour_map(theme: Any) -> None:
    for rate, place in zip(GRID, np.linspace(0.34, 0.77, len(GRID)), strict=True):
        assert rate_colour(rate, GRID, theme) == to_hex(colormaps["plasma"](place))


def test_a_rate_between_those_of_the_grid_has_a_colour_between_theirs() -> None:
    found = rate_colour(0.292, (0.2, 0.384), LIGHT)
    assert found == rate_colour(0.292, (0.2, 0.292, 0.384), LIGHT)


def test_a_rate_beyond_the_grid_is_muted() -> None:
    assert {rate_colour(rate, GRID, DARK) for rate in (0.02, 0.7)} == {DARK.muted}


# ------------------------------------------------------------------------------------ the ladder

ACCURACIES = {0.1: (0.98, 0.97, 0.975), 0.3: (0.96, 0.95, 0.1), 0.48: (0.94, 0.1, 0.1)}


def rungs(*names: str) -> pd.DataFrame:
    """Make the same three networks at each of three rates of every rung; 10 % means lost."""
    rows = [
        ["mnist", name, rate, seed, "lost" if value == 0.1 else "trained", value]
        for name in names
        for rate, values in ACCURACIES.items()
        for seed, value in enumerate(values)
    ]
    columns = ["dataset", "recipe", "learning_rate", "seed", "outcome", "test_accuracy"]
    table = pd.DataFrame(rows, columns=columns)
    table.loc[(table["seed"] == 0) & (table["learning_rate"] == 0.48), "outcome"] = "undertrained"
    table["lost_how"] = table["outcome"].map({"lost": "collapsed"})
    return table


@pytest.mark.parametrize(
    ("run", "titles"),
    [
        (
            ("as_published", "fresh_start", "standardized", "core", "warmup_cosine"),
            (
                "1  as published",
                "2  + fresh start at each rate",
                "3  + own mean and deviation",
                "4  + constant rate (core)",
                "5  core + warm-up, cosine",
            ),
        ),
        (
            ("clipped", "as_published", "standardized", "core_steep"),
            ("1  as published", "2  standardized", "3  clipped"),
        ),
    ],
)
def test_each_rung_that_was_run_has_a_panel_that_says_what_changed_since_one_that_is_there(
    run: tuple[str, ...], titles: tuple[str, ...]
) -> None:
    figure = ladder(rungs(*run), "mnist", {}, GRID, LIGHT)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert tuple(axes.get_title() for axes in panels) == titles
    assert panels[0].get_ylabel() == "final test accuracy"
    assert {axes.get_xlabel() for axes in panels[-3:]} == {"learning rate"}


def test_every_network_is_a_mark_and_the_lost_are_crosses_on_the_edge() -> None:
    axes = ladder(rungs("core"), "mnist", {}, GRID, LIGHT).axes[0]
    shapes = {f"{rate:g}": [m.shape for m in marks(axes, f"{rate:g}")] for rate in ACCURACIES}
    assert shapes == {"0.1": ["o"] * 3, "0.3": ["o", "o", "x"], "0.48": ["hollow o", "x", "x"]}
    for rate, values in ACCURACIES.items():
        drawn = marks(axes, f"{rate:g}")
        assert [m.on_edge for m in drawn] == [value == 0.1 for value in values]
        assert [m.y for m in drawn if not m.on_edge] == [value for value in values if value > 0.1]
    assert texts(axes) == ["1 of 3", "2 of 3"]
    means = joined_means(axes, LIGHT.muted)
    assert {rate: mean for rate, mean in means.items() if not np.isnan(mean)} == pytest.approx(
        {0.1: 0.975, 0.3: 0.955}
    )


def test_the_counts_of_lost_networks_lie_below_every_mark() -> None:
    figure = ladder(rungs("core", "clipped"), "mnist", {}, GRID, LIGHT)
    for axes in figure.axes[:2]:
        lowest = axes.transData.transform((0.1, 0.94))[1]
        share = (lowest - axes.bbox.y0) / axes.bbox.height
        assert 0.2 < share < 0.4


def test_the_notebooks_results_are_squares_on_the_first_rung() -> None:
    notebook = {0.1: 0.9816, 0.48: None, 0.9: 0.5}
    figure = ladder(rungs("as_published", "core"), "mnist", notebook, GRID, LIGHT)
    first, second = figure.axes[:2]
    squares = marks(first, "notebook")
    assert [(m.x, m.shape, m.on_edge) for m in squares] == [
        (0.1, "hollow s", False),
        (0.48, "hollow s", True),
    ]
    assert squares[0].y == 0.9816
    assert marks(second, "notebook") == []


def test_the_ladders_caption_tells_what_is_there() -> None:
    told = caption(ladder(rungs("core"), "mnist", {0.1: 0.98}, GRID, LIGHT))
    assert told == (
        "A mark is one network, its colour the rate. Hollow: undertrained. × on the bottom edge: "
        "lost; the numbers count them. Line: mean of the networks that trained. The accuracy axis "
        "follows the logarithm of the error."
    )
    fine = rungs("as_published")
    fine = fine[fine["learning_rate"] == 0.1]
    told = caption(ladder(fine, "mnist", {0.1: 0.98}, GRID, LIGHT))
    assert told == (
        "A mark is one network, its colour the rate. Line: mean of the networks that trained. The "
        "accuracy axis follows the logarithm of the error. Squares: the notebook's accuracy; on "
        "the bottom edge: it printed nan."
    )


# ------------------------------------------------------------------------------------ the failure

FITS = pd.DataFrame(
    {
        "dataset": ["mnist"] * 3 + ["digits"] * 2,
        "recipe": ["core", "clipped", "warmup_cosine", "core", "clipped"],
        "largest_rate": [0.6, 2.0, 0.72, 0.6, 2.0],
        "rate_50": [0.55, np.nan, 0.5713, np.nan, 2.5],
        "rate_50_low": [0.53, 1.2, 0.52, np.nan, 2.0],
        "rate_50_high": [0.5702, 1.6, np.nan, 0.1, np.nan],
    }
)
SHARES = pd.DataFrame(
    {
        "dataset": "mnist",
        "recipe": ["core", "core", "core", "warmup_cosine", "clipped"],
        "learning_rate": [0.1, 0.3, 0.6, 0.6, 2.0],
        "networks": [20, 20, 20, 20, 10],
        "lost": [0, 0, 15, 10, 10],
        "share": [0, 0, 0.75, 0.5, 1],
        "low": [0, 0, 0.53, 0.3, 0.72],
        "high": [0.16, 0.16, 0.89, 0.7, 1],
    }
)
CURVES = pd.DataFrame(
    {
        "dataset": "mnist",
        "recipe": ["core"] * 3 + ["clipped"] * 2,
        "learning_rate": [0.1, 0.4, 0.6, 0.6, 2],
        "share": [0, 0.1, 0.8, np.nan, np.nan],
        "low": [0, 0.05, 0.6, 0, 1],
        "high": [0.01, 0.2, 0.9, 0.5, 1],
    }
)


def test_fitted_curves_lie_over_observed_shares() -> None:
    figure = failure(FITS, SHARES, CURVES, LIGHT)
    axes = figure.axes[0]
    core, clipped = recipe_colour("core", LIGHT), recipe_colour("clipped", LIGHT)
    joined = [points(line) for line in axes.lines if line.get_linestyle() == "-"]
    assert {0.1: 0, 0.4: 0.1, 0.6: 0.8} in joined
    assert band(axes, core) == {0.1: (0, 0.01), 0.4: (0.05, 0.2), 0.6: (0.6, 0.9)}
    assert band(axes, clipped) == {0.6: (0, 0.5), 2: (1, 1)}
    seen = [(each.lines[0].get_marker(), points(each.lines[0])) for each in axes.containers]
    assert seen == [
        ("o", {0.1: 0, 0.3: 0, 0.6 * 0.994: 0.75}),
        ("s", {2.0: 1}),
        ("D", {0.6 * 1.006: 0.5}),
    ]
    intervals = [bar.get_segments() for each in axes.containers for bar in each.lines[2]]
    assert [[s[:, 1].tolist() for s in bars] for bars in intervals] == [
        [[0, 0.16], [0, 0.16], [0.53, 0.89]],
        [[0.72, 1]],
        [[0.3, 0.7]],
    ]
    assert [panel.get_title() for panel in figure.axes] == ["MNIST", "Digits"]
    assert axes.get_ylabel() == "networks lost"
    assert figure.axes[1].get_xlabel() == "learning rate"


def band(axes: Axes, colour: str) -> dict[float, tuple[float, float]]:
    """Read a band's x → its lower and its upper end."""
    reach: dict[float, tuple[float, float]] = {}
    for each in axes.collections:
        if isinstance(each, PolyCollection) and to_hex(each.get_facecolor()[0]) == colour:
            for x, y in np.concatenate([path.vertices for path in each.get_paths()]).tolist():
                low, high = reach.get(x, (y, y))
                reach[x] = (min(low, y), max(high, y))
    return reach


def test_the_legend_says_at_which_rate_half_are_lost() -> None:
    figure = failure(FITS.iloc[[2, 1, 0, 4, 3]], SHARES, CURVES, DARK)
    named = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]  # type: ignore[union-attr]
    assert named == [
        [
            "core\nhalf lost: 0.550\n(0.530 to 0.570)",
            "clipped\nhalf lost: between\n1.2 and 1.6",
            "warm-up + cosine\nhalf lost: 0.571\n(0.520 to …)",
        ],
        ["core\nhalf lost: below 0.1", "clipped\nhalf lost: beyond 2"],
    ]


def test_the_failure_axis_begins_at_the_largest_rate_that_loses_none() -> None:
    figure = failure(FITS, SHARES, CURVES, LIGHT)
    left, right = figure.axes[1].get_xlim()
    assert (left, right) == pytest.approx((0.3 / 1.04, 2 * 1.04))
    assert caption(figure).endswith("Left of the axis, at rates below 0.3, none of 20 is lost.")
    lossy = SHARES.assign(lost=SHARES["lost"] + 1)
    figure = failure(FITS, lossy, CURVES, LIGHT)
    assert figure.axes[1].get_xlim()[0] == pytest.approx(0.1 / 1.04)
    assert "Left of the axis" not in caption(figure)


# ---------------------------------------------------------------------------------- the mechanism


def arms() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make epochs.csv and mechanism.csv of three arms of two networks; a third one is lost."""
    rows = []
    for arm, rate in (("small", 0.1), ("large_1", 0.384), ("large_batch", 0.384)):
        for seed in (1, 2, 3):
            for epoch in range(4):
                loss = (1 + 0.2 * (seed - 1)) * 10.0**-epoch
                rows.append(["mnist", arm, rate, seed, epoch, loss, 0.1 * seed + 0.01 * epoch])
    columns = ["dataset", "recipe", "learning_rate", "seed", "epoch", "train_loss"]
    epochs = pd.DataFrame(rows, columns=[*columns, "feature_sparsity"])
    networks = epochs[["dataset", "recipe", "seed"]].drop_duplicates()
    outcome = np.where(networks["seed"] == 3, "lost", "trained")
    return epochs, networks.assign(outcome=outcome, bound=0.02)


MEDIANS = [[1.1 * 10.0**-epoch, 0.15 + 0.01 * epoch] for epoch in range(4)]


def drawn_arm(axes: Axes, arm: str) -> LineCollection:
    (found,) = [
        each
        for each in axes.collections
        if isinstance(each, LineCollection) and each.get_label() == arm
    ]
    return found


def test_an_arm_is_the_line_of_its_medians_in_the_colour_of_the_moment() -> None:
    figure = mechanism(*arms(), GRID, LIGHT)
    (axes,) = figure.axes
    small, large = (rate_colour(rate, GRID, LIGHT) for rate in (0.1, 0.384))
    for arm, expected in (("small", [small] * 3), ("large_1", [large, small, small])):
        line = drawn_arm(axes, arm)
        ends = [segment.tolist() for segment in line.get_segments()]
        assert ends == [pytest.approx(np.array(MEDIANS[n : n + 2])) for n in range(3)]
        assert [to_hex(tuple(colour)) for colour in line.get_edgecolor()] == expected
    (dashed,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert np.asarray(dashed.get_xydata()) == pytest.approx(np.array(MEDIANS))
    assert dashed.get_color() == large


def test_epochs_whose_loss_has_risen_are_passed_over_but_for_the_last() -> None:
    epochs, networks = arms()
    epochs.loc[epochs["epoch"] == 1, "train_loss"] = 5.0
    epochs.loc[epochs["epoch"] == 3, "train_loss"] = 0.5
    (axes,) = mechanism(epochs, networks, GRID, LIGHT).axes
    (dashed,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert np.asarray(dashed.get_xydata()) == pytest.approx(
        np.array([MEDIANS[0], MEDIANS[2], [0.5, MEDIANS[3][1]]])
    )


def test_the_last_epoch_has_a_mark_with_the_epochs_at_the_large_rate() -> None:
    (axes,) = mechanism(*arms(), GRID, LIGHT).axes
    ends: dict[str, list[Any]] = {}
    for line in axes.lines:
        if line.get_linestyle() == "None":
            ends.setdefault(str(line.get_label()), []).append(line.get_marker())
            assert np.asarray(line.get_xydata())[0] == pytest.approx(MEDIANS[-1])
    assert ends == {"small": ["o"], "large_1": ["o", r"$\mathbf{1}$"], "large_batch": ["s"]}
    reaches = [
        segment.tolist()
        for each in axes.collections
        if isinstance(each, LineCollection) and len(each.get_segments()) == 1
        for segment in each.get_segments()
    ]
    assert reaches == [pytest.approx(np.array([[0.0011, 0.13], [0.0011, 0.23]]))] * 3


def test_the_loss_falls_to_the_right_past_the_bound() -> None:
    (axes,) = mechanism(*arms(), GRID, LIGHT).axes
    left, right = axes.get_xlim()
    assert left > right
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "training loss (nats), falling →"
    assert axes.get_ylabel() == "active features, last hidden layer"
    (limit,) = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert set(np.ravel(limit.get_xdata())) == {0.02}


def test_the_legend_names_the_arms_by_their_rates() -> None:
    figure = mechanism(*arms(), GRID, LIGHT)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "0.1",
        "0.384 for 1 epoch, then 0.1",
        "0.384, larger batches: rate / batch as at 0.1",
    ]


# ------------------------------------------------------------------------------------ the effects


def claims() -> pd.DataFrame:
    """Make rows of claims.csv: one of each result, and claims without marks."""
    inf = np.inf
    rows = [
        ["A", 1, "0.2 against 0.1", "q", "all", 2.0, 1.2, 3.0, "better", "supported"],
        ["A", 1, "0.3 against 0.1", "q", "all", inf, 4.0, inf, "better", "supported"],
        ["A", 0, "0.3 against 0.1", "q", "all", 9.0, 8.0, 10.0, "better", ""],
        ["B", 1, "0.2 against 0.1", "q", "all", 2.0, 1.2, 3.0, "better", "refuted"],
        ["B", 1, "x", "steps_to_threshold", "all", -inf, -inf, -inf, "worse", "refuted"],
        ["B", 1, "y", "last_feature_sparsity", "all", 0.1, -0.5, 0.5, "equivalent", "refuted"],
        ["B", 1, "0.1, 0.2, 0.3 and 0.4: above", "lost", "burst", 1, 0, 2, "open", "refuted"],
        ["C", 1, "0.2 against 0.1", "q", "all", 2.0, 1.2, 3.0, "better", "undecided"],
        ["D", 1, "a fact", "", "all", np.nan, np.nan, np.nan, "so", "supported"],
    ]
    columns = ["statement", "headline", "comparison", "quantity", "among"]
    columns += ["gain", "gain_low", "gain_high", "result", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def forest(figure: Figure) -> dict[int, tuple[str, float, str, str]]:
    """Read place → label, where its mark is, the mark, and the mark's name."""
    axes = figure.axes[0]
    labels = dict(
        zip(axes.get_yticks(), [each.get_text() for each in axes.get_yticklabels()], strict=True)
    )
    found = {}
    for line in axes.lines:
        x, y = np.asarray(line.get_xydata(), dtype=float)[0]
        if line.get_marker() != "None":
            hollow = "hollow " * (line.get_fillstyle() == "none")
            found[int(y)] = (labels[y], x, f"{hollow}{line.get_marker()}", str(line.get_label()))
    assert sorted(found) == sorted(labels)
    return found


def test_every_deciding_effect_is_a_mark_under_its_claim() -> None:
    figure = effects(claims(), LIGHT)
    assert forest(figure) == {
        1: ("0.2 against 0.1", 2.0, "o", "as the claim says"),
        2: ("0.3 against 0.1", pytest.approx(4.8), ">", "as the claim says"),
        4: ("0.2 against 0.1", 2.0, "o", "as the claim says"),
        5: ("x, steps to the upper threshold", pytest.approx(-4.8), "<", "not as it says"),
        6: ("y, after the last epoch", 0.1, "D", "equivalent"),
        7: ("0.1 to 0.4: above, share lost of those with a burst", 1, "hollow o", "open"),
    }


def test_claims_head_their_effects_with_their_verdicts() -> None:
    axes = effects(claims(), LIGHT).axes[0]
    heads = [(text.get_position()[1], text.get_text()) for text in axes.texts]
    assert heads == [
        *((0, "A"), (0, "supported"), (3, "B"), (3, "refuted")),
        *((8, "C"), (8, "undecided"), (9, "D"), (9, "supported")),
    ]


def test_intervals_reach_to_the_edge_where_they_are_longer() -> None:
    axes = effects(claims(), LIGHT).axes[0]
    spans = [
        segment.tolist()
        for each in axes.collections
        if isinstance(each, LineCollection)
        for segment in each.get_segments()
    ]
    assert spans[0] == [[1.2, 1], [3, 1]]
    assert spans[1] == [[4, 2], [pytest.approx(4.8), 2]]
    left, right = axes.get_xlim()
    assert (left, right) == pytest.approx((-4.8, 4.8))


def test_the_effects_axis_ends_at_fifty_margins_and_shows_three() -> None:
    large = claims().assign(gain_high=400.0)
    assert effects(large, LIGHT).axes[0].get_xlim() == (-50, 50)
    few = claims().iloc[[0]].assign(gain=0.1, gain_low=0, gain_high=0.2)
    assert effects(few, LIGHT).axes[0].get_xlim() == pytest.approx((-3.6, 3.6))


def test_the_legend_of_effects_names_what_is_there() -> None:
    (legend,) = effects(claims().iloc[[0, 1]], DARK).legends
    assert [text.get_text() for text in legend.get_texts()] == ["as the claim says"]
    (legend,) = effects(claims(), DARK).legends
    handles = [each for each in legend.get_lines() if isinstance(each, Line2D)]
    assert [text.get_text() for text in legend.get_texts()] == [
        "as the claim says",
        "not as it says",
        "equivalent",
        "open",
    ]
    assert [handle.get_color() for handle in handles][:2] == ["#56b4e9", "#f0a33a"]


# ------------------------------------------------------------------------------------- the stages


def test_the_stages_write_tables_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hazard, "DRAWS", 9)
    tables, metrics, drawn = tmp_path / "audit", tmp_path, tmp_path / "figures"
    tables.mkdir()
    seeds, datasets = range(1000, 1004), ("mnist",)
    networks = imitated_audit.networks(seeds, datasets)
    networks.drop(columns="feature_sparsity").to_csv(tables / "networks.csv", index=False)
    imitated_audit.epochs(seeds, datasets).to_csv(tables / "epochs.csv", index=False)
    claims().to_csv(metrics / "claims.csv", index=False)
    monkeypatch.setattr("sys.argv", ["curves", str(tables), "--params", str(PARAMS)])
    curves_stage.main()
    assert sorted(path.name for path in tables.iterdir()) == [
        *("epochs.csv", "failure.csv", "failure_curves.csv", "failure_shares.csv"),
        *("mechanism.csv", "networks.csv", "rounding.csv"),
    ]
    places = [str(place) for place in (tables, metrics, drawn)]
    monkeypatch.setattr("sys.argv", ["figures", *places, "--params", str(PARAMS)])
    figures_stage.main()
    assert sorted(path.name for path in drawn.iterdir()) == [
        f"{name}-{theme}.png"
        for name in ("effects", "failure", "mechanism", "mnist-ladder")
        for theme in ("dark", "light")
    ]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        figures_stage.read(tmp_path, tmp_path)
    assert str(told.value) == (
        f"{tmp_path / 'networks.csv'} does not exist: create it with: dvc repro audit/dvc.yaml"
    )


def test_what_was_not_run_is_not_drawn() -> None:
    networks = rungs("fresh_start")
    empty = {name: pd.DataFrame() for name in ("failure", "mechanism")}
    found = figures_stage.draw({"networks": networks, "claims": claims(), **empty}, GRID, LIGHT)
    assert list(found) == ["mnist-ladder", "effects"]
