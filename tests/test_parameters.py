"""params.yaml: what is accepted, and what the user is told about the rest."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml

from stages.check import Params
from stages.common.errors import UserError
from stages.common.parameters import checked, read_params, read_yaml
from stages.results.parameters import AggregateParams
from stages.training.parameters import CandidateParams

PROJECT = Path(__file__).parent.parent
WHOLE_NUMBER = "a whole number from 1 to 100000"
SEED = "a whole number from 0 to 4294967295"
SEEDS = "a list of 1 to 1000 different whole numbers, such as [42, 43]"
RATE = "a number above 0 and at most 1000000, of at most 6 digits, such as 0.3"
SHARE = "a number from 0 up to, not including, 1"
SCHEDULE = "one of constant, notebook, step, drop, cosine, warmup, warmup_cosine"
CLIPPING = "a finite number above 0, or nothing for no clipping"
RECIPE = "a name of up to 50 lower-case letters, digits and underscores"
RECIPE_KEYS = (
    "rates, start, normalization, units, by_epoch, epochs, batch_size, clip_norm, schedule, "
    "decay, decay_epochs"
)
TOP = (
    "network, training, device, audit, lr, learning_rates, datasets, normalization, diagnose, "
    "outcome, seeds, split"
)

# What a message tells to write, for each place in params.yaml.
VALUES = {
    "lr": RATE,
    "learning_rates.0": RATE,
    "datasets.0": "one of mnist, fashion_mnist, kmnist, digits",
    "seeds.0": SEED,
    "split.validation_fraction": SHARE,
    "split.seed": SEED,
    "network.hidden.0": "a whole number from 1 to 10000",
    "training.epochs": WHOLE_NUMBER,
    "training.batch_size": WHOLE_NUMBER,
    "training.schedule.name": SCHEDULE,
    "training.schedule.decay": "a number above 0 and at most 1",
    "training.schedule.decay_epochs": WHOLE_NUMBER,
    "training.schedule.warmup_epochs": "a finite number above 0",
    "device": "one of auto, cpu, cuda, mps",
    "diagnose.examples": WHOLE_NUMBER,
    "diagnose.every_epochs": WHOLE_NUMBER,
    "diagnose.tolerance": "a number above 0 and below 1, such as 0.01",
    "outcome.threshold_accuracy.mnist": SHARE,
    "outcome.threshold_accuracy.fashion_mnist": SHARE,
    "outcome.threshold_accuracy.kmnist": SHARE,
    "outcome.threshold_accuracy.digits": SHARE,
    "outcome.trained_accuracy": SHARE,
    "outcome.burst_gradient_norm": "a gradient norm above 0",
    "audit.ladder.0": RECIPE,
    "audit.apart.0": RECIPE,
    "audit.rates.0": RATE,
    "audit.groups.0": SEED,
    "audit.networks": "a whole number from 1 to 1000",
    "audit.lower_threshold_accuracy.mnist": SHARE,
    "audit.lower_threshold_accuracy.fashion_mnist": SHARE,
    "audit.lower_threshold_accuracy.kmnist": SHARE,
    "audit.lower_threshold_accuracy.digits": SHARE,
    "audit.recipes.clipped_steep.rates.0": RATE,
    "audit.published_normalization.mnist.mean": "a number from -1000 to 1000",
    "audit.published_normalization.mnist.deviation": "a number from 0.001 to 1000",
}
OF_A_RECIPE = {
    "audit.recipes.clipped_steep.start": "one of fresh, carried",
    "audit.recipes.clipped_steep.normalization": "one of own, published",
    "audit.recipes.clipped_steep.units": "one of drawn, permuted",
    "audit.recipes.clipped_steep.by_epoch": "true or false",
}
"""Keys that may be left out, and have a value all the same."""
OPTIONAL_VALUES = {
    "normalization.mean": "a number from -1000 to 1000, or nothing",
    "normalization.deviation": "a number from 0.001 to 1000, or nothing",
    "training.clip_norm": CLIPPING,
    "audit.recipes.clipped_steep.clip_norm": "a finite number above 0, or nothing",
    "audit.recipes.clipped_steep.epochs": f"{WHOLE_NUMBER}, or nothing",
    "audit.recipes.clipped_steep.batch_size": f"{WHOLE_NUMBER}, or nothing",
    "audit.recipes.clipped_steep.schedule": "the name of a schedule, or nothing",
    "audit.recipes.clipped_steep.decay": "a number above 0 and at most 1, or nothing",
    "audit.recipes.clipped_steep.decay_epochs": f"{WHOLE_NUMBER}, or nothing",
}
LISTS = {
    "learning_rates": "a list of 1 to 100 different rates, such as [0.1, 0.2]",
    "datasets": "a list of different datasets out of mnist, fashion_mnist, kmnist, digits",
    "seeds": SEEDS,
    "audit.rates": "a list of 1 to 100 different rates, such as [0.1, 0.2]",
    "audit.groups": "a list of different first seeds, such as [1000, 1010]",
    "network.hidden": "a list of 1 to 100 widths, such as [256, 128]",
    "audit.ladder": "a list of different names of recipes",
    "audit.apart": "a list of different names of recipes",
}
OPTIONAL_LISTS = {
    "audit.recipes.clipped_steep.rates": (
        "a list of different rates, or nothing for those of the audit"
    ),
}
SECTIONS = {
    "split": "a section with the keys validation_fraction, seed",
    "network": "a section with the keys hidden",
    "normalization": "a section with the keys mean, deviation",
    "training": "a section with the keys epochs, batch_size, clip_norm, schedule",
    "training.schedule": "a section with the keys name, decay, decay_epochs, warmup_epochs",
    "diagnose": "a section with the keys examples, every_epochs, tolerance",
    "outcome": "a section with the keys threshold_accuracy, trained_accuracy, burst_gradient_norm",
    "outcome.threshold_accuracy": "an accuracy, 0 to 1, for each known dataset",
    "audit": (
        "a section with the keys rates, groups, networks, ladder, apart, recipes, "
        "published_normalization, lower_threshold_accuracy"
    ),
    "audit.recipes": "recipes by name",
    "audit.recipes.clipped_steep": f"a section with the keys {RECIPE_KEYS}",
    "audit.lower_threshold_accuracy": "an accuracy, 0 to 1, for each known dataset",
    "audit.published_normalization": "mean and deviation for each dataset that has published ones",
    "audit.published_normalization.mnist": "a section with the keys mean, deviation",
}
ALLOWED = VALUES | OF_A_RECIPE | OPTIONAL_VALUES | LISTS | OPTIONAL_LISTS | SECTIONS

# Wrong values as messages show them.
WRONG_ANYWHERE = {
    "true": True,
    ".inf": float("inf"),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}
TEXT = {'"0.4; touch x;#"': "0.4; touch x;#", '"1e-3"': "1e-3"}
NULL = {"null": None}
SECTION = {'{"a": 1}': {"a": 1}}
LIST = {"[[1]]": [[1]]}
EMPTY_LIST = {"[]": []}


ALIASES = [f"&a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
BOMB = f"[&a0 ha, {', '.join(ALIASES)}]"
"""A list that is short to write and holds 2^40 texts."""
MERGES = "".join(f"s{n}: &s{n} {{<<: [*s{n - 1}, *s{n - 1}]}}\n" for n in range(1, 40))
MERGING_BOMB = f"s0: &s0 {{key: 1}}\n{MERGES}".encode()


def wrong_values(key: str) -> dict[str, Any]:
    """Choose what is wrong at a place, however the rest is."""
    wrong = WRONG_ANYWHERE | TEXT
    if key.endswith("by_epoch"):
        del wrong["true"]
    if key not in OPTIONAL_VALUES | OPTIONAL_LISTS:
        wrong |= NULL
    if key not in SECTIONS:
        wrong |= SECTION
    if key not in LISTS | OPTIONAL_LISTS:
        wrong |= LIST
    return wrong | EMPTY_LIST


CONTENT = read_yaml(PROJECT / "params.yaml")
RECIPES = ", ".join(CONTENT["audit"]["recipes"])


def project() -> dict[str, Any]:
    """Copy the project's parameters, to be changed."""
    return deepcopy(CONTENT)


def changed(key: str, value: Any) -> dict[str, Any]:
    """Put one value into the project's parameters, at a dotted key."""
    content = project()
    *above, last = key.split(".")
    place: Any = content
    for part in above:
        place = place[part]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return content


def written(folder: Path, key: str, value: str) -> Path:
    """Write the project's parameters with some YAML at a dotted key."""
    path = folder / "params.yaml"
    text = json.dumps(changed(key, "what is tested"))
    path.write_text(text.replace('"what is tested"', value), encoding="utf-8")
    return path


def refusal(content: dict[str, Any]) -> str:
    """Say what is told about parameters."""
    with pytest.raises(UserError) as refused:
        checked(Params, content, Path("params.yaml"))
    return str(refused.value)


@pytest.mark.parametrize("key", ALLOWED)
def test_a_wrong_value_is_told_with_its_key_and_what_to_write(key: str) -> None:
    wrong = wrong_values(key)
    told = {shown: refusal(changed(key, value)) for shown, value in wrong.items()}
    assert told == {shown: f"params.yaml: {key} = {shown}: give {ALLOWED[key]}" for shown in wrong}


def test_every_key_of_the_file_is_among_those_tried() -> None:
    def keys(content: dict[str, Any]) -> set[str]:
        sections = {key: value for key, value in content.items() if isinstance(value, dict)}
        inner = {f"{key}.{part}" for key, value in sections.items() for part in keys(value)}
        return {*content, *inner}

    content = project()
    # One recipe, with the keys of all, and one dataset stand for all.
    recipes = content["audit"]["recipes"]
    content["audit"]["recipes"] = {
        "clipped_steep": {k: 0 for each in recipes.values() for k in each}
    }
    del content["audit"]["published_normalization"]["fashion_mnist"]
    assert keys(content) == {key for key in ALLOWED if not key.endswith(".0")}


@pytest.mark.parametrize(
    "key",
    sorted(
        {key for key in ALLOWED if not key.endswith(".0")}
        - {key for key in ALLOWED if key.startswith("audit.recipes.")}
        - {
            "outcome.threshold_accuracy.mnist",
            "outcome.threshold_accuracy.fashion_mnist",
            "outcome.threshold_accuracy.kmnist",
            "outcome.threshold_accuracy.digits",
            "audit.lower_threshold_accuracy.mnist",
            "audit.lower_threshold_accuracy.fashion_mnist",
            "audit.lower_threshold_accuracy.kmnist",
            "audit.lower_threshold_accuracy.digits",
            "audit.published_normalization.mnist",
        }
    ),
)
def test_a_missing_key_is_named(key: str) -> None:
    content = project()
    *above, last = key.split(".")
    place = content
    for part in above:
        place = place[part]
    del place[last]
    assert refusal(content) == f"params.yaml: {key} is missing: give {ALLOWED[key]}"


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("lrr", TOP),
        ("compute", TOP),
        ("split.fraction", "validation_fraction, seed"),
        ("network.layers", "hidden"),
        ("normalization.std", "mean, deviation"),
        ("training.epoch", "epochs, batch_size, clip_norm, schedule"),
        ("training.schedule.gamma", "name, decay, decay_epochs, warmup_epochs"),
        ("diagnose.example", "examples, every_epochs, tolerance"),
        ("outcome.trained", "threshold_accuracy, trained_accuracy, burst_gradient_norm"),
        (
            "audit.steps",
            "rates, groups, networks, ladder, apart, recipes, published_normalization, "
            "lower_threshold_accuracy",
        ),
        ("audit.recipes.clipped.clip", RECIPE_KEYS),
        ("audit.published_normalization.mnist.std", "mean, deviation"),
    ],
)
def test_an_unknown_key_is_told_with_the_known_ones(key: str, known: str) -> None:
    told = f"params.yaml: unknown key {key}: the keys known here are {known}"
    assert refusal(changed(key, 1)) == told


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (
            "outcome.threshold_accuracy.cifar",
            "unknown key outcome.threshold_accuracy.cifar: "
            "give one of mnist, fashion_mnist, kmnist, digits",
        ),
        (
            "audit.published_normalization.cifar",
            "unknown key audit.published_normalization.cifar: "
            "give one of mnist, fashion_mnist, kmnist, digits",
        ),
        (
            "audit.lower_threshold_accuracy.cifar",
            "unknown key audit.lower_threshold_accuracy.cifar: "
            "give one of mnist, fashion_mnist, kmnist, digits",
        ),
        ("audit.recipes.Clipped", f"unknown key audit.recipes.Clipped: give {RECIPE}"),
    ],
)
def test_an_unknown_name_is_told_with_what_a_name_may_be(key: str, told: str) -> None:
    *above, _ = key.split(".")
    value: Any = 0.5
    if above[0] == "audit":
        place = project()["audit"][above[1]]
        value = next(iter(place.values()))
    assert refusal(changed(key, value)) == f"params.yaml: {told}"


def test_a_misspelt_key_is_told_before_the_one_that_it_was_to_be() -> None:
    content = project()
    content["training"]["epoch"] = content["training"].pop("epochs")
    assert refusal(content) == (
        "params.yaml: unknown key training.epoch: "
        "the keys known here are epochs, batch_size, clip_norm, schedule"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", "5e-324"),
        ("lr", "1000000"),
        ("learning_rates", str(list(range(1, 101)))),
        ("seeds", "[0, 4294967295]"),
        ("seeds", str(list(range(1000)))),
        ("datasets", "[digits, kmnist, fashion_mnist, mnist]"),
        ("split.validation_fraction", "0"),
        ("split.validation_fraction", "0.9999999999999999"),
        ("split.seed", "0"),
        ("split.seed", "4294967295"),
        ("network.hidden", "[1, 10000]"),
        ("network.hidden", str([7] * 100)),
        ("normalization", "{mean: -1000, deviation: 0.001}"),
        ("normalization", "{mean: 1000, deviation: 1000}"),
        ("training.epochs", "1"),
        ("training.epochs", "100000"),
        ("training.batch_size", "1"),
        ("training.batch_size", "100000"),
        ("training.clip_norm", "5e-324"),
        ("training.schedule.decay", "5e-324"),
        ("training.schedule.decay", "1"),
        ("training.schedule.decay_epochs", "1"),
        ("training.schedule.decay_epochs", "100000"),
        ("training.schedule", "{name: warmup, decay: 1, decay_epochs: 1, warmup_epochs: 10}"),
        ("training.schedule", "{name: cosine, decay: 1, decay_epochs: 1, warmup_epochs: 10}"),
        ("diagnose.examples", "1"),
        ("diagnose.every_epochs", "100000"),
        ("diagnose.tolerance", "0.9999999999999999"),
        ("outcome.threshold_accuracy.mnist", "0"),
        ("outcome.trained_accuracy", "0.9999999999999999"),
        ("outcome.burst_gradient_norm", "5e-324"),
        ("audit.recipes.clipped.rates", "[0.1]"),
        ("audit.recipes.clipped", "{}"),
        ("audit.recipes.clipped.schedule", "null"),
        ("audit.published_normalization", "{}"),
        ("audit.groups", "[10, 0, 20]"),
        ("audit.networks", "1"),
        ("audit.apart", "[conventional]"),
    ],
)
def test_the_outermost_values_are_accepted(tmp_path: Path, key: str, value: str) -> None:
    path = written(tmp_path, key, value)
    checked(Params, read_yaml(path), path)


def test_a_group_may_have_a_thousand_networks(tmp_path: Path) -> None:
    path = written(tmp_path, "audit.networks", "1000")
    text = path.read_text(encoding="utf-8").replace(" 1010", " 2000")
    path.write_text(text, encoding="utf-8")
    assert checked(Params, read_yaml(path), path).audit.networks == 1000


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("lr", "0", "0"),
        ("lr", "-0.1", "-0.1"),
        ("lr", "1000000.1", "1000000.1"),
        ("learning_rates.0", "0", "0"),
        ("seeds.0", "-1", "-1"),
        ("seeds.0", "1.5", "1.5"),
        ("seeds.0", "4294967296", "4294967296"),
        ("split.validation_fraction", "-0.1", "-0.1"),
        ("split.validation_fraction", "1", "1"),
        ("split.seed", "4294967296", "4294967296"),
        ("network.hidden.0", "0", "0"),
        ("network.hidden.0", "10001", "10001"),
        ("network.hidden.0", "16.0", "16.0"),
        ("normalization.deviation", "0.0009", "0.0009"),
        ("normalization.mean", "1000.1", "1000.1"),
        ("normalization.mean", ".nan", ".nan"),
        ("lr", "0.1234567", "0.1234567"),
        ("training.epochs", "0", "0"),
        ("training.epochs", "100001", "100001"),
        ("training.epochs", "10.0", "10.0"),
        ("training.batch_size", "0", "0"),
        ("training.batch_size", "100001", "100001"),
        ("training.clip_norm", "0", "0"),
        ("training.schedule.decay", "0", "0"),
        ("training.schedule.decay", "1.0000000000000002", "1.0000000000000002"),
        ("training.schedule.decay_epochs", "0", "0"),
        ("training.schedule.warmup_epochs", "0", "0"),
        ("diagnose.examples", "0", "0"),
        ("diagnose.tolerance", "0", "0"),
        ("diagnose.tolerance", "1", "1"),
        ("outcome.threshold_accuracy.mnist", "1", "1"),
        ("outcome.burst_gradient_norm", "0", "0"),
        ("audit.networks", "0", "0"),
        ("audit.networks", "1001", "1001"),
        ("audit.groups.0", "-1", "-1"),
        ("audit.lower_threshold_accuracy.mnist", "1", "1"),
        ("audit.published_normalization.mnist.deviation", "0", "0"),
        ("lr", "1e400", ".inf"),
        ("lr", "7" * 5000, '"' + "7" * 79 + "…"),
        ("lr", "0x" + "7" * 5000, '"0x' + "7" * 77 + "…"),
        ("training.epochs", "7" * 5000, '"' + "7" * 79 + "…"),
        ("training.clip_norm", "7" * 400, '"' + "7" * 79 + "…"),
        ("training.epochs", "7" * 100, "7" * 80 + "…"),
        ("lr", '"' + "x" * 78 + '"', '"' + "x" * 78 + '"'),
        ("lr", '"' + "x" * 79 + '"', '"' + "x" * 79 + "…"),
        ("lr", "é", '"é"'),
        ("lr", "2020-11-30", '"2020-11-30"'),
        ("lr", "&itself [*itself]", "[" * 80 + "…"),
        (
            "lr",
            BOMB,
            '["ha", ["ha", "ha"], [["ha", "ha"], ["ha", "ha"]], [[["ha", "ha"], ["ha", "ha"]]…',
        ),
    ],
)
def test_what_lies_beyond_is_refused(tmp_path: Path, key: str, value: str, shown: str) -> None:
    path = written(tmp_path, key, value)
    with pytest.raises(UserError) as refused:
        checked(Params, read_yaml(path), path)
    assert str(refused.value) == f"{path}: {key} = {shown}: give {ALLOWED[key]}"


@pytest.mark.parametrize(
    ("key", "count"), [("learning_rates", 101), ("seeds", 1001), ("network.hidden", 101)]
)
def test_a_list_that_is_too_long_is_refused(key: str, count: int) -> None:
    values = list(range(1, count + 1))
    told = f"params.yaml: {key} = {str(values)[:80]}…: give {ALLOWED[key]}"
    assert refusal(changed(key, values)) == told


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "learning_rates",
            [0.1, 0.2, 0.1],
            f"learning_rates = [0.1, 0.2, 0.1]: 0.1 appears twice; give {LISTS['learning_rates']}",
        ),
        (
            "learning_rates",
            [1, 0.2, 1.0],
            f"learning_rates = [1, 0.2, 1.0]: 1.0 appears twice; give {LISTS['learning_rates']}",
        ),
        (
            "datasets",
            ["mnist", "mnist"],
            f'datasets = ["mnist", "mnist"]: mnist appears twice; give {LISTS["datasets"]}',
        ),
        ("seeds", [3, 3], f"seeds = [3, 3]: 3 appears twice; give {LISTS['seeds']}"),
        (
            "audit.apart",
            ["large", "large"],
            'audit.apart = ["large", "large"]: large appears twice; '
            "give a list of different names of recipes",
        ),
        (
            "normalization.mean",
            0.5,
            "normalization: give both mean and deviation, or neither",
        ),
        (
            "normalization.deviation",
            0.5,
            "normalization: give both mean and deviation, or neither",
        ),
        (
            "training.schedule",
            {"name": "warmup_cosine", "decay": 1, "decay_epochs": 1, "warmup_epochs": 10.5},
            "training: schedule.warmup_epochs = 10.5 is longer than the training: "
            "give at most 10, its epochs",
        ),
        (
            "outcome.threshold_accuracy",
            {"mnist": 0.9},
            "outcome.threshold_accuracy.fashion_mnist is missing: "
            "give an accuracy from 0 up to, not including, 1",
        ),
        (
            "audit.lower_threshold_accuracy",
            {"mnist": 0.9},
            "audit.lower_threshold_accuracy.fashion_mnist is missing: "
            "give an accuracy from 0 up to, not including, 1",
        ),
        ("audit.ladder.0", "cliped", f"audit: cliped is not a recipe: give one of {RECIPES}"),
        ("audit.apart.0", "rm -rf", f'audit.apart.0 = "rm -rf": give {RECIPE}'),
        (
            "audit.apart.0",
            "core",
            "audit: core is in both ladder and apart: name it in one of them",
        ),
        (
            "audit.groups",
            [1009, 1000],
            "audit: groups 1000 and 1009 share seeds, as each has 10: "
            "give first seeds that are further apart",
        ),
        (
            "audit.groups",
            [2**32 - 9],
            "audit: group 4294967287 has seeds above 4294967295, as each has 10: "
            "give a smaller first seed",
        ),
        (
            "audit.recipes.warmup_cosine.epochs",
            0,
            f"audit.recipes.warmup_cosine.epochs = 0: give {WHOLE_NUMBER}, or nothing",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(key: str, value: Any, told: str) -> None:
    assert refusal(changed(key, value)) == f"params.yaml: {told}"


def test_the_name_of_a_recipe_has_at_most_50_characters() -> None:
    recipes = project()["audit"]["recipes"]
    recipe = recipes["clipped"]
    checked(Params, changed("audit.recipes", recipes | {"a" * 50: recipe}), Path("params.yaml"))
    assert refusal(changed("audit.recipes", recipes | {"a" * 51: recipe})) == (
        f"params.yaml: unknown key audit.recipes.{'a' * 51}: give {RECIPE}"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "{path} holds no parameters: restore it with git restore {path}"),
        (b"# lr: 0.3\n", "{path} holds no parameters: restore it with git restore {path}"),
        (b"[1, 2]", "{path} holds no parameters: restore it with git restore {path}"),
        (b"lr", "{path} holds no parameters: restore it with git restore {path}"),
        (b"seeds:\n- 1\nlr: [", "line 4: did not find expected node content"),
        (b"lr: 0.1: 2", "line 1: mapping values are not allowed in this context"),
        (b"split:\n\tseed: 1", "line 2: found character that cannot start any token"),
        (
            b"lr: 0.1\nlr: 0.2\n",
            'line 2: found duplicate key "lr" with value "0.2" (original value: "0.1")',
        ),
        (
            b"training:\n  epochs: 1\n  epochs: 2\n",
            'line 3: found duplicate key "epochs" with value "2" (original value: "1")',
        ),
        (b"lr: *rate", "line 1: found undefined alias"),
        (b'lr: "\\ud800"', "line 1: found invalid Unicode character escape code"),
        (
            b"lr: !!python/name:os.system",
            "line 1: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/name:os.system'",
        ),
        (b"lr: 2020-13-45", "month must be in 1..12"),
        (b"lr: \xff", "'utf-8' codec can't decode byte 0xff in position 4: invalid start byte"),
        (
            b"lr: \x00",
            "unacceptable character #x0000: control characters are not allowed in "
            '"<unicode string>", position 4',
        ),
        (b"lr: " + b"[" * 1000, "line 2: did not find expected node content"),
        (b'lr: !!bool "0.3"', "'0.3'"),
        (b"lr: !!float ''", "string index out of range"),
        (b"? [[1]]\n: 1", "unhashable type: 'list'"),
        (
            b"lr: !!set {0.1}",
            "line 1: could not determine a constructor for the tag 'tag:yaml.org,2002:set'",
        ),
        (
            b"lr: !!binary aGE=",
            "line 1: could not determine a constructor for the tag 'tag:yaml.org,2002:binary'",
        ),
        (MERGING_BOMB, "line 15: more than 10000 keys are merged"),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else "",
)
def test_a_file_without_parameters_is_refused(tmp_path: Path, text: bytes, told: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    with pytest.raises(UserError) as refused:
        read_params(CandidateParams, path)
    if "{path}" not in told:
        told = (
            f"{{path}} is not valid YAML ({told}): fix it, or restore it with git restore {{path}}"
        )
    assert str(refused.value) == told.replace("{path}", str(path))


def test_an_absent_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    absent = tmp_path / "params.yaml"
    with pytest.raises(UserError) as refused:
        read_params(CandidateParams, absent)
    assert str(refused.value) == f"{absent} does not exist: run from the project's top folder"
    with pytest.raises(UserError) as refused:
        read_params(CandidateParams, tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} cannot be read (Is a directory): restore it with git restore {tmp_path}"
    )


def test_a_key_with_line_breaks_is_told_on_one_line() -> None:
    assert refusal(changed("a\nb", 1)) == (
        f"params.yaml: unknown key a b: the keys known here are {TOP}"
    )


@pytest.mark.parametrize(("key", "shown"), [(1, "1"), (None, "None"), ((1, 2), "(1, 2)")])
def test_a_key_that_is_no_text_is_unknown(key: Any, shown: str) -> None:
    content: dict[Any, Any] = project() | {key: 1}
    assert refusal(content) == f"params.yaml: unknown key {shown}: the keys known here are {TOP}"


@pytest.mark.parametrize(
    "text",
    [
        "1e-05",
        "1E5",
        "1e+3",
        ".5",
        "5.",
        "+1",
        "017",
        "0o17",
        "0x1F",
        "1_000",
        "12:30:45",
        "yes",
        "off",
        "~",
        "'0.1'",
        "2020-11-30",
        "9" * 99,
        "[1, 1.0]",
    ],
)
def test_values_are_read_as_dvc_reads_them(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"value: {text}\n", encoding="utf-8")
    ours, theirs = read_yaml(path), load_yaml(path)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize(
    ("text", "rate"), [("1e-05", "1e-05"), ("1e-3", "0.001"), ("2", "2"), ("2.0", "2.0")]
)
def test_a_rate_prints_as_dvc_names_its_folder(tmp_path: Path, text: str, rate: str) -> None:
    assert str(read_params(CandidateParams, written(tmp_path, "lr", text)).lr) == rate


def test_a_stage_is_handed_its_own_sections_and_is_not_stopped_by_others(tmp_path: Path) -> None:
    path = written(tmp_path, "training.epochs", "wrong")
    declared = read_params(AggregateParams, path)
    assert declared.model_dump() == {
        "lr": 0.3,
        "learning_rates": (0.1, 0.2, 0.384, 0.48, 0.6),
        "datasets": ("mnist", "fashion_mnist"),
    }
