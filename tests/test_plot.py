"""The figures, from tables and steps to PNG files."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stages import plot
from stages.core import runs
from stages.core.errors import UserError
from stages.figures import look
from stages.figures.look import DARK, LIGHT, THEMES, Theme
from stages.figures.study import RunSteps, Study, load_steps

Networks = tuple[tuple[float, int], ...]
"""Rate and seed of each."""
GRID, CANDIDATE, EPOCHS, STEPS = (0.1, 0.3, 0.6), 0.2, 3, 40


@pytest.fixture(autouse=True)
def _few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "PIXELS_PER_INCH", 40)


def study(
    datasets: tuple[str, ...] = ("mnist",),
    grid: tuple[float, ...] = GRID,
    seeds: tuple[int, ...] = (1, 2, 3),
    exploded: Networks = (),
    collapsed: Networks = (),
) -> Study:
    """Make a study in which some networks explode in the middle of the 2nd epoch."""
    history, diagnostics, fates, steps = [], [], [], {}
    end = STEPS + STEPS // 2
    for dataset in datasets:
        for role, rate in [("grid", rate) for rate in grid] + [("candidate", CANDIDATE)]:
            loss = np.full((EPOCHS * STEPS, len(seeds)), rate, dtype=np.float32)
            for number, seed in enumerate(seeds):
                network = {"dataset": dataset, "role": role, "learning_rate": rate, "seed": seed}
                lost, dead = (rate, seed) in exploded, (rate, seed) in collapsed
                features = {
                    f"{name}_{layer}": 0.0 if dead else (1 - rate / 10) / layer
                    for name in ("feature_sparsity", "effective_rank")
                    for layer in (1, 2)
                }
                if lost:
                    loss[end:, number] = np.nan
                for epoch in range(EPOCHS + 1):
                    place = network | {"epoch": epoch}
                    alive = not lost or epoch < 2
                    value = (rate + 0.01 * seed) / max(epoch, 1) if alive else np.nan
                    curve = dict.fromkeys(("train_loss", "test_loss", "gradient_norm_mean"), value)
                    curve["test_accuracy"] = 0.95 if alive and not dead else 0.098
                    if epoch:
                        history.append(place | curve)
                    if alive:
                        diagnostics.append(place | {"sharpness": 1 / rate} | features)
                fates.append(
                    network
                    | {"outcome": "exploded" if lost else "collapsed" if dead else "trained"}
                    | {"diverged_epoch": 2 if lost else np.nan}
                    | {"diverged_step": end + 1 if lost else np.nan}
                    | curve
                    | (dict.fromkeys(features, np.nan) if lost else features)
                )
            steps[dataset, role, rate] = RunSteps(loss, 10 * loss, STEPS)
    return Study(pd.DataFrame(history), pd.DataFrame(diagnostics), pd.DataFrame(fates), steps)


def drawn(made: Study, theme: Theme = LIGHT) -> dict[str, Figure]:
    return plot.draw(made, theme)


def marks(axes: Axes, rate: str) -> list[tuple[str, str, int]]:
    """Find marker, fill and number of points of each line with a rate's label."""
    lines = [line for line in axes.lines if line.get_label() == rate]
    return [
        (str(line.get_marker()), str(line.get_fillstyle()), len(np.atleast_1d(line.get_xdata())))
        for line in lines
    ]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def heights(axes: Axes, rate: str) -> list[list[float]]:
    """Find the y values of each line with a rate's label."""
    lines = [line for line in axes.lines if line.get_label() == rate]
    return [list(np.asarray(line.get_ydata(), dtype=float)) for line in lines]


@pytest.mark.parametrize("theme", THEMES)
def test_a_rate_has_one_colour_in_every_figure(theme: Theme) -> None:
    used: dict[str, set[str]] = {}
    for figure in drawn(study(("mnist", "digits"), exploded=((0.6, 2),)), theme).values():
        for axes in figure.axes:
            for line in axes.lines:
                if not str(line.get_label()).startswith("_"):
                    used.setdefault(str(line.get_label()), set()).add(to_hex(line.get_color()))
    assert set(used) == {"0.1", "0.2 (candidate)", "0.3", "0.6"}
    assert all(len(found) == 1 for found in used.values())
    colours = set.union(*used.values())
    assert len(colours) == len(used)
    assert not colours & set(theme.outcomes)


def test_an_exploded_seed_is_a_cross_and_is_counted() -> None:
    made = drawn(study(exploded=((0.6, 2),)))
    axes = made["mnist-accuracy"].axes[0]
    assert sorted(marks(axes, "0.6")) == [("o", "full", 2), ("x", "full", 1)]
    assert marks(axes, "0.3") == [("o", "full", 3)]
    assert "1 of 3" in texts(axes)
    assert "0.6\n1 of 3 exploded" in legend_texts(made["mnist-curves"])


def test_an_exploded_seed_leaves_mean_and_band_from_that_epoch_on() -> None:
    accuracy = drawn(study(exploded=((0.6, 2),)))["mnist-curves"].axes[2]
    np.testing.assert_allclose(heights(accuracy, "0.6"), [[0.95] * EPOCHS])


def test_a_rate_that_always_exploded_is_still_named() -> None:
    made = study(exploded=tuple((0.6, seed) for seed in (1, 2, 3)))
    first = (made.history["learning_rate"] == 0.6) & (made.history["epoch"] == 1)
    figured = drawn(Study(made.history[~first], made.diagnostics, made.seeds, made.steps))
    assert "0.6\n3 of 3 exploded" in legend_texts(figured["mnist-curves"])
    assert "0.6" in legend_texts(figured["headline"])
    ticks = [text.get_text() for text in figured["mnist-accuracy"].axes[0].get_xticklabels()]
    assert ticks == ["0.1", "\n◆ 0.2", "0.3", "0.6"]


def test_a_spike_does_not_flatten_the_other_curves() -> None:
    made = study()
    spike = (made.history["learning_rate"] == 0.6) & (made.history["epoch"] == 2)
    made.history.loc[spike, "train_loss"] = 1e9
    assert drawn(made)["mnist-curves"].axes[0].get_ylim()[1] < 10


def test_outcomes_are_stacked_to_the_whole_and_counted() -> None:
    made = study(exploded=((0.6, 1),), collapsed=((0.6, 2), (0.6, 3)))
    axes = drawn(made)["outcomes"].axes[0]
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    last = [(to_hex(bar.get_facecolor()), bar.get_y(), bar.get_height()) for bar in bars[-3:]]
    assert [colour for colour, _, _ in last] == list(LIGHT.outcomes)
    np.testing.assert_allclose([below for _, below, _ in last], [0, 0, 2 / 3])
    np.testing.assert_allclose([share for _, _, share in last], [0, 2 / 3, 1 / 3])
    assert texts(axes) == ["3", "3", "3", "2", "1"]


def test_collapsed_seeds_are_hollow_and_outside_the_features_mean() -> None:
    made = study(exploded=((0.6, 1),), collapsed=((0.3, 2),))
    axes = drawn(made)["mnist-features"].axes[0]
    assert sorted(marks(axes, "0.3")) == [("o", "full", 2), ("o", "none", 1)]
    assert sorted(marks(axes, "0.6")) == [("o", "full", 2), ("x", "full", 1)]
    (mean,) = [line for line in axes.lines if to_hex(line.get_color()) == LIGHT.muted][:1]
    np.testing.assert_allclose(np.asarray(mean.get_ydata(), float), [0.99, 0.97, 0.94])


def test_each_rate_has_its_level_of_stability() -> None:
    panels = drawn(study())["mnist-sharpness"].axes
    curve, level = heights(panels[2], "0.3")
    np.testing.assert_allclose(curve, 1 / 0.3)
    np.testing.assert_allclose(level, 2 / 0.3)


def test_the_correlation_is_that_of_trained_seeds() -> None:
    made = study(exploded=((0.6, 1),), collapsed=((0.1, 2), (0.1, 3)))
    made.seeds["train_loss"] = made.seeds["learning_rate"]
    assert texts(drawn(made)["plateau"].axes[0]) == ["ρ = −1.00 (9 seeds)"]
    none = study(collapsed=tuple((rate, seed) for rate in (*GRID, CANDIDATE) for seed in (1, 2, 3)))
    assert texts(drawn(none)["plateau"].axes[0]) == ["too few seeds for ρ"]


def test_the_gradient_norm_is_that_of_seeds_that_have_not_exploded() -> None:
    made = study(exploded=((0.6, 1), (0.6, 2)))
    steps = made.steps["mnist", "grid", 0.6]
    steps.loss[20:, :2] = np.inf
    steps.gradient_norm[:20, :2] = 1
    steps.gradient_norm[20:, :2] = 1e9
    (line,) = heights(drawn(made)["mnist-gradient"].axes[0], "0.6")
    assert (line[0], line[-1], max(line)) == (1, 6, 6)


def test_explosions_are_aligned_at_their_end() -> None:
    figure = drawn(study(exploded=((0.6, 1), (0.6, 3))))["mnist-gradient"]
    ends = [line.get_xdata()[-1] for line in figure.axes[1].lines]  # type: ignore[index]
    assert ends == [-1, -1]
    assert [len(line) for line in heights(figure.axes[2], "0.6")] == [STEPS + STEPS // 2] * 2
    assert texts(drawn(study())["mnist-gradient"].axes[1]) == ["no seed exploded"]


def write(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, bytes]:
    places = [str(folder / name) for name in ("metrics", "runs", "figures")]
    monkeypatch.setattr(sys, "argv", ["plot", *places])
    plot.main()
    return {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}


def save(made: Study, folder: Path, spelling: str = "{!r}") -> None:
    """Write what the stage reads: metrics/ and runs/."""
    (folder / "metrics").mkdir()
    for name in ("history", "diagnostics", "seeds"):
        getattr(made, name).to_csv(folder / "metrics" / f"{name}.csv", index=False)
    for (dataset, role, rate), steps in made.steps.items():
        place = folder / "runs" / dataset / (role if role == "candidate" else spelling.format(rate))
        place.mkdir(parents=True)
        tables = runs.Tables(
            facts={"steps_per_epoch": steps.per_epoch},
            history=pd.DataFrame(columns=runs.HISTORY),
            validation=pd.DataFrame(columns=runs.VALIDATION),
        )
        arrays = {"loss": steps.loss, "gradient_norm": steps.gradient_norm}
        runs.save(runs.Run(tables, arrays, {}), place)


def test_the_same_study_makes_the_same_bytes_in_a_folder_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(study(), tmp_path)
    first = write(monkeypatch, tmp_path)
    (tmp_path / "figures" / "kmnist-curves-dark.png").touch()
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert write(monkeypatch, tmp_path) == first
    of_mnist = ("accuracy", "curves", "features", "gradient", "sharpness")
    names = ("headline", "outcomes", "plateau", *(f"mnist-{name}" for name in of_mnist))
    assert set(first) == {f"{name}-{theme.name}.png" for name in names for theme in THEMES}


@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")
@pytest.mark.parametrize(
    "made",
    [
        pytest.param(study(("digits",), (0.1,), (1,)), id="one rate, one seed"),
        pytest.param(
            study(("mnist",), (0.1,), (1,), ((0.1, 1), (CANDIDATE, 1))), id="all exploded"
        ),
        pytest.param(
            study(
                ("mnist", "fashion_mnist", "kmnist", "digits"),
                (0.001, 0.003, 0.01, 0.03, 0.1, CANDIDATE, 0.21, 0.3, 1.0, 3.0),
            ),
            id="ten rates, four datasets",
        ),
    ],
)
def test_any_study_can_be_saved(
    made: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "THEMES", (LIGHT,))
    save(made, tmp_path)
    assert len(write(monkeypatch, tmp_path)) == 3 + 5 * len(made.datasets)


@pytest.mark.parametrize(
    ("rate", "spelling"), [(1.0, "{:.0f}"), (1e-5, "{!r}"), (1e-5, "{:.6f}"), (0.3, "{:.12f}1")]
)
def test_a_run_is_found_however_its_rate_is_spelt(
    tmp_path: Path, rate: float, spelling: str
) -> None:
    made = study(grid=(rate,), seeds=(1,))
    save(made, tmp_path, spelling)
    found = load_steps(tmp_path / "runs", made.seeds)
    np.testing.assert_array_equal(found["mnist", "grid", rate].loss, np.float32(rate))


def test_an_absent_run_is_named_with_its_remedy(tmp_path: Path) -> None:
    made = study()
    save(made, tmp_path)
    (tmp_path / "runs" / "mnist" / "0.3" / "run.json").unlink()
    with pytest.raises(UserError, match=r"does not exist: .* train@mnist-0\.3"):
        load_steps(tmp_path / "runs", made.seeds)


def test_backgrounds_are_githubs() -> None:
    assert (LIGHT.background, DARK.background) == ("#ffffff", "#0d1117")


def test_an_absent_table_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"history\.csv does not exist: .* dvc repro aggregate"):
        write(monkeypatch, tmp_path)
    assert not (tmp_path / "figures").exists()
