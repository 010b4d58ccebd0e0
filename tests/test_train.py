"""A whole training run, number by number against the plain loop one would otherwise type."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    SequentialLR,
    StepLR,
)

from stages.common import datasets
from stages.common.datasets import Prepared
from stages.common.parameters import read_params
from stages.training import run_files
from stages.training.loop import chance_accuracy, orders, starting_stack, train, train_run
from stages.training.parameters import Network, TrainParams
from stages.training.run_files import Run
from stages.training.splits import Splits
from stages.training.stack import Stack

RATE = 0.3
STEPS = 12  # of one epoch: 91 examples in batches of 8, the last of which holds 3


@pytest.fixture
def prepared(folder: Path) -> Prepared:
    return datasets.load(Prepared, folder / "small.npz", "")


@pytest.fixture
def declared(folder: Path) -> TrainParams:
    return read_params(TrainParams, folder / "params.yaml")


def changed(declared: TrainParams, **training: Any) -> TrainParams:
    """Change the recipe; `schedule` is given by its fields that differ."""
    if "schedule" in training:
        schedule = declared.training.schedule.model_copy(update=training["schedule"])
        training = training | {"schedule": schedule}
    recipe = declared.training.model_copy(update=training)
    return declared.model_copy(update={"training": recipe})


def splits_of(prepared: Prepared, declared: TrainParams) -> Splits:
    return Splits.of(prepared, declared.normalization, torch.device("cpu"))


def flat(values: Any) -> Tensor:
    return torch.cat([each.detach().double().flatten() for each in values])


def examples(images: datasets.Images, labels: datasets.Labels) -> tuple[Tensor, Tensor]:
    inputs = (torch.from_numpy(images).float() / 255 - 0.3) / 0.25
    return inputs.flatten(1), torch.from_numpy(labels).long()


def scores(model: nn.Module, inputs: Tensor, truth: Tensor) -> dict[str, float]:
    with torch.no_grad():
        return scores_of_logits(model(inputs), truth)


def scores_of_logits(logits: Tensor, truth: Tensor) -> dict[str, float]:
    chances = logits.double().softmax(dim=1)[range(len(truth)), truth]
    return {
        "loss": float(nn.functional.cross_entropy(logits.double(), truth)),
        "accuracy": float((logits.argmax(dim=1) == truth).double().mean()),
        "mape": float(100 * (1 - chances).abs().mean()),
    }


def norm_of_one_example(model: nn.Module, inputs: Tensor, truth: Tensor) -> float:
    """Compute the root mean square over a batch."""
    squares = []
    for example, label in zip(inputs, truth, strict=True):
        loss = nn.functional.cross_entropy(model(example), label)
        squares.append(flat(torch.autograd.grad(loss, list(model.parameters()))).square().sum())
    return float(torch.stack(squares).mean().sqrt())


class Plain:
    """What one network leaves behind, by epoch, by step, and its parameters at every epoch's end.

    Nothing here knows of the study's code.
    """

    def __init__(
        self,
        prepared: Prepared,
        seed: int,
        *,
        epochs: int,
        rate: float = RATE,
        hidden: tuple[int, int] = (16, 12),
        clip_norm: float | None = None,
        scheduler: Callable[[Optimizer], LRScheduler] = lambda o: LambdaLR(o, lambda _: 1.0),
        each_step: bool = False,
    ) -> None:
        inputs, truth = examples(prepared.train_images, prepared.train_labels)
        validation = examples(prepared.validation_images, prepared.validation_labels)
        test = examples(prepared.test_images, prepared.test_labels)
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(784, hidden[0]),
            nn.ReLU(),
            nn.Linear(*hidden),
            nn.ReLU(),
            nn.Linear(hidden[1], 10),
        )
        optimizer = SGD(model.parameters(), lr=rate)
        schedule = scheduler(optimizer)
        generator = torch.Generator().manual_seed(seed)
        self.epochs, self.steps = [], []
        self.parameters = [[values.detach().clone() for values in model.parameters()]]
        for epoch in range(epochs):
            said = []
            order = torch.randperm(len(truth), generator=generator)
            for batch in order.split(8):
                rate = optimizer.param_groups[0]["lr"]
                logits = model(inputs[batch])
                loss = nn.functional.cross_entropy(logits, truth[batch])
                one = norm_of_one_example(model, inputs[batch], truth[batch])
                optimizer.zero_grad()
                loss.backward()
                layers = [flat([m.weight.grad, m.bias.grad]).norm() for m in model[::2]]
                if clip_norm is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
                gradient = flat(values.grad for values in model.parameters())
                before = flat(model.parameters())
                optimizer.step()
                if each_step:
                    schedule.step()
                said.append(logits.detach())
                self.steps.append(
                    {
                        "loss": float(loss.detach()),
                        "accuracy": float((logits.argmax(dim=1) == truth[batch]).double().mean()),
                        "gradient_norm": float(torch.stack(layers).norm()),
                        "layer_gradient_norm": [float(layer) for layer in layers],
                        "example_gradient_norm": one,
                        "relative_update": float((rate * gradient).norm() / before.norm()),
                    }
                )
            if not each_step:
                schedule.step()
            splits = {
                "train": scores_of_logits(torch.cat(said), truth[order]),
                "validation": scores(model, *validation),
                "test": scores(model, *test),
            }
            self.epochs.append(
                {"seed": seed, "epoch": epoch + 1, "step": STEPS * (epoch + 1)}
                | {"learning_rate": rate}
                | {f"{s}_{name}": v for s in splits for name, v in splits[s].items()}
            )
            self.parameters.append([values.detach().clone() for values in model.parameters()])


RECIPES: dict[str, dict[str, Any]] = {
    "warmup_cosine, clipped": {
        "training": {
            "epochs": 4,
            "clip_norm": 0.8,
            "schedule": {"name": "warmup_cosine", "warmup_epochs": 1.5},
        },
        "scheduler": lambda optimizer: SequentialLR(
            optimizer,
            [
                LinearLR(optimizer, start_factor=1 / 18, total_iters=17),
                CosineAnnealingLR(optimizer, T_max=4 * STEPS - 18),
            ],
            [18],
        ),
        "each_step": True,
    },
    "notebook": {
        "training": {"epochs": 5, "clip_norm": None, "schedule": {"name": "notebook"}},
        "scheduler": lambda o: LambdaLR(o, lambda epoch: 1.0 if epoch < 3 else 0.9),
        "each_step": False,
    },
    "step, loosely clipped": {
        "training": {
            "epochs": 3,
            "clip_norm": 4.0,
            "schedule": {"name": "step", "decay": 0.3, "decay_epochs": 2},
        },
        "scheduler": lambda optimizer: StepLR(optimizer, step_size=2, gamma=0.3),
        "each_step": False,
    },
}


def ran(prepared: Prepared, declared: TrainParams, rate: float = RATE) -> Run:
    splits = splits_of(prepared, declared)
    return train_run(starting_stack(splits, declared), splits, rate, declared, dataset="small")


def condensed(steps: list[dict[str, Any]], quantity: str) -> dict[str, float]:
    values = np.array([step[quantity] for step in steps])
    return {
        f"{quantity}_mean": values.mean(),
        f"{quantity}_median": np.median(values),
        f"{quantity}_p95": np.quantile(values, 0.95),
        f"{quantity}_max": values.max(),
    }


@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_run_is_that_of_a_plain_loop(
    prepared: Prepared, declared: TrainParams, recipe: dict[str, Any]
) -> None:
    training = recipe["training"]
    run = ran(prepared, changed(declared, **training))
    assert tuple(run.history.columns) == tuple(run_files.HISTORY)
    expected = []
    for network, seed in enumerate(declared.seeds):
        plain = Plain(
            prepared,
            seed,
            epochs=training["epochs"],
            clip_norm=training["clip_norm"],
            scheduler=recipe["scheduler"],
            each_step=recipe["each_step"],
        )
        for quantity, array in run.steps.items():
            np.testing.assert_allclose(
                array[:, network], [step[quantity] for step in plain.steps], rtol=1e-3, atol=2e-6
            )
        for epoch, parameters in enumerate(plain.parameters):
            for place, values in enumerate(parameters):
                kind = ("weight", "bias")[place % 2]
                ours = run.parameters[f"{kind}_{place // 2}"][epoch, network]
                theirs = values.T if kind == "weight" else values[None]
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-5)
        for number, row in enumerate(plain.epochs):
            steps = plain.steps[number * STEPS : (number + 1) * STEPS]
            norms, updates = (
                condensed(steps, quantity) for quantity in ("gradient_norm", "relative_update")
            )
            expected.append(row | norms | updates)
    ours = run.history.drop(columns="noise_scale")
    pd.testing.assert_frame_equal(ours, pd.DataFrame(expected), rtol=1e-3, check_dtype=False)


def test_a_batch_larger_than_the_split_is_the_whole_split(
    prepared: Prepared, declared: TrainParams
) -> None:
    whole, larger = (
        ran(prepared, changed(declared, batch_size=size)).history
        for size in (len(prepared.train_labels), 100_000)
    )
    pd.testing.assert_frame_equal(larger, whole, rtol=0)


def test_a_network_that_dies_is_that_of_a_plain_loop_and_disturbs_no_other(
    prepared: Prepared, declared: TrainParams
) -> None:
    """At this rate seed 17 explodes in the second epoch, before its last step; seed 4 does not."""
    rate, rounding = 1.0, 2e-2  # which grows as the network explodes
    declared = declared.model_copy(update={"network": Network(hidden=(64, 48)), "seeds": (4, 17)})
    run = ran(prepared, declared, rate)
    plain = Plain(prepared, 17, rate=rate, hidden=(64, 48), epochs=3)
    losses = np.array([step["loss"] for step in plain.steps])
    died = int(np.argmin(np.isfinite(losses)))
    assert STEPS < died < 2 * STEPS - 1
    for quantity, array in run.steps.items():
        steps = [step[quantity] for step in plain.steps[:died]]
        np.testing.assert_allclose(array[:died, 1], steps, rtol=rounding, err_msg=quantity)
        if quantity != "accuracy":
            assert not np.isfinite(array[died : 2 * STEPS, 1]).any()
        assert np.isnan(array[2 * STEPS :, 1]).all()
    after = [step["accuracy"] for step in plain.steps[died : 2 * STEPS]]
    assert run.steps["accuracy"][died : 2 * STEPS, 1].tolist() == pytest.approx(after)
    history = run.history[run.history["seed"] == 17].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        history[list(plain.epochs[0])], pd.DataFrame(plain.epochs), rtol=rounding, check_dtype=False
    )
    assert history["gradient_norm_max"].notna().tolist() == [True, False, False]
    alone = ran(prepared, declared.model_copy(update={"seeds": (4,)}), rate)
    for quantity, array in alone.steps.items():
        assert np.isfinite(array).all()
        assert np.array_equal(array[:, 0], run.steps[quantity][:, 0])
    for name, values in alone.parameters.items():
        assert np.array_equal(values[:, 0], run.parameters[name][:, 0])


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_a_run_in_blocks_is_the_run_of_the_whole_stack_to_the_byte(
    prepared: Prepared, declared: TrainParams, tmp_path: Path, blocks: int
) -> None:
    """Also with odd batches, where a network's activations begin anywhere in memory."""
    seeds = (9, 2, 5, 1, 7)
    files = []
    for cuts in ([0, 5], [0, *range(5 - blocks + 1, 6)]):
        parts = list(itertools.starmap(slice, itertools.pairwise(cuts)))
        run = run_files.joined([exploding(prepared, declared, seeds[part]) for part in parts])
        target = tmp_path / f"{len(files)}"
        target.mkdir()
        run_files.save(run, target)
        files.append({path.name: path.read_bytes() for path in target.iterdir()})
    assert files[0].keys() == {"run.json", "history.csv", "steps.npz", "parameters.npz"}
    assert files[0] == files[1]
    assert run.facts["seeds"] == list(seeds)
    assert run.history["seed"].tolist() == [seed for seed in seeds for _ in range(3)]
    assert np.isnan(run.steps["loss"]).any(axis=0).tolist() == [seed == 5 for seed in seeds]


def exploding(prepared: Prepared, declared: TrainParams, seeds: tuple[int, ...]) -> Run:
    """Train a block of seeds, of which seed 5 starts from weights that explode."""
    block = declared.model_copy(update={"seeds": seeds})
    splits = splits_of(prepared, block)
    stack = starting_stack(splits, block)
    if 5 in seeds:
        stack.weights[1][seeds.index(5)] *= 1e20
    return train_run(stack, splits, 0.1, block, dataset="small")


def test_the_facts_of_a_run_are_complete(prepared: Prepared, declared: TrainParams) -> None:
    run = ran(prepared, declared)
    assert tuple(run.facts) == tuple(run_files.Facts.model_fields)
    assert run.facts == {
        "dataset": "small",
        "learning_rate": RATE,
        "seeds": [1, 2],
        "epochs": 3,
        "batch_size": 8,
        "steps_per_epoch": STEPS,
        "chance_accuracy": max(np.bincount(prepared.test_labels)) / 28,
    }


def test_the_learning_rate_of_a_run_is_recorded_to_the_last_digit(
    prepared: Prepared, declared: TrainParams
) -> None:
    run = ran(prepared, changed(declared, epochs=4, schedule={"name": "notebook"}))
    assert run.history["learning_rate"].tolist() == [RATE, RATE, RATE, 0.9 * RATE] * 2


def test_chance_is_the_share_of_the_most_frequent_class() -> None:
    assert chance_accuracy(torch.tensor([3, 1, 3, 0, 3, 1, 9, 9])) == 3 / 8


def test_each_network_has_a_rate_of_its_own(prepared: Prepared, declared: TrainParams) -> None:
    splits = splits_of(prepared, declared)
    together = starting_stack(splits, declared)
    rates = torch.tensor([0.05, 0.4], dtype=torch.float64)
    *_, last = train(together, splits, rates, declared)
    assert last.learning_rates.tolist() == [0.05, 0.4]
    for network, (seed, rate) in enumerate(zip((1, 2), (0.05, 0.4), strict=True)):
        one = declared.model_copy(update={"seeds": (seed,)})
        alone = starting_stack(splits, one)
        for _ in train(alone, splits, torch.tensor([rate], dtype=torch.float64), one):
            pass
        for name, values in alone.arrays().items():
            assert np.array_equal(together.arrays()[name][network], values[0])


def test_the_stack_is_at_each_epoch_as_the_epoch_has_left_it(
    prepared: Prepared, declared: TrainParams
) -> None:
    splits = splits_of(prepared, declared)
    stack = starting_stack(splits, declared)
    run = ran(prepared, declared)
    rates = torch.full((2,), RATE, dtype=torch.float64)
    for number, _ in enumerate(train(stack, splits, rates, declared), start=1):
        for name, values in stack.arrays().items():
            assert np.array_equal(values, run.parameters[name][number])
    assert number == 3


def test_a_stack_without_a_living_network_is_scored_all_the_same(
    prepared: Prepared, declared: TrainParams
) -> None:
    splits = splits_of(prepared, declared)
    stack = starting_stack(splits, declared)
    stack.biases[1][:] = torch.nan
    epochs = list(train(stack, splits, torch.tensor([0.1, 0.1]), declared))
    assert len(epochs) == 3
    for epoch in epochs:
        for name, split in (("train", epoch.train), ("test", epoch.test)):
            first_class = (getattr(prepared, f"{name}_labels") == 0).mean()
            assert split.loss.isnan().all()
            assert split.accuracy.tolist() == pytest.approx([first_class] * 2)
        assert epoch.steps.loss.shape == (STEPS, 2)
        assert all(values.isnan().all() for values in vars(epoch.steps).values())


def test_without_a_validation_split_its_columns_are_empty(
    prepared: Prepared, declared: TrainParams
) -> None:
    nothing = replace(
        prepared,
        validation_images=prepared.validation_images[:0],
        validation_labels=prepared.validation_labels[:0],
    )
    history = ran(nothing, declared).history
    empty = [name for name in history if history[name].isna().all()]
    assert empty == ["validation_loss", "validation_accuracy", "validation_mape"]


def test_a_run_does_not_depend_on_the_global_random_state(
    prepared: Prepared, declared: TrainParams
) -> None:
    first = ran(prepared, declared)
    torch.manual_seed(7)
    second = ran(prepared, declared)
    for name, values in first.parameters.items():
        assert np.array_equal(values, second.parameters[name])


def test_a_seed_decides_its_order_whoever_shares_the_stack() -> None:
    together, alone = orders([5, 6], 40), orders([6], 40)
    seen = []
    for _ in range(3):
        both, one = next(together), next(alone)
        assert torch.equal(both[1], one[0])
        assert sorted(one[0].tolist()) == list(range(40))
        assert not torch.equal(both[0], both[1])
        seen.append(tuple(one[0].tolist()))
    assert len(set(seen)) == 3


def test_a_stack_starts_from_its_seeds(prepared: Prepared, declared: TrainParams) -> None:
    stack = starting_stack(splits_of(prepared, declared), declared)
    assert stack.widths == (784, 16, 12, 10)
    for name, values in Stack.initialized((784, 16, 12, 10), [1, 2]).arrays().items():
        assert np.array_equal(stack.arrays()[name], values)
