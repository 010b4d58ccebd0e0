"""What params.yaml says about training."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from stages.common.parameters import (
    Count,
    Positive,
    Rate,
    Section,
    Seed,
    all_different,
    broken_rule,
)

Seeds = Annotated[
    tuple[Seed, ...],
    AfterValidator(all_different),
    Field(
        min_length=1,
        max_length=1000,
        description="a list of 1 to 1000 different whole numbers, such as [42, 43]",
    ),
]
Width = Annotated[
    int, Field(strict=True, ge=1, le=10_000, description="a whole number from 1 to 10000")
]
"""Two layers of 10,000 units already have 100 million weights (400 MB) between them."""
Device = Literal["auto", "cpu", "cuda", "mps"]
ScheduleName = Literal["constant", "notebook", "step", "drop", "cosine", "warmup", "warmup_cosine"]
Decay = Annotated[Positive, Field(le=1, description="a number above 0 and at most 1")]
ClipNorm = Annotated[
    Positive | None, Field(description="a finite number above 0, or nothing for no clipping")
]


Mean = Annotated[
    float, Field(strict=True, ge=-1000, le=1000, description="a number from -1000 to 1000")
]
"""Of pixels scaled to 0–1. Wider bounds would let normalized pixels overflow."""
Deviation = Annotated[
    float, Field(strict=True, ge=0.001, le=1000, description="a number from 0.001 to 1000")
]


class Network(Section):
    """The shape between the pixels and the ten classes."""

    hidden: Annotated[
        tuple[Width, ...],
        Field(
            min_length=1,
            max_length=100,
            description="a list of 1 to 100 widths, such as [256, 128]",
        ),
    ]


class Normalization(Section):
    """Mean and deviation that normalize pixels scaled to 0–1; None: the training split's own."""

    mean: Annotated[Mean | None, Field(description="a number from -1000 to 1000, or nothing")]
    deviation: Annotated[
        Deviation | None, Field(description="a number from 0.001 to 1000, or nothing")
    ]

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.mean is None) != (self.deviation is None):
            raise broken_rule("give both mean and deviation, or neither")
        return self


class Schedule(Section):
    """How the learning rate changes as training goes on."""

    name: ScheduleName
    decay: Decay
    decay_epochs: Count
    warmup_epochs: Positive


class Training(Section):
    """The recipe every learning rate is trained with."""

    epochs: Count
    batch_size: Count
    clip_norm: ClipNorm
    schedule: Schedule

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        warmup = self.schedule.warmup_epochs
        if self.schedule.name.startswith("warmup") and warmup > self.epochs:
            raise broken_rule(
                f"schedule.warmup_epochs = {warmup:g} is longer than the training: "
                f"give at most {self.epochs}, its epochs"
            )
        return self


class TrainParams(BaseModel):
    """The part of params.yaml that training a rate of the grid reads."""

    seeds: Seeds
    network: Network
    normalization: Normalization
    training: Training
    device: Device


class CandidateParams(TrainParams):
    """The part of params.yaml that training the candidate reads."""

    lr: Rate
