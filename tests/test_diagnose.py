"""Measurements of kept networks, against computing them by other means."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from stages.common.datasets import Prepared
from stages.common.datasets import save as save_arrays
from stages.common.errors import UserError
from stages.diagnose import diagnose, main
from stages.diagnostics import diagnostics_files
from stages.diagnostics.features import effective_rank, feature_sparsity, positive_share
from stages.diagnostics.measure import Measurements, chosen_epochs, measure_block
from stages.diagnostics.parameters import Diagnose, DiagnoseParams, Outcome
from stages.training import run_files
from stages.training.parameters import Normalization
from stages.training.run_files import Run
from stages.training.stack import Stack
from tests.conftest import PROJECT
from tests.hessian import whole_hessian

WIDTHS, PER_EPOCH = (6, 5, 4, 10), 7
SEEDS = (14, 5, 26, 3, 8)
SAMPLE = 150


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """Make three splits that differ in size; a third of the examples are of one class."""
    generator = np.random.default_rng(0)

    def split(examples: int, brightest: int) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.integers(0, 15, examples).clip(max=9).astype(np.uint8)
        images = generator.integers(0, brightest, (examples, 2, 3), dtype=np.uint8)
        images[:, 0, 0] = 20 * labels
        return images, labels

    parts = (*split(2300, 190), *split(700, 90), *split(500, 250))
    return Prepared(*parts, mean=np.array(0.31), deviation=np.array(0.27))


def declared(every_epochs: int = 1, tolerance: float = 1e-4) -> DiagnoseParams:
    return DiagnoseParams(
        normalization=Normalization(mean=None, deviation=None),
        device="cpu",
        diagnose=Diagnose(examples=SAMPLE, every_epochs=every_epochs, tolerance=tolerance),
        outcome=Outcome(
            threshold_accuracy={"mnist": 0.9}, trained_accuracy=0.5, burst_gradient_norm=50
        ),
    )


def run_of(seeds: Sequence[int] = SEEDS, epochs: int = 2, widths: tuple[int, ...] = WIDTHS) -> Run:
    """Make a run; each epoch's parameters are one and a half times those of the one before."""
    start = Stack.initialized(widths, seeds).arrays()
    growth = 1.5 ** np.arange(epochs + 1, dtype=np.float32)
    generator = np.random.default_rng(1)
    steps = {
        name: generator.uniform(0.6, 0.9, (PER_EPOCH * epochs, len(seeds))).astype(np.float32)
        for name in ("loss", "accuracy", "gradient_norm")
    }
    steps |= dict.fromkeys(("example_gradient_norm", "relative_update"), steps["loss"])
    steps["layer_gradient_norm"] = np.repeat(steps["gradient_norm"][..., None], 3, axis=2)
    places = [(seed, epoch) for seed in seeds for epoch in range(1, epochs + 1)]
    history = pd.DataFrame(places, columns=["seed", "epoch"])
    history["step"] = PER_EPOCH * history["epoch"]
    for column in tuple(run_files.HISTORY)[3:]:
        history[column] = generator.uniform(0.1, 0.8, len(history))
    return Run(
        facts={
            "dataset": "mnist",
            "learning_rate": 0.3,
            "seeds": list(seeds),
            "epochs": epochs,
            "batch_size": 400,
            "steps_per_epoch": PER_EPOCH,
            "chance_accuracy": 0.1135,
        },
        history=history,
        steps=steps,
        parameters={
            name: np.stack([values * factor for factor in growth]) for name, values in start.items()
        },
    )


def parts_of(run: Run, seed: int, epoch: int) -> list[torch.Tensor]:
    """Take one network's weights, then its biases, in float64."""
    network = run.facts["seeds"].index(seed)
    names = [f"{kind}_{layer}" for kind in ("weight", "bias") for layer in range(3)]
    arrays = [run.parameters[name][epoch, [network]] for name in names]
    return [torch.from_numpy(array).double() for array in arrays]


def normalized(prepared: Prepared) -> torch.Tensor:
    """Normalize the training images in float64."""
    pixels = torch.from_numpy(prepared.train_images).double().flatten(1) / 255
    return (pixels - 0.31) / 0.27


def hidden_of(parts: list[torch.Tensor], inputs: torch.Tensor) -> list[torch.Tensor]:
    """Compute what a network's hidden layers make of inputs."""
    first = (inputs @ parts[0] + parts[3]).relu()
    return [first, (first @ parts[1] + parts[4]).relu()]


@pytest.mark.parametrize(
    ("epochs", "every", "expected"),
    [(3, 1, [0, 1, 2, 3]), (5, 2, [0, 2, 4, 5]), (4, 2, [0, 2, 4]), (4, 10, [0, 4])],
)
def test_start_and_end_are_always_measured(epochs: int, every: int, expected: list[int]) -> None:
    assert chosen_epochs(epochs, every) == expected


def test_hidden_layers_are_measured_on_the_first_training_examples(prepared: Prepared) -> None:
    run = run_of(epochs=3)
    found = measure_block((26, 14), run, prepared, declared(every_epochs=2)).features
    inputs = normalized(prepared)
    rows = []
    for seed in (26, 14):
        for epoch in (0, 2, 3):
            parts = parts_of(run, seed, epoch)
            sampled, whole = hidden_of(parts, inputs[:SAMPLE]), hidden_of(parts, inputs)
            for layer in (1, 2):
                units = sampled[layer - 1]
                silent = float((whole[layer - 1].amax(dim=1) == 0).double().mean())
                measures = (positive_share(units), feature_sparsity(units), effective_rank(units))
                share, sparsity, rank = map(float, measures)
                rows.append((seed, epoch, layer, share, silent, sparsity, rank))
    expected = pd.DataFrame(rows, columns=list(diagnostics_files.FEATURES))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    assert 0 < found["never_firing_share"].mean() < 1
    assert found["feature_sparsity"].nunique() > 6


@pytest.mark.parametrize("waking", [0, 999, 1000, 1500, 2299])
def test_a_unit_that_fires_on_one_training_example_is_not_silent(
    prepared: Prepared, waking: int
) -> None:
    images = np.zeros_like(prepared.train_images)
    images[waking, 1, 2] = 255
    rest = {**vars(prepared), "train_images": images}
    run = run_of((4, 9))
    # Two of five units fire only where the last pixel is bright, two never.
    weight, bias = run.parameters["weight_0"], run.parameters["bias_0"]
    weight[0, 1, :, :4], weight[0, 1, :, 4], bias[0, 1, 0] = 0, 0.1, [-1, -1, -1, -1, 9]
    weight[0, 1, 5, :2] = 1
    found = measure_block((9,), run, Prepared(**rest), declared()).features
    first = found[(found["epoch"] == 0) & (found["layer"] == 1)]
    assert first["never_firing_share"].tolist() == [2 / 5]


def test_sharpness_is_the_largest_eigenvalue_of_the_samples_hessian(prepared: Prepared) -> None:
    run = run_of()
    found = measure_block(SEEDS, run, prepared, declared(every_epochs=2)).sharpness
    inputs = normalized(prepared)[:SAMPLE]
    labels = torch.from_numpy(prepared.train_labels[:SAMPLE]).long()
    places = [(seed, epoch) for seed in SEEDS for epoch in (0, 2)]
    parts = [parts_of(run, *place) for place in places]
    expected, shifted = (
        [float(torch.linalg.eigvalsh(whole_hessian(each, inputs, classes))[-1]) for each in parts]
        for classes in (labels, labels.roll(1))
    )
    assert found[["seed", "epoch"]].to_numpy().tolist() == [list(place) for place in places]
    assert found["sharpness"].tolist() == pytest.approx(expected, rel=1e-4)
    assert (np.abs(found["sharpness"] / shifted - 1) > 0.002).all()
    assert (found["residual"] <= 1e-4 * found["sharpness"]).all()


@pytest.mark.parametrize("tolerance", [0.3, 0.03])
def test_sharpness_is_as_accurate_as_declared(prepared: Prepared, tolerance: float) -> None:
    found = measure_block(SEEDS, run_of(), prepared, declared(tolerance=tolerance)).sharpness
    share = found["residual"] / found["sharpness"]
    assert (share <= tolerance).all()
    assert share.max() > tolerance / 30


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["weight_1", "bias_2"])
def test_a_network_without_finite_parameters_has_no_rows(
    prepared: Prepared, part: str, value: float
) -> None:
    run = run_of()
    whole = measure_block(SEEDS, run, prepared, declared())
    run.parameters[part][1:, 2, 0, 3] = value
    found = measure_block(SEEDS, run, prepared, declared())
    for table, expected in zip(found, whole, strict=True):
        gone = (expected["seed"] == SEEDS[2]) & (expected["epoch"] >= 1)
        pd.testing.assert_frame_equal(table, expected[~gone].reset_index(drop=True))


def test_networks_of_which_none_is_finite_leave_empty_tables(prepared: Prepared) -> None:
    run = run_of()
    run.parameters["bias_0"][:] = np.nan
    found = diagnose(run, prepared, declared())
    assert len(found.features) == len(found.sharpness) == 0
    assert found.networks["lost_how"].dropna().tolist() == ["exploded"] * len(SEEDS)


def test_large_parameters_are_measured_as_long_as_they_are_finite(prepared: Prepared) -> None:
    """Their squares overflow, and in the first network what its second layer computes."""
    run = run_of((4, 9), epochs=1)
    run.parameters["weight_0"][1] *= 1e20
    run.parameters["bias_0"][1] *= 1e20
    run.parameters["weight_1"][1, 0] *= 1e20
    found = measure_block((4, 9), run, prepared, declared())
    late = found.features[found.features["epoch"] == 1].set_index(["seed", "layer"])
    overflowed = late.loc[4, 2]
    assert overflowed[["positive_share", "feature_sparsity", "effective_rank"]].isna().all()
    assert 0 <= overflowed["never_firing_share"] < 1
    scaled = run_of((4, 9), epochs=1)
    # The first layer's measures do not depend on its scale.
    expected = measure_block((4, 9), scaled, prepared, declared()).features
    expected = expected[expected["epoch"] == 1].set_index(["seed", "layer"])
    for seed in (4, 9):
        assert late.loc[seed, 1].tolist() == pytest.approx(expected.loc[seed, 1].tolist(), rel=1e-4)
    assert found.sharpness[["seed", "epoch"]].to_numpy().tolist() == [
        [4, 0],
        [4, 1],
        [9, 0],
        [9, 1],
    ]
    assert found.sharpness["sharpness"].isna().tolist() == [False, True, False, False]


def written(folder: Path, run: Run, prepared: Prepared) -> dict[str, bytes]:
    """Measure a run, and read the files that come of it."""
    folder.mkdir()
    diagnostics_files.save(diagnose(run, prepared, declared(tolerance=0.05)), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_number_of_workers_changes_no_byte(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of()
    run.parameters["weight_1"][1:, 2, 0, 3] = np.inf
    found = []
    for workers in (1, 2, 3, 5):
        monkeypatch.setenv("WORKERS", str(workers))
        found.append(written(tmp_path / str(workers), run, prepared))
    assert found == [found[0]] * 4


@pytest.mark.parametrize(
    "blocks", [[SEEDS[:2], SEEDS[2:]], [SEEDS[:1], SEEDS[1:3], SEEDS[3:]], [(s,) for s in SEEDS]]
)
def test_blocks_joined_are_the_whole_to_the_bit(
    prepared: Prepared, blocks: list[tuple[int, ...]]
) -> None:
    run = run_of()
    # The first network alone makes an empty block.
    run.parameters["weight_1"][:, 0, 0, 3] = np.inf
    whole = measure_block(SEEDS, run, prepared, declared(tolerance=0.05))
    parts = [measure_block(block, run, prepared, declared(tolerance=0.05)) for block in blocks]
    for table, expected in zip(Measurements.joined(parts), whole, strict=True):
        pd.testing.assert_frame_equal(table, expected, check_exact=True)


def test_progress_counts_every_network_and_epoch(
    prepared: Prepared, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", "1")
    run = run_of((14, 5))
    run.parameters["bias_1"][1:, 0] = np.nan
    diagnose(run, prepared, declared())
    assert capsys.readouterr().err.splitlines() == [
        f"measuring mnist at 0.3: {done} of 6 network epochs" for done in (2, 4, 6)
    ]


def test_a_run_is_summed_up_whole(prepared: Prepared) -> None:
    run = run_of()
    run.steps["gradient_norm"][9, 2] = 300
    run.steps["accuracy"][10:, 2] = 0.1
    found = diagnose(run, prepared, declared())
    assert found.facts == run.facts
    assert found.history is run.history
    assert found.networks["seed"].tolist() == list(SEEDS)
    lost = found.networks[found.networks["outcome"] == "lost"]
    assert lost[["seed", "lost_epoch", "lost_step"]].to_numpy().tolist() == [[26, 2, 10]]
    assert found.features["seed"].unique().tolist() == list(SEEDS)
    assert found.features["epoch"].unique().tolist() == [0, 1, 2]
    medians = np.median(run.steps["gradient_norm"][:PER_EPOCH], axis=1)
    assert found.first_epoch["step"].tolist() == list(range(1, PER_EPOCH + 1))
    assert found.first_epoch["gradient_norm"].tolist() == pytest.approx(medians.tolist())
    assert found.bursts["step"].tolist() == list(range(-9, 5))
    assert found.bursts["loss"].tolist() == pytest.approx(run.steps["loss"][:, 2].tolist())


@pytest.fixture
def study(tmp_path: Path, prepared: Prepared) -> Path:
    """Lay out a dataset, parameters, and the runs of a rate and of the candidate."""
    processed = tmp_path / "data" / "processed"
    processed.mkdir(parents=True)
    splits = ("train", "validation", "test")
    images = {f"{name}_images": vars(prepared)[f"{name}_images"] for name in splits}
    whole = {name: np.pad(each, ((0, 0), (0, 26), (0, 25))) for name, each in images.items()}
    save_arrays(replace(prepared, **whole), processed / "mnist.npz")
    for rate, seeds in (("0.30", (14, 5)), ("candidate", (3,))):
        folder = tmp_path / "data" / "runs" / "mnist" / rate
        folder.mkdir(parents=True)
        run_files.save(run_of(seeds, widths=(784, *WIDTHS[1:])), folder)
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    content["diagnose"] = {"examples": 90, "every_epochs": 2, "tolerance": 0.1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return tmp_path


@pytest.fixture
def stage(study: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the stage on the study, with options of the command line."""

    def run_stage(*options: str) -> None:
        paths = [study / "data", "--params", study / "params.yaml"]
        monkeypatch.setattr(sys, "argv", ["diagnose", *map(str, paths), *options])
        main()

    return run_stage


@pytest.mark.parametrize(
    ("options", "rate", "seeds"),
    [(("--lr", "0.30"), "0.30", [14, 5]), ((), "candidate", [3])],
)
def test_the_stage_measures_the_run_of_a_rate_or_of_the_candidate(
    study: Path,
    stage: Callable[..., None],
    options: tuple[str, ...],
    rate: str,
    seeds: list[int],
) -> None:
    stage("--dataset", "mnist", *options)
    measured = study / "data" / "diagnostics" / "mnist"
    assert [path.name for path in measured.iterdir()] == [rate]
    found = diagnostics_files.load(measured / rate)
    assert found.facts == run_of(seeds).facts
    assert found.networks["seed"].tolist() == seeds
    assert found.sharpness["epoch"].tolist() == [0, 2] * len(seeds)


def remove_run(study: Path) -> Path:
    path = study / "data" / "runs" / "mnist" / "0.30" / "run.json"
    path.unlink()
    return path


def remove_dataset(study: Path) -> Path:
    path = study / "data" / "processed" / "mnist.npz"
    path.unlink()
    return path


@pytest.mark.parametrize(
    ("remove", "maker"),
    [(remove_run, "train@mnist-0.30"), (remove_dataset, "preprocess@mnist")],
)
def test_the_stage_names_what_it_lacks_and_writes_nothing(
    study: Path, stage: Callable[..., None], remove: Callable[[Path], Path], maker: str
) -> None:
    missing = remove(study)
    with pytest.raises(UserError) as told:
        stage("--dataset", "mnist", "--lr", "0.30")
    assert str(told.value) == (
        f"{missing} does not exist: create it with: dvc repro --force --single-item {maker}"
    )
    assert not (study / "data" / "diagnostics").exists()
