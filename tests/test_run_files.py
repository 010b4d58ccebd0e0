"""What training leaves on disk: written, read back, refused when damaged, put side by side."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.common.errors import UserError
from stages.training import run_files
from stages.training.run_files import Run, joined

COMMAND = "dvc repro --force --single-item train@mnist-0.1"


def made(seeds: tuple[int, ...] = (7, 3)) -> Run:
    """Make a run of two epochs of three steps, with numbers that name their seed."""
    rows = [
        dict.fromkeys(run_files.HISTORY, seed + epoch / 7)
        | {"seed": seed, "epoch": epoch, "step": 3 * epoch}
        for seed in seeds
        for epoch in (1, 2)
    ]
    history = pd.DataFrame(rows, columns=list(run_files.HISTORY)).astype(run_files.HISTORY)
    history.loc[0, "test_loss"] = np.nan
    history.loc[1, "gradient_norm_max"] = np.inf
    of_seed = np.array(seeds, dtype=np.float32)
    return Run(
        facts={
            "dataset": "mnist",
            "learning_rate": 0.1,
            "seeds": list(seeds),
            "epochs": 2,
            "batch_size": 32,
            "steps_per_epoch": 3,
            "chance_accuracy": 0.1135,
        },
        history=history,
        steps={
            "loss": of_seed + np.arange(6, dtype=np.float32)[:, None] / 7,
            "layer_gradient_norm": np.broadcast_to(of_seed[:, None], (6, len(seeds), 1)),
        }
        | {
            name: of_seed + place * np.ones((6, 1), dtype=np.float32)
            for place, name in enumerate(run_files.STEPS)
            if name not in ("loss", "layer_gradient_norm")
        },
        parameters={
            "weight_0": np.broadcast_to(of_seed[:, None, None], (3, len(seeds), 784, 10)),
            "bias_0": np.broadcast_to(of_seed[:, None, None], (3, len(seeds), 1, 10)),
        },
    )


def same(one: Run, other: Run) -> bool:
    pd.testing.assert_frame_equal(one.history, other.history)
    for ours, theirs in ((one.steps, other.steps), (one.parameters, other.parameters)):
        assert list(ours) == list(theirs)
        assert all(np.array_equal(array, theirs[name]) for name, array in ours.items())
    return one.facts == other.facts


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist" / "0.1"
    folder.mkdir(parents=True)
    run_files.save(made(), folder)
    return folder


def test_a_run_is_read_back_as_it_was_written(saved: Path) -> None:
    assert {path.name for path in saved.iterdir()} == {
        "run.json",
        "history.csv",
        "steps.npz",
        "parameters.npz",
    }
    assert same(run_files.load(saved, "mnist"), made())


FILES = ["run.json", "history.csv", "steps.npz", "parameters.npz"]


def refusal(folder: Path, command: str | None = None) -> str:
    with pytest.raises(UserError) as refused:
        run_files.load(folder, "mnist", command)
    return str(refused.value)


@pytest.mark.parametrize("name", FILES)
def test_an_absent_file_is_named_with_the_remedy(saved: Path, name: str) -> None:
    (saved / name).unlink()
    assert refusal(saved) == f"{saved / name} does not exist: create it with: {COMMAND}"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 30])
def test_a_truncated_file_is_named_with_the_remedy(saved: Path, name: str, size: int) -> None:
    path = saved / name
    path.write_bytes(path.read_bytes()[:size])
    message = refusal(saved)
    assert message.startswith(str(saved))
    assert name in message
    assert message.endswith(f"): recreate it with: {COMMAND}")


def damaged(path: Path, what: str) -> str:
    return f"{path} is damaged ({what}): recreate it with: {COMMAND}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1, 2], "all of it: Input should be an object"),
        ({"seeds": "all"}, "seeds: Input should be a valid array"),
        ({"seeds": []}, "seeds: List should have at least 1 item after validation, not 0"),
        ({"seeds": [7, "3"]}, "seeds.1: Input should be a valid integer"),
        ({"epochs": 0}, "epochs: Input should be greater than 0"),
        ({"learning_rate": None}, "learning_rate: Input should be a valid number"),
        ({"rate": 0.1}, "rate: Extra inputs are not permitted"),
    ],
)
def test_facts_of_something_else_are_refused(saved: Path, content: Any, told: str) -> None:
    if isinstance(content, dict):
        content = made().facts | content
    (saved / "run.json").write_text(json.dumps(content), encoding="utf-8")
    assert refusal(saved) == damaged(saved / "run.json", told)


def test_a_run_of_another_dataset_is_refused(saved: Path) -> None:
    (saved / "run.json").write_text(json.dumps(made().facts | {"dataset": "x"}), encoding="utf-8")
    path = saved / "run.json"
    assert refusal(saved) == f"{path} is of the dataset x: recreate it with: {COMMAND}"


def test_epochs_without_end_are_refused_at_once(saved: Path) -> None:
    facts = made().facts | {"epochs": 10**12}
    (saved / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    what = "its seeds, epochs and steps are not those of run.json"
    assert refusal(saved) == damaged(saved / "history.csv", what)


def test_a_missing_fact_is_named(saved: Path) -> None:
    facts = made().facts
    del facts["batch_size"]
    (saved / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert refusal(saved) == damaged(saved / "run.json", "batch_size: Field required")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_is_refused(saved: Path, name: str) -> None:
    (saved / name).unlink()
    (saved / name).mkdir()
    message = refusal(saved)
    assert message.startswith(str(saved))
    assert f"Is a directory: '{saved / name}'" in message
    assert message.endswith(f"): recreate it with: {COMMAND}")


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_in_place_of_a_file_is_refused_at_once(saved: Path, name: str) -> None:
    path = saved / name
    path.unlink()
    os.mkfifo(path)
    assert refusal(saved) == f"{path} is neither a file nor a folder: remove it, then run again"


def test_text_among_the_numbers_of_a_history_is_refused(saved: Path) -> None:
    path = saved / "history.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("inf", "much"), encoding="utf-8")
    assert refusal(saved) == damaged(path, "could not convert string to float: 'much'")


@pytest.mark.parametrize(
    ("name", "absent"), [("steps.npz", "relative_update"), ("parameters.npz", "bias_0")]
)
def test_an_absent_array_is_noticed(saved: Path, name: str, absent: str) -> None:
    with np.load(saved / name) as archive:
        arrays = {each: archive[each] for each in archive.files if each != absent}
    np.savez(saved / name, **arrays)
    assert refusal(saved) == damaged(saved / name, f"it holds {', '.join(arrays)}")


def test_a_history_with_other_columns_is_refused(saved: Path) -> None:
    path = saved / "history.csv"
    path.write_text("seed,epoch\n7,1\n", encoding="utf-8")
    assert refusal(saved) == damaged(path, "it has the columns seed, epoch")


@pytest.mark.parametrize(
    "change",
    [
        lambda history: history[:3],
        lambda history: history[::-1],
        lambda history: history.assign(seed=history["seed"] + 1),
        lambda history: history.assign(epoch=1),
        lambda history: history.assign(step=history["step"] - 1),
    ],
)
def test_a_history_of_others_than_the_runs_seeds_epochs_and_steps_is_refused(
    saved: Path, change: Callable[[Any], Any]
) -> None:
    path = saved / "history.csv"
    change(made().history).to_csv(path, index=False)
    what = "its seeds, epochs and steps are not those of run.json"
    assert refusal(saved) == damaged(path, what)


@pytest.mark.parametrize("values", ["7,1,3.5", "7,1"])
def test_part_of_a_step_and_a_row_cut_short_are_refused(saved: Path, values: str) -> None:
    path = saved / "history.csv"
    header, first, *others = path.read_text(encoding="utf-8").splitlines()
    rest = first.split(",")[3:] if values.endswith("3.5") else []
    path.write_text("\n".join([header, ",".join([values, *rest]), *others]), encoding="utf-8")
    assert refusal(saved).startswith(f"{path} is damaged (")


@pytest.mark.parametrize(
    ("changed", "shape", "told"),
    [
        (
            "weight_0",
            (3, 2, 783, 10),
            "layer 0 takes 784 units and has the shapes (3, 2, 783, 10) and (3, 2, 1, 10)",
        ),
        (
            "bias_0",
            (3, 2, 1, 9),
            "layer 0 takes 784 units and has the shapes (3, 2, 784, 10) and (3, 2, 1, 9)",
        ),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(
    saved: Path, changed: str, shape: tuple[int, ...], told: str
) -> None:
    with np.load(saved / "parameters.npz") as archive:
        arrays = dict(archive) | {changed: np.zeros(shape, np.float32)}
    np.savez(saved / "parameters.npz", **arrays)
    assert refusal(saved) == damaged(saved / "parameters.npz", told)


def test_a_last_layer_of_other_than_ten_classes_is_refused(saved: Path) -> None:
    layer = {
        "weight_0": np.zeros((3, 2, 784, 9), np.float32),
        "bias_0": np.zeros((3, 2, 1, 9), np.float32),
    }
    np.savez(saved / "parameters.npz", **layer)
    told = "the last layer has 9 units, not 10"
    assert refusal(saved) == damaged(saved / "parameters.npz", told)


@pytest.mark.parametrize(
    ("name", "shape", "begins"),
    [
        ("steps.npz", (5, 2), "(6, 2, …)"),
        ("steps.npz", (6, 3), "(6, 2, …)"),
        ("parameters.npz", (2, 2, 4, 5), "(3, 2, …)"),
        ("parameters.npz", (3, 1, 4, 5), "(3, 2, …)"),
        ("parameters.npz", (1, 2, 4, 5), "(3, 2, …)"),
    ],
)
def test_arrays_of_another_shape_are_refused(
    saved: Path, name: str, shape: tuple[int, ...], begins: str
) -> None:
    first = "loss" if name == "steps.npz" else "weight_0"
    with np.load(saved / name) as archive:
        arrays = dict(archive) | {first: np.zeros(shape, dtype=np.float32)}
    np.savez(saved / name, **arrays)
    what = f"{first} has the shape {shape}, not {begins}"
    assert refusal(saved) == damaged(saved / name, what)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda loss: loss.astype("U8"), "loss is <U8, not float32"),
        (lambda loss: loss.astype("f8"), "loss is float64, not float32"),
        (lambda loss: loss[..., None], "loss has the shape (6, 2, 1)"),
    ],
)
def test_steps_that_are_no_numbers_or_too_many_are_refused(
    saved: Path, change: Callable[[Any], Any], told: str
) -> None:
    with np.load(saved / "steps.npz") as archive:
        arrays = dict(archive)
    np.savez(saved / "steps.npz", **arrays | {"loss": change(arrays["loss"])})
    assert refusal(saved) == damaged(saved / "steps.npz", told)


@pytest.mark.parametrize("layers", [0, 3])
def test_steps_of_another_number_of_layers_are_refused(saved: Path, layers: int) -> None:
    with np.load(saved / "steps.npz") as archive:
        arrays = dict(archive)
    arrays["layer_gradient_norm"] = np.ones((6, 2, layers), dtype=np.float32)
    np.savez(saved / "steps.npz", **arrays)
    told = f"layer_gradient_norm has the shape (6, 2, {layers})"
    assert refusal(saved) == damaged(saved / "steps.npz", told)


def test_a_number_without_end_and_a_file_nested_without_end_are_refused(saved: Path) -> None:
    path = saved / "history.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\n7,1,", f"\n7,{'9' * 30},", 1), encoding="utf-8")
    assert refusal(saved).startswith(f"{path} is damaged (")
    facts = saved / "run.json"
    facts.write_text("[" * 100_000, encoding="utf-8")
    assert refusal(saved).startswith(
        f"{facts} is damaged (all of it: Invalid JSON: recursion limit exceeded "
    )


@pytest.mark.parametrize("name", ["steps.npz", "parameters.npz"])
def test_a_pickle_is_refused_and_never_run(saved: Path, name: str, tmp_path: Path) -> None:
    np.savez(saved / name, values=np.array([Touch(tmp_path / "ran")], dtype=object))
    message = refusal(saved)
    assert message.startswith(f"{saved / name} is damaged (Object arrays cannot be loaded")
    assert message.endswith(f"): recreate it with: {COMMAND}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': [1], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1e300,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (",
        "{" * 5000,
    ],
)
def test_arrays_with_a_forged_header_are_refused(saved: Path, header: str) -> None:
    path = saved / "steps.npz"
    text = header.encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("loss.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    message = refusal(saved)
    assert message.startswith(f"{path} is damaged (")
    assert message.endswith(f"): recreate it with: {COMMAND}")


def test_a_member_that_is_no_array_is_refused(saved: Path) -> None:
    path = saved / "steps.npz"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("note.txt", "no array")
    assert refusal(saved) == damaged(path, "note.txt is not an array")


class Touch:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_the_remedy_may_be_another_command(saved: Path) -> None:
    (saved / "steps.npz").unlink()
    expected = f"{saved / 'steps.npz'} does not exist: create it with: make audit"
    assert refusal(saved, "make audit") == expected


@pytest.mark.parametrize(
    ("folder", "stages", "stage"),
    [
        ("data/runs/mnist/0.1", (), "train@mnist-0.1"),
        ("data/runs/mnist/candidate", (), "candidate@mnist"),
        ("x/fashion_mnist/0.5", ("diagnose", "diagnose_candidate"), "diagnose@fashion_mnist-0.5"),
        (
            "x/fashion_mnist/candidate",
            ("diagnose", "diagnose_candidate"),
            "diagnose_candidate@fashion_mnist",
        ),
    ],
)
def test_the_remedy_names_the_stage(folder: str, stages: tuple[str, ...], stage: str) -> None:
    command = f"dvc repro --force --single-item {stage}"
    assert run_files.remedy(Path(folder), *stages) == command


def test_json_is_strict(tmp_path: Path) -> None:
    run = made()
    wild = replace(run, facts=run.facts | {"learning_rate": np.nan})
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        run_files.save(wild, tmp_path)


def test_runs_are_put_side_by_side_in_order() -> None:
    whole = joined([made((7, 3)), made((9,)), made((1, 2, 4))])
    assert whole.facts == made((7, 3, 9, 1, 2, 4)).facts
    seeds = [seed for seed in (7, 3, 9, 1, 2, 4) for _ in range(2)]
    assert whole.history["seed"].tolist() == seeds
    assert whole.history.index.tolist() == list(range(12))
    assert whole.steps["loss"].shape == (6, 6)
    assert whole.steps["layer_gradient_norm"][5, :, 0].tolist() == [7, 3, 9, 1, 2, 4]
    assert whole.parameters["weight_0"][2, :, 3, 4].tolist() == [7, 3, 9, 1, 2, 4]


def test_every_nan_is_written_alike(tmp_path: Path) -> None:
    written = []
    for sign in (1, -1):
        steps = {"loss": np.copysign(np.full((6, 2), np.nan, dtype=np.float32), sign)}
        run_files.save(replace(made(), steps=steps, parameters=steps), tmp_path)
        written.append([(tmp_path / name).read_bytes() for name in ("steps.npz", "parameters.npz")])
    assert written[0] == written[1]


def test_one_run_is_itself() -> None:
    assert same(joined([made()]), made())


def test_runs_of_different_rates_are_not_put_side_by_side() -> None:
    other = replace(made((9,)), facts=made((9,)).facts | {"learning_rate": 0.2})
    with pytest.raises(ValueError, match="these runs differ in more than their seeds: "):
        joined([made(), other])
