"""What the learning rate is multiplied by at each step of a run."""

import torch
from torch import Tensor

from stages.training.parameters import Schedule

NOTEBOOK_HOLD_EPOCHS, NOTEBOOK_FACTOR = 3, 0.9


def factors(schedule: Schedule, epochs: int, steps: int) -> Tensor:
    """Compute the factor on the learning rate at each step.

    Args:
        schedule: Which curve, and its settings.
        epochs: Length of the run.
        steps: Steps in one epoch.

    Returns:
        (epochs, steps), float64. As in PyTorch, where `notebook` is a LambdaLR, `step` a StepLR and
        `drop` a MultiStepLR, advanced once per epoch; `cosine` is a CosineAnnealingLR, `warmup` a
        LinearLR and `warmup_cosine` a SequentialLR of these two, advanced once per step.
    """
    epoch = torch.arange(epochs, dtype=torch.float64)[:, None].expand(epochs, steps)
    step = torch.arange(epochs * steps, dtype=torch.float64).view(epochs, steps)
    warmup_steps = max(1, round(schedule.warmup_epochs * steps))
    warmup = ((step + 1) / warmup_steps).clamp(max=1)
    match schedule.name:
        case "constant":
            return torch.ones_like(step)
        case "notebook" | "drop":
            held, factor = schedule.decay_epochs, schedule.decay
            if schedule.name == "notebook":
                held, factor = NOTEBOOK_HOLD_EPOCHS, NOTEBOOK_FACTOR
            return torch.ones_like(step).where(epoch < held, factor)
        case "step":
            return schedule.decay ** (epoch // schedule.decay_epochs)
        case "cosine":
            return _half_cosine(step / step.numel())
        case "warmup":
            return warmup
        case "warmup_cosine":
            rest = max(1, step.numel() - warmup_steps)
            return torch.where(
                step < warmup_steps, warmup, _half_cosine((step - warmup_steps) / rest)
            )


def _half_cosine(progress: Tensor) -> Tensor:
    return (1 + torch.cos(torch.pi * progress)) / 2
