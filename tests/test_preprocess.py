"""The three-way split, its statistics, and the files in which they are kept."""

import numpy as np
import pytest

from stages.core.datasets import Prepared, Published, load, save
from stages.core.errors import UserError
from stages.core.params import Split
from stages.preprocess import prepare


def published(examples: int = 400, seed: int = 0) -> Published:
    """Draw a dataset whose images are numbered, so that each can be recognized."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (examples, 28, 28), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(examples), 256)
    labels = (np.arange(examples) ** 2 % 10 + np.arange(examples) % 3) % 10
    labels = labels.astype(np.uint8)
    return Published(images, labels, images[:100], labels[:100])


def numbers(images: np.ndarray) -> list[int]:
    return (images[:, 0, 0].astype(int) * 256 + images[:, 0, 1]).tolist()


def test_every_example_lands_in_one_split_with_its_label() -> None:
    source = published()
    prepared = prepare(source, Split(validation_fraction=0.1, seed=0))
    train, validation = numbers(prepared.train_images), numbers(prepared.validation_images)
    assert sorted(train + validation) == list(range(400))
    assert np.array_equal(prepared.train_labels, source.train_labels[train])
    assert np.array_equal(prepared.validation_labels, source.train_labels[validation])
    assert np.array_equal(prepared.test_images, source.test_images)


def test_each_class_is_held_out_in_proportion() -> None:
    source = published()
    prepared = prepare(source, Split(validation_fraction=0.25, seed=0))
    counts = np.bincount(source.train_labels, minlength=10)
    held_out = np.bincount(prepared.validation_labels, minlength=10)
    assert np.abs(held_out - counts / 4).max() < 1


def test_the_seed_alone_chooses_the_split() -> None:
    first, again, other = (
        numbers(prepare(published(), Split(validation_fraction=0.1, seed=seed)).validation_images)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_fraction_0_holds_nothing_out() -> None:
    prepared = prepare(published(), Split(validation_fraction=0, seed=0))
    assert prepared.validation_images.shape == (0, 28, 28)
    assert numbers(prepared.train_images) == list(range(400))


def test_statistics_are_those_of_the_training_split_alone() -> None:
    prepared = prepare(published(), Split(validation_fraction=0.2, seed=0))
    pixels = prepared.train_images / 255
    assert float(prepared.mean) == pytest.approx(pixels.mean(), rel=1e-12)
    assert float(prepared.deviation) == pytest.approx(pixels.std(), rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train_images": np.zeros((400, 28, 27), np.uint8)}, r"training images are uint8 \(400"),
        ({"train_images": np.zeros((400, 28, 28))}, "training images are float64"),
        ({"test_labels": np.zeros(99, np.uint8)}, r"100 test images but labels \(99,\)"),
        ({"test_labels": np.full(100, 10, np.uint8)}, r"test labels are \[10\]"),
    ],
)
def test_arrays_of_another_shape_are_refused(changes: dict[str, np.ndarray], told: str) -> None:
    source = Published(**(published().__dict__ | changes))
    with pytest.raises(UserError, match=told):
        prepare(source, Split(validation_fraction=0.1, seed=0))


def test_a_fraction_that_empties_a_class_is_refused() -> None:
    with pytest.raises(UserError, match=r"split\.validation_fraction = 0\.001"):
        prepare(published(), Split(validation_fraction=0.001, seed=0))


def test_a_file_comes_back_as_it_was_written(tmp_path) -> None:
    prepared = prepare(published(), Split(validation_fraction=0.1, seed=0))
    save(prepared, tmp_path / "a.npz")
    save(prepared, tmp_path / "b.npz")
    back = load(Prepared, tmp_path / "a.npz", "preprocess@a")
    for name, array in prepared.__dict__.items():
        assert np.array_equal(getattr(back, name), array)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000] + b"damage" + content[5006:],
        lambda content: b"",
        lambda content: b"no archive at all",
    ],
)
def test_a_damaged_file_is_refused_with_the_remedy(tmp_path, damage) -> None:
    path = tmp_path / "mnist.npz"
    save(prepare(published(), Split(validation_fraction=0.1, seed=0)), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"mnist\.npz is damaged .*dvc repro .*preprocess@mnist"):
        load(Prepared, path, "preprocess@mnist")


def test_a_file_of_another_stage_is_refused(tmp_path) -> None:
    path = tmp_path / "mnist.npz"
    save(published(), path)
    with pytest.raises(UserError, match=r"holds train_images.* instead of the arrays of preproc"):
        load(Prepared, path, "preprocess@mnist")


def test_an_absent_file_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"absent\.npz does not exist: make it with: dvc repro"):
        load(Prepared, tmp_path / "absent.npz", "preprocess@absent")
