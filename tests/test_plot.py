"""The figures, from tables to PNG files."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from stages import plot
from stages.core import figures
from stages.core.errors import UserError
from stages.core.figures import DARK, LIGHT, THEMES, Theme

Tables = tuple[pd.DataFrame, pd.DataFrame]
GRID, CANDIDATE, EPOCHS = (0.1, 0.3, 0.6), 0.2, 3


@pytest.fixture(autouse=True)
def _few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "PIXELS_PER_INCH", 40)


def tables(
    datasets: tuple[str, ...] = ("mnist", "fashion_mnist"),
    grid: tuple[float, ...] = GRID,
    seeds: tuple[int, ...] = (1, 2, 3),
    diverged: tuple[tuple[float, int], ...] = (),
) -> Tables:
    """Make the tables history and seeds; `diverged` names (rate, seed) lost in the 2nd epoch."""
    histories, fates = [], []
    runs = [("grid", rate) for rate in grid] + [("candidate", CANDIDATE)]
    for dataset in datasets:
        for role, rate in runs:
            for seed in seeds:
                network = {"dataset": dataset, "role": role, "learning_rate": rate, "seed": seed}
                lost = (rate, seed) in diverged
                for epoch in range(1, EPOCHS + 1):
                    alive = not lost or epoch < 2
                    value = (rate + 0.01 * seed) / epoch if alive else np.nan
                    curve = dict.fromkeys(("train_loss", "test_loss", "gradient_norm_mean"), value)
                    curve["test_accuracy"] = 0.95 if alive else 0.098
                    histories.append(network | {"epoch": epoch} | curve)
                fate = {"diverged": lost, "diverged_epoch": 2 if lost else np.nan}
                fates.append(network | fate | {"test_accuracy": curve["test_accuracy"]})
    return pd.DataFrame(histories), pd.DataFrame(fates)


def drawn(made: Tables, theme: Theme = LIGHT) -> dict[str, Figure]:
    return plot.draw(*made, theme)


def marks(axes: Axes, rate: str) -> list[tuple[str, int]]:
    """Find the marker and number of points of each line with a rate's label."""
    lines = [line for line in axes.lines if line.get_label() == rate]
    return [(str(line.get_marker()), len(line.get_xdata())) for line in lines]  # type: ignore[arg-type]


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("theme", THEMES)
def test_a_rate_has_one_colour_in_every_figure(theme: Theme) -> None:
    used: dict[str, set[str]] = {}
    for figure in drawn(tables(), theme).values():
        for axes in figure.axes:
            for line in axes.lines:
                if not str(line.get_label()).startswith("_"):
                    used.setdefault(str(line.get_label()), set()).add(to_hex(line.get_color()))
    assert set(used) == {"0.1", "0.2 (candidate)", "0.3", "0.6"}
    assert all(len(found) == 1 for found in used.values())
    assert len(set.union(*used.values())) == len(used)


def test_a_diverged_seed_is_a_cross_and_is_counted() -> None:
    study = drawn(tables(diverged=((0.6, 2),)))
    axes = study["mnist-accuracy"].axes[0]
    assert marks(axes, "0.6") == [("o", 2), ("x", 1)]
    assert marks(axes, "0.3") == [("o", 3), ("x", 0)]
    assert "1 of 3" in [text.get_text() for text in axes.texts]
    assert "0.6\n1 of 3 diverged" in legend_texts(study["mnist-curves"])


def test_a_diverged_seed_leaves_mean_and_band_from_that_epoch_on() -> None:
    accuracy = drawn(tables(diverged=((0.6, 2),)))["mnist-curves"].axes[2]
    (line,) = [line for line in accuracy.lines if line.get_label() == "0.6"]
    np.testing.assert_allclose(np.asarray(line.get_ydata()), 0.95)


def test_a_rate_that_always_diverged_is_still_named() -> None:
    history, seeds = tables(diverged=tuple((0.6, seed) for seed in (1, 2, 3)))
    history = history[~((history["learning_rate"] == 0.6) & (history["epoch"] == 1))]
    study = drawn((history, seeds))
    assert "0.6\n3 of 3 diverged" in legend_texts(study["mnist-curves"])
    assert "0.6" in legend_texts(study["headline"])
    ticks = [text.get_text() for text in study["mnist-accuracy"].axes[0].get_xticklabels()]
    assert ticks == ["0.1", "\n◆ 0.2", "0.3", "0.6"]


def test_a_spike_does_not_flatten_the_other_curves() -> None:
    history, seeds = tables()
    history.loc[(history["learning_rate"] == 0.6) & (history["epoch"] == 2), "train_loss"] = 1e9
    assert drawn((history, seeds))["mnist-curves"].axes[0].get_ylim()[1] < 10


def write(monkeypatch: pytest.MonkeyPatch, metrics: Path, target: Path) -> dict[str, bytes]:
    monkeypatch.setattr(sys, "argv", ["plot", str(metrics), str(target)])
    plot.main()
    return {path.name: path.read_bytes() for path in target.iterdir()}


def save(made: Tables, folder: Path) -> Path:
    for name, table in zip(("history", "seeds"), made, strict=True):
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_the_same_tables_make_the_same_bytes_in_a_folder_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, target = save(tables(datasets=("mnist",)), tmp_path), tmp_path / "figures"
    first = write(monkeypatch, metrics, target)
    (target / "kmnist-curves-dark.png").touch()
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert write(monkeypatch, metrics, target) == first
    names = ("headline", "mnist-accuracy", "mnist-curves")
    assert set(first) == {f"{name}-{theme.name}.png" for name in names for theme in THEMES}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    "made",
    [
        pytest.param(tables(("digits",), (0.1,), (1,)), id="one rate, one seed"),
        pytest.param(
            tables(("mnist",), (0.1,), (1,), ((0.1, 1), (CANDIDATE, 1))), id="all diverged"
        ),
        pytest.param(
            tables(
                ("mnist", "fashion_mnist", "kmnist", "digits"),
                (0.001, 0.003, 0.01, 0.03, 0.1, CANDIDATE, 0.21, 0.3, 1.0, 3.0),
            ),
            id="ten rates, four datasets",
        ),
    ],
)
def test_any_study_can_be_saved(
    made: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = save(made, tmp_path)
    datasets = made[1]["dataset"].nunique()
    assert len(write(monkeypatch, metrics, tmp_path / "figures")) == 2 + 4 * datasets


def test_backgrounds_are_githubs() -> None:
    assert (LIGHT.background, DARK.background) == ("#ffffff", "#0d1117")


def test_an_absent_table_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"history\.csv does not exist: .* dvc repro aggregate"):
        write(monkeypatch, tmp_path, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
