"""The stage that draws the figures: what it reads, what it writes, how everything looks."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from stages import plot
from stages.common.errors import UserError
from stages.figures.curves import curves
from stages.figures.outcomes import outcomes
from stages.figures.read_study import read_study
from stages.figures.study import Study
from stages.figures.theme import (
    DARK,
    LIGHT,
    THEMES,
    Theme,
    plain_logarithms,
    rate_colour,
    save,
    themed,
)
from tests.drawn_study import fabricate, lost


def write(study: Study, metrics: Path, spelling: str = "{!r}") -> None:
    """Write the tables that the stage reads."""
    for name in ("history", "diagnostics", "seeds"):
        metrics.mkdir(exist_ok=True)
        getattr(study, name).to_csv(metrics / f"{name}.csv", index=False)
    for (dataset, role, rate), steps in study.steps.items():
        run = role if role == "candidate" else spelling.format(rate)
        folder = metrics / "runs" / dataset / run
        folder.mkdir(parents=True)
        for name, table in steps._asdict().items():
            table.to_csv(folder / f"{name}.csv", index=False)


@pytest.mark.parametrize("theme", THEMES)
def test_a_rate_has_one_colour_in_every_figure_the_brighter_the_larger(theme: Theme) -> None:
    used: dict[str, set[str]] = {}
    for figure in plot.draw(fabricate(("mnist", "digits")), theme).values():
        for axes in figure.axes:
            for line in axes.lines:
                if not str(line.get_label()).startswith("_"):
                    used.setdefault(str(line.get_label()), set()).add(to_hex(line.get_color()))
    assert set(used) == {"0.1", "0.2 (candidate)", "0.3", "0.6"}
    assert [len(colours) for colours in used.values()] == [1] * 4
    assert len(set.union(*used.values())) == 4
    assert used["0.2 (candidate)"] == {theme.candidate}
    brightness = [sum(to_rgb(*used[rate])) for rate in ("0.1", "0.3", "0.6")]
    assert brightness == sorted(brightness)


def test_a_rate_has_the_same_colour_in_both_themes() -> None:
    rates = (0.1, 0.2, 0.6)
    for rate in rates:
        assert rate_colour(rate, rates, LIGHT) == rate_colour(rate, rates, DARK)
    assert LIGHT.candidate == DARK.candidate


@pytest.mark.parametrize(
    ("ends", "expected"),
    [((0.5, 200.0), {"1", "10", "100"}), ((0.5, 2e9), {"$10^{0}$", "$10^{4}$", "$10^{8}$"})],
)
def test_the_ticks_of_a_logarithmic_axis_have_one_notation(
    ends: tuple[float, float], expected: set[str]
) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_ylim(ends)
    plain_logarithms(axes.yaxis)
    figure.draw_without_rendering()
    shown = [tick.get_text() for tick in axes.get_yticklabels()]
    assert expected <= set(shown)
    assert len({text.startswith("$") for text in shown}) == 1


def test_every_figure_says_what_it_shows() -> None:
    drawn = plot.draw(fabricate(("fashion_mnist",)), LIGHT)
    assert {name: figure.get_suptitle() for name, figure in drawn.items()} == {
        "headline": "What the learning rate does",
        "outcomes": "How training ends, by learning rate",
        "plateau": "Feature sparsity by training loss",
        "fashion_mnist-curves": "Fashion-MNIST: training at each learning rate",
        "fashion_mnist-accuracy": "Fashion-MNIST: final test accuracy by learning rate",
        "fashion_mnist-gradient": "Fashion-MNIST: gradient norm by step",
        "fashion_mnist-features": "Fashion-MNIST: features by learning rate",
        "fashion_mnist-sharpness": "Fashion-MNIST: sharpness by epoch, one panel per learning rate",
    }


def test_the_stage_writes_every_figure_in_both_themes_into_a_folder_recreated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, figures = tmp_path / "metrics", tmp_path / "metrics" / "figures"
    write(fabricate(), metrics)
    figures.mkdir()
    (figures / "kmnist-curves-dark.png").touch()
    monkeypatch.setattr(sys, "argv", ["plot", str(metrics), str(figures)])
    plot.main()
    of_mnist = ("accuracy", "curves", "features", "gradient", "sharpness")
    names = ("headline", "outcomes", "plateau", *(f"mnist-{name}" for name in of_mnist))
    written = {f"{name}-{theme}.png" for name in names for theme in ("light", "dark")}
    assert {path.name for path in figures.iterdir()} == written
    for name in written:
        with Image.open(figures / name) as image:
            corner = image.convert("RGB").getpixel((0, 0))
            assert image.width == 1760
        github = "#ffffff" if "light" in name else "#0d1117"
        assert corner == ImageColor.getrgb(github)


def test_a_figure_is_the_same_bytes_whatever_the_users_own_settings(tmp_path: Path) -> None:
    path, drawn = tmp_path / "curves.png", []
    for size in (10, 20):
        with mpl.rc_context({"font.size": size, "axes.facecolor": "red"}), themed(DARK):
            save(curves(fabricate(), "mnist", DARK), path)
        drawn.append(path.read_bytes())
    assert drawn[0] == drawn[1]


FULL_BATCHES = fabricate(grid=(0.1,), seeds=(11,), ends={})


@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")
@pytest.mark.parametrize(
    "study",
    [
        pytest.param(
            fabricate(("digits",), grid=(0.1,), seeds=(11,), layers=1, ends={}),
            id="one rate, one seed, one hidden layer",
        ),
        pytest.param(
            fabricate(
                grid=(0.1,), seeds=(11,), ends={(r, 11): lost(3, "exploded") for r in (0.1, 0.2)}
            ),
            id="all exploded in the first epoch",
        ),
        pytest.param(
            fabricate(
                ("mnist", "fashion_mnist", "kmnist", "digits"),
                grid=(0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.21, 0.3, 1.0, 3.0),
                seeds=range(42, 50),
                ends={(3.0, seed): lost(seed, "collapsed") for seed in range(42, 50)},
            ),
            id="ten rates, four datasets, eight seeds",
        ),
        pytest.param(fabricate(layers=11), id="eleven hidden layers"),
        pytest.param(
            replace(FULL_BATCHES, history=FULL_BATCHES.history.assign(step=1)),
            id="one step per epoch",
        ),
    ],
)
def test_any_study_is_drawn_without_a_warning(study: Study) -> None:
    others = tuple(study.datasets[1:])
    with themed(LIGHT):
        for name, figure in plot.draw(study, LIGHT).items():
            if not name.startswith(others):
                figure.draw_without_rendering()


@pytest.mark.filterwarnings("error")
def test_a_study_without_losses_is_drawn_from_its_files_without_a_warning(tmp_path: Path) -> None:
    write(fabricate(seeds=(11,), ends={}), tmp_path)
    outcomes(read_study(tmp_path), LIGHT).draw_without_rendering()


@pytest.mark.parametrize(
    ("rate", "spelling"), [(1.0, "{:.0f}"), (1e-5, "{!r}"), (1e-5, "{:.6f}"), (0.3, "{:.12f}1")]
)
def test_a_run_is_found_however_its_rate_is_spelt(
    tmp_path: Path, rate: float, spelling: str
) -> None:
    study = fabricate(grid=(7.0, rate), seeds=(11,))
    write(study, tmp_path, spelling)
    (tmp_path / "runs" / "mnist" / "0-notes").mkdir()
    found = read_study(tmp_path).steps["mnist", "grid", rate].first_epoch
    norms = study.steps["mnist", "grid", rate].first_epoch["gradient_norm"]
    assert list(found["gradient_norm"]) == pytest.approx(list(norms))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("history.csv", None, "{path} does not exist: create it with: dvc repro"),
        ("runs/mnist/0.3/bursts.csv", None, "{path} does not exist: create it with: dvc repro"),
        (
            "runs/mnist/candidate/first_epoch.csv",
            None,
            "{path} does not exist: create it with: dvc repro",
        ),
        (
            "diagnostics.csv",
            "",
            "{path} is damaged (it is empty): recreate it with: dvc repro",
        ),
        (
            "seeds.csv",
            "dataset,role,learning_rate,seed,outcome,lost_how,test_accuracy,train_loss,"
            "feature_sparsity_1,effective_rank_1\n",
            "{path} is damaged (it lacks the columns lost_epoch, lost_step): "
            "recreate it with: dvc repro",
        ),
        (
            "runs/mnist/0.6/first_epoch.csv",
            "step\n1\n",
            "{path} is damaged (it lacks the columns gradient_norm): recreate it with: dvc repro",
        ),
        (
            "runs/mnist/0.6/first_epoch.csv",
            "step,gradient_norm\n1,2\n2,x\n",
            "{path} is damaged (gradient_norm holds something that is not a number): "
            "recreate it with: dvc repro",
        ),
        (
            "runs/mnist/0.6/bursts.csv",
            "seed,step,loss,gradient_norm\n1,2,3,4\n1,2,3,4,5\n",
            "{path} is damaged (row 3 has 5 values instead of 4): recreate it with: dvc repro",
        ),
    ],
)
def test_an_absent_or_damaged_table_is_named_with_its_remedy(
    tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    write(fabricate(), tmp_path)
    path = tmp_path / file
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=f"^{re.escape(message.format(path=path))}$"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        ([], "it holds no network"),
        (["1,finished,,,"], "outcome is not one of trained, undertrained, lost"),
        (["1,,,,"], "outcome is not one of trained, undertrained, lost"),
        (["1,trained,,,", "1,trained,,,"], "it holds a network twice"),
        (["1,lost,,7,exploded"], "it does not say when or how a lost network was lost"),
        (["1,lost,1,,exploded"], "it does not say when or how a lost network was lost"),
        (["1,lost,1,7,"], "it does not say when or how a lost network was lost"),
        (["1,trained,,,"], "its networks are not those of diagnostics.csv"),
    ],
)
def test_networks_that_cannot_be_are_refused(
    tmp_path: Path, networks: list[str], told: str
) -> None:
    write(fabricate(), tmp_path)
    path = tmp_path / "seeds.csv"
    columns = path.read_text(encoding="utf-8").splitlines()[0].split(",")
    named = ("seed", "outcome", "lost_epoch", "lost_step", "lost_how")
    lines = [",".join(columns)]
    for network in networks:
        row = dict.fromkeys(columns, "1") | dict(zip(named, network.split(","), strict=True))
        lines.append(",".join(row.values()))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    message = f"{path} is damaged ({told}): recreate it with: dvc repro"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_study(tmp_path)


@pytest.mark.parametrize("name", ["history", "diagnostics"])
def test_a_table_without_the_networks_of_the_seeds_table_is_named(
    tmp_path: Path, name: str
) -> None:
    write(fabricate(), tmp_path)
    path = tmp_path / f"{name}.csv"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    message = (
        f"{tmp_path / 'seeds.csv'} is damaged (its networks are not those of {name}.csv): "
        f"recreate it with: dvc repro"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("history", "first again", "it holds an epoch of a network twice"),
        ("history", "last left out", "it lacks an epoch of a network"),
        ("history", "first left out", "it lacks an epoch of a network"),
        ("diagnostics", "first again", "it holds an epoch of a network twice"),
    ],
)
def test_epochs_that_are_there_twice_or_missing_are_refused(
    tmp_path: Path, name: str, line: str, told: str
) -> None:
    write(fabricate(), tmp_path)
    path = tmp_path / f"{name}.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    changed = {
        "first again": [*rows, rows[0]],
        "last left out": rows[:-1],
        "first left out": rows[1:],
    }
    path.write_text("\n".join([header, *changed[line]]) + "\n", encoding="utf-8")
    message = f"{path} is damaged ({told}): recreate it with: dvc repro"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_study(tmp_path)


def test_an_absent_run_is_named_with_its_remedy(tmp_path: Path) -> None:
    write(fabricate(), tmp_path)
    folder = tmp_path / "runs" / "mnist" / "0.3"
    folder.rename(tmp_path / "elsewhere")
    message = f"{folder / 'first_epoch.csv'} does not exist: create it with: dvc repro"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_study(tmp_path)


def test_a_folder_in_the_place_of_a_table_is_named_with_its_remedy(tmp_path: Path) -> None:
    write(fabricate(), tmp_path)
    path = tmp_path / "history.csv"
    path.unlink()
    path.mkdir()
    message = (
        f"{path} is damaged ([Errno 21] Is a directory: '{path}'): recreate it with: dvc repro"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_study(tmp_path)
