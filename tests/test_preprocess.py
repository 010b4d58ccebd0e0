"""The three-way split, its statistics, and the files in which they are kept."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from stages.common.datasets import Images, Prepared, Published, load, save
from stages.common.errors import UserError
from stages.common.parameters import Split
from stages.preprocess import describe, main, prepare

PROJECT = Path(__file__).parent.parent
CLASS_SIZES = (40, 41, 80, 43, 60, 45, 20, 47, 48, 76)
"""Of the 500 training examples of `published`: no two classes are alike."""


def published(seed: int = 0) -> Published:
    """Draw a dataset with unequal classes, whose first two pixels number the examples."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(10), CLASS_SIZES)).astype(np.uint8)
    # Brighter as the numbers go up, so that no two parts have the same statistics.
    brightness = np.arange(500)[:, None, None] // 4
    images = (generator.integers(0, 100, (500, 28, 28)) + brightness).astype(np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(500), 256)
    test_labels = np.repeat(np.arange(10), np.arange(1, 11)).astype(np.uint8)
    test_images = generator.integers(150, 256, (55, 28, 28), dtype=np.uint8)
    return Published(images, labels, test_images, test_labels)


def numbers(images: Images) -> list[int]:
    return (images[:, 0, 0].astype(int) * 256 + images[:, 0, 1]).tolist()


@pytest.mark.parametrize(("fraction", "seed"), [(0.1, 0), (0.1, 7), (0.3, 2**32 - 1)])
def test_the_split_is_the_stratified_one_of_scikit_learn(fraction: float, seed: int) -> None:
    source = published()
    prepared = prepare(source, Split(validation_fraction=fraction, seed=seed))
    train, validation = train_test_split(
        np.arange(500), test_size=fraction, random_state=seed, stratify=source.train_labels
    )
    assert numbers(prepared.train_images) == sorted(train)
    assert numbers(prepared.validation_images) == sorted(validation)


def test_each_class_is_held_out_in_proportion() -> None:
    prepared = prepare(published(), Split(validation_fraction=0.25, seed=0))
    exact = np.array(CLASS_SIZES) / 4
    held_out = np.bincount(prepared.validation_labels)
    assert held_out.sum() == 125
    assert np.all((held_out == np.floor(exact)) | (held_out == np.ceil(exact)))
    assert np.array_equal(np.bincount(prepared.train_labels), np.array(CLASS_SIZES) - held_out)


def test_every_example_keeps_its_label() -> None:
    source = published()
    prepared = prepare(source, Split(validation_fraction=0.1, seed=0))
    train, validation = numbers(prepared.train_images), numbers(prepared.validation_images)
    assert np.array_equal(prepared.train_images, source.train_images[train])
    assert np.array_equal(prepared.train_labels, source.train_labels[train])
    assert np.array_equal(prepared.validation_images, source.train_images[validation])
    assert np.array_equal(prepared.validation_labels, source.train_labels[validation])
    assert np.array_equal(prepared.test_images, source.test_images)
    assert np.array_equal(prepared.test_labels, source.test_labels)


def test_fraction_0_holds_nothing_out() -> None:
    prepared = prepare(published(), Split(validation_fraction=0, seed=0))
    assert prepared.validation_images.shape == (0, 28, 28)
    assert prepared.validation_labels.shape == (0,)
    assert numbers(prepared.train_images) == list(range(500))


def test_statistics_are_those_of_the_training_split_alone_in_float64() -> None:
    source = published()
    prepared = prepare(source, Split(validation_fraction=0.2, seed=0))
    train, _ = train_test_split(
        np.arange(500), test_size=0.2, random_state=0, stratify=source.train_labels
    )
    pixels = source.train_images[train].astype(np.float64) / 255
    assert (prepared.mean.dtype, prepared.mean.shape) == (np.float64, ())
    assert float(prepared.mean) == pytest.approx(pixels.mean(), rel=1e-12)
    assert float(prepared.deviation) == pytest.approx(pixels.std(), rel=1e-12)


@pytest.mark.parametrize(
    "fraction",
    [
        pytest.param(0.001, id="fewer validation examples than classes"),
        pytest.param(0.999, id="fewer training examples than classes"),
        pytest.param(0.02, id="no validation example of the smallest class"),
        pytest.param(0.98, id="no training example of the smallest class"),
    ],
)
def test_a_fraction_that_empties_a_class_is_refused(fraction: float) -> None:
    told = (
        f"split.validation_fraction = {fraction} leaves a class without training or without "
        f"validation examples: give a share nearer to 0.1 in params.yaml"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        prepare(published(), Split(validation_fraction=fraction, seed=0))


def test_splits_classes_and_statistics_are_laid_out() -> None:
    train, test = (np.repeat(np.arange(10), np.arange(first, first + 10)) for first in (90, 5))
    nothing = np.zeros((0, 28, 28), np.uint8)
    none = np.zeros(0, np.uint8)
    prepared = Prepared(
        *(nothing, train.astype(np.uint8)),
        *(nothing, none),
        *(nothing, test.astype(np.uint8)),
        *(np.array(0.12346), np.array(0.5)),
    )
    assert describe(prepared).splitlines() == [
        "train         945 examples; of class 0 to 9: "
        "   90    91    92    93    94    95    96    97    98    99",
        "validation      0 examples; of class 0 to 9: "
        "    0     0     0     0     0     0     0     0     0     0",
        "test           95 examples; of class 0 to 9: "
        "    5     6     7     8     9    10    11    12    13    14",
        "pixels     mean 0.1235, standard deviation 0.5000",
    ]


@pytest.fixture
def run_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a function that runs the stage on tmp_path and the project's params.yaml."""

    def run(*more: str) -> None:
        monkeypatch.chdir(PROJECT)
        monkeypatch.setattr(sys, "argv", ["", str(tmp_path), "--dataset", "mnist", *more])
        main()

    return run


def test_the_stage_reads_raw_and_writes_processed(
    tmp_path: Path, run_stage: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    save(published(), tmp_path / "raw" / "mnist.npz")
    run_stage()
    expected = prepare(published(), Split(validation_fraction=0.1, seed=0))
    assert capsys.readouterr() == ("", describe(expected) + "\n")
    written = load(Prepared, tmp_path / "processed" / "mnist.npz", "preprocess@mnist")
    for name, array in vars(expected).items():
        assert np.array_equal(getattr(written, name), array), name


def test_another_file_of_parameters_may_be_named(
    tmp_path: Path, run_stage: Callable[..., None]
) -> None:
    (tmp_path / "raw").mkdir()
    save(published(), tmp_path / "raw" / "mnist.npz")
    params = tmp_path / "other.yaml"
    params.write_text("split: {validation_fraction: 0.3, seed: 5}", encoding="utf-8")
    run_stage("--params", str(params))
    written = load(Prepared, tmp_path / "processed" / "mnist.npz", "preprocess@mnist")
    assert len(written.validation_labels) == 150


def test_the_stage_names_the_file_that_is_wrong(
    tmp_path: Path, run_stage: Callable[..., None]
) -> None:
    path = tmp_path / "raw" / "mnist.npz"
    path.parent.mkdir()
    save(replace(published(), test_labels=np.zeros(54, np.uint8)), path)
    told = (
        f"{path} is damaged (test_images is uint8 (55, 28, 28) instead of uint8 (54, 28, 28)): "
        f"recreate it with: dvc repro --force --single-item download@mnist"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        run_stage()
    assert not (tmp_path / "processed").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"train_labels": np.arange(500, dtype=np.uint8) % 9},
            "train_labels holds no other classes than 0, 1, 2, 3, 4, 5, 6, 7, 8",
        ),
        (
            {"test_labels": np.arange(55, dtype=np.uint8) % 9 + 1},
            "test_labels holds no other classes than 1, 2, 3, 4, 5, 6, 7, 8, 9",
        ),
        (
            {"train_images": np.full((500, 28, 28), 9, dtype=np.uint8)},
            "all pixels of train_images are equal",
        ),
    ],
)
def test_the_stage_refuses_a_dataset_that_cannot_be_learnt(
    tmp_path: Path, run_stage: Callable[..., None], changes: dict[str, Any], told: str
) -> None:
    path = tmp_path / "raw" / "mnist.npz"
    path.parent.mkdir()
    save(replace(published(), **changes), path)
    with pytest.raises(UserError) as refused:
        run_stage()
    assert str(refused.value) == (
        f"{path} is damaged ({told}): recreate it with: "
        f"dvc repro --force --single-item download@mnist"
    )


def test_the_stage_names_the_file_that_is_absent_once(
    tmp_path: Path, run_stage: Callable[..., None]
) -> None:
    told = (
        f"{tmp_path / 'raw' / 'mnist.npz'} does not exist: create it with: "
        f"dvc repro --force --single-item download@mnist"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        run_stage()


def test_a_file_comes_back_as_it_was_written_and_always_has_the_same_bytes(tmp_path: Path) -> None:
    prepared = prepare(published(), Split(validation_fraction=0.1, seed=0))
    for name in ("a.npz", "b.npz"):
        save(prepared, tmp_path / name)
    back = load(Prepared, tmp_path / "a.npz", "preprocess@a")
    for name, array in vars(prepared).items():
        assert np.array_equal(getattr(back, name), array), name
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000] + b"damage" + content[5006:],
        lambda content: b"",
        lambda content: b"no archive at all",
    ],
    ids=["half of it", "six bytes changed", "empty", "text"],
)
def test_a_damaged_file_is_refused_with_the_remedy(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "mnist.npz"
    save(published(), path)
    path.write_bytes(damage(path.read_bytes()))
    told = (
        rf"{re.escape(str(path))} is damaged \([^\n]+\): "
        rf"recreate it with: dvc repro --force --single-item download@mnist"
    )
    with pytest.raises(UserError, match=f"^{told}$"):
        load(Published, path, "download@mnist")


def test_a_single_array_in_the_place_of_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(UserError, match=r"mnist\.npz is damaged \(.*: recreate it with: dvc "):
        load(Published, path, "download@mnist")


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    np.savez(path, train_images=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"mnist\.npz is damaged \(.*pickle"):
        load(Published, path, "download@mnist")


def test_a_file_of_another_stage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    for arrays, held in (
        (vars(published()), "train_images, train_labels, test_images, test_labels"),
        ({}, "nothing"),
    ):
        np.savez(path, **arrays)
        told = (
            f"{path} holds {held} instead of the arrays of preprocess@mnist: "
            f"recreate it with: dvc repro --force --single-item preprocess@mnist"
        )
        with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
            load(Prepared, path, "preprocess@mnist")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"train_images": lambda images: images.astype(np.float64)},
            "train_images is float64 (500, 28, 28) instead of uint8 (500, 28, 28)",
        ),
        (
            {"test_images": lambda images: images[1:]},
            "test_images is uint8 (54, 28, 28) instead of uint8 (55, 28, 28)",
        ),
        (
            {"test_labels": lambda labels: labels[:, None]},
            "test_labels is uint8 (55, 1) instead of uint8 (55,)",
        ),
        ({"train_labels": lambda labels: labels + 1}, "train_labels has labels other than 0 to 9"),
        (
            {name: lambda array: array[:0] for name in ("test_images", "test_labels")},
            "test_images is empty",
        ),
    ],
)
def test_arrays_that_are_not_what_they_should_be_are_refused_with_the_remedy(
    tmp_path: Path, changes: Mapping[str, Callable[[Any], Any]], told: str
) -> None:
    path = tmp_path / "mnist.npz"
    arrays = vars(published())
    np.savez(path, **arrays | {name: change(arrays[name]) for name, change in changes.items()})
    with pytest.raises(UserError) as refused:
        load(Published, path, "download@mnist")
    assert str(refused.value) == (
        f"{path} is damaged ({told}): recreate it with: dvc repro --force --single-item "
        f"download@mnist"
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.array([0.3]), "mean is float64 (1,) instead of float64 ()"),
        (np.array(3), "mean is int64 () instead of float64 ()"),
        (np.array(np.nan), "mean is nan"),
        (np.array(0.0), "mean is 0.0"),
        (np.array(1e-300), "mean is 1e-300"),
        (np.array(1.5), "mean is 1.5"),
    ],
)
def test_statistics_that_are_no_share_are_refused_with_the_remedy(
    tmp_path: Path, value: NDArray[Any], told: str
) -> None:
    path = tmp_path / "mnist.npz"
    prepared = prepare(published(), Split(validation_fraction=0, seed=0))
    np.savez(path, **vars(prepared) | {"mean": value})
    with pytest.raises(UserError) as refused:
        load(Prepared, path, "preprocess@mnist")
    assert str(refused.value) == (
        f"{path} is damaged ({told}): recreate it with: dvc repro --force --single-item "
        f"preprocess@mnist"
    )


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent.npz"
    told = (
        f"{path} does not exist: create it with: dvc repro --force --single-item preprocess@absent"
    )
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        load(Prepared, path, "preprocess@absent")
