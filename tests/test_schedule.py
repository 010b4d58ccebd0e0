"""Each schedule against the PyTorch scheduler that does the same."""

from collections.abc import Callable

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
    StepLR,
)

from stages.training.parameters import Schedule
from stages.training.schedule import factors

EPOCHS, STEPS = 7, 5
WARMUP = 8  # steps: 1.6 epochs


def warmup(optimizer: Optimizer) -> LRScheduler:
    return LinearLR(optimizer, start_factor=1 / WARMUP, total_iters=WARMUP - 1)


def cosine(optimizer: Optimizer, steps: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, T_max=steps)


@pytest.mark.parametrize(
    ("name", "scheduler", "each_step"),
    [
        ("constant", lambda o: LambdaLR(o, lambda _: 1.0), False),
        ("notebook", lambda o: LambdaLR(o, lambda epoch: 1.0 if epoch < 3 else 0.9), False),
        ("step", lambda o: StepLR(o, step_size=2, gamma=0.3), False),
        ("drop", lambda o: MultiStepLR(o, milestones=[2], gamma=0.3), False),
        ("cosine", lambda o: cosine(o, EPOCHS * STEPS), True),
        ("warmup", warmup, True),
        (
            "warmup_cosine",
            lambda o: SequentialLR(o, [warmup(o), cosine(o, EPOCHS * STEPS - WARMUP)], [WARMUP]),
            True,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")
def test_schedule_is_that_of_torch(
    name: str, scheduler: Callable[[Optimizer], LRScheduler], each_step: bool
) -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = scheduler(optimizer)
    expected = []
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if each_step:
                theirs.step()
        if not each_step:
            theirs.step()
    ours = factors(Schedule(name=name, decay=0.3, decay_epochs=2, warmup_epochs=1.6), EPOCHS, STEPS)
    assert ours.shape == (EPOCHS, STEPS)
    assert ours.flatten().tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["warmup", "warmup_cosine"])
def test_a_warm_up_takes_at_least_one_step(name: str) -> None:
    schedule = Schedule(name=name, decay=0.3, decay_epochs=2, warmup_epochs=0.01)
    assert factors(schedule, EPOCHS, STEPS)[0, 0] == 1


def test_a_warm_up_may_last_to_the_end() -> None:
    schedule = Schedule(name="warmup_cosine", decay=0.3, decay_epochs=2, warmup_epochs=2)
    expected = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1]
    assert factors(schedule, 2, 4).flatten().tolist() == expected
