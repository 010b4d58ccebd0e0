"""params.yaml: what is accepted, and what the user is told about the rest."""

from pathlib import Path

import pytest
import yaml

from stages.aggregate import AggregateParams
from stages.core import params
from stages.core.errors import UserError
from stages.train import CandidateParams

PROJECT = Path(__file__).parent.parent


def written(folder: Path, key: str, value: str) -> Path:
    """Write the project's params.yaml with one key, dotted, holding some YAML."""
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    *sections, last = key.split(".")
    section = content
    for name in sections:
        section = section[name]
    section[last] = yaml.safe_load(value)
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("lr", "0", "lr = 0: not a finite number above 0; give a finite number above 0"),
        ("lr", "-0.1", "lr = -0.1: not a finite number above 0; give"),
        ("lr", ".nan", "lr = nan: not a finite number above 0; give"),
        ("lr", ".inf", "lr = inf: not a finite number above 0; give"),
        ("lr", "abc", "lr = abc: not a number; give"),
        ("lr", "null", "lr = null: not a number; give"),
        ("lr", "true", "lr = true: not a number; give"),
        ("learning_rates", "[]", "learning_rates = []: "),
        ("learning_rates", "null", "learning_rates = null: "),
        ("learning_rates", "[0.1, 0.10]", "learning_rates = [0.1, 0.1]: 0.1 appears twice; give"),
        ("learning_rates", "[1, 1.0]", "learning_rates = [1, 1.0]: 1.0 appears twice; give"),
        ("learning_rates", "[0.1, x]", "learning_rates.1 = x: not a number; give"),
        ("datasets", "[mnist, cifar]", "datasets.1 = cifar: "),
        ("datasets", "[]", "datasets = []: "),
        ("seeds", "[1, 2, 1]", "seeds = [1, 2, 1]: 1 appears twice; give"),
        ("seeds", "[-1]", "seeds.0 = -1: "),
        ("seeds", "[1.5]", "seeds.0 = 1.5: "),
        ("training.epochs", "-3", "training.epochs = -3: "),
        ("training.batch_size", "0", "training.batch_size = 0: "),
        ("training.clip_norm", "0", "training.clip_norm = 0: "),
        ("training.schedule.name", "linear", "training.schedule.name = linear: "),
        ("training.epoch", "3", "unknown key training.epoch: the keys known here are epochs, "),
        ("trainning", "{}", "unknown key trainning: the keys known here are lr, "),
        ("split.validation_fraction", "1", "split.validation_fraction = 1: "),
        ("normalization.mean", "0.5", "normalization: give both mean and"),
        ("network.hidden", "[]", "network.hidden = []: "),
        ("compute.device", "tpu", "compute.device = tpu: "),
        ("compute.threads", "0", "compute.threads = 0: "),
        ("aggregate.threshold_accuracy.mnist", "2", "aggregate.threshold_accuracy.mnist = 2: "),
        ("training", "null", "training = null: "),
        ("audit.ladder", "[cliped]", "audit: cliped is none of the recipes"),
        ("audit.boundaries", "[core]", "audit: core is the recipe of training"),
        ("audit.ladder", "[core]", "audit: core is the recipe of training"),
        ("audit.recipes.clipped.start", "warm", "audit.recipes.clipped.start = warm: "),
        ("audit.recipes.clipped.clip", "1", "unknown key audit.recipes.clipped.clip: the keys "),
        ("audit.recipes.Clipped", "{}", "audit.recipes.Clipped"),
        ("audit.search.low", "5", "audit.search: low must be below high"),
        ("audit.search.resolution", "1", "audit.search.resolution = 1: "),
    ],
)
def test_bad_values_are_refused_in_one_line(
    tmp_path: Path, key: str, value: str, told: str
) -> None:
    path = written(tmp_path, key, value)
    with pytest.raises(UserError) as refusal:
        params.load(CandidateParams, path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: {told}")
    assert "\n" not in message


def test_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    del content["training"]["epochs"]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"training\.epochs is missing: give a whole number"):
        params.load(CandidateParams, path)


@pytest.mark.parametrize("text", ["", "[1, 2]", "lr: [", "lr: 0.1: 2"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml"):
        params.load(CandidateParams, path)


def test_threshold_of_a_studied_dataset_must_be_given(tmp_path: Path) -> None:
    path = written(tmp_path, "aggregate.threshold_accuracy", "{mnist: 0.9}")
    with pytest.raises(UserError, match=r"threshold_accuracy.*fashion_mnist"):
        params.load(AggregateParams, path)


@pytest.mark.parametrize(("text", "rate"), [("1e-05", 1e-5), ("1e-5", 1e-5), ("2", 2)])
def test_rates_are_read_as_dvc_writes_them(tmp_path: Path, text: str, rate: float) -> None:
    assert params.load(CandidateParams, written(tmp_path, "lr", text)).lr == rate


def test_a_stage_is_handed_its_own_sections_and_no_others() -> None:
    declared = params.load(AggregateParams, PROJECT / "params.yaml")
    assert set(declared.model_dump()) == {"lr", "learning_rates", "datasets", "aggregate"}
