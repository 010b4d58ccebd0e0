"""What params.yaml says about the audit."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stages.common.datasets import DatasetName
from stages.common.parameters import (
    Count,
    Positive,
    Rates,
    Section,
    Seed,
    Share,
    all_different,
    broken_rule,
)
from stages.training.parameters import Decay, Deviation, Mean, ScheduleName

RecipeName = Annotated[
    str,
    Field(
        pattern="^[a-z][a-z0-9_]{0,49}$",
        description="a name of up to 50 lower-case letters, digits and underscores",
    ),
]
RecipeNames = Annotated[
    tuple[RecipeName, ...],
    AfterValidator(all_different),
    Field(min_length=1, description="a list of different names of recipes"),
]
Groups = Annotated[
    tuple[Seed, ...],
    AfterValidator(all_different),
    Field(
        min_length=1,
        max_length=100,
        description="a list of different first seeds, such as [1000, 1010]",
    ),
]
CountOrNothing = Annotated[
    Count | None, Field(description="a whole number from 1 to 100000, or nothing")
]


class Recipe(Section):
    """A way to train that the audit compares with others; what it leaves out is as in `training`.

    Attributes:
        rates: None: those of the audit.
        start: Whether every rate starts from the seed's own weights, or from those that the rate
            before it in the list has left.
        normalization: By the training split's own statistics, or by the published ones.
        units: Whether hidden units start in the order in which they were drawn, or in another.
        by_epoch: Whether the parameters after every epoch are kept and measured.
    """

    rates: Annotated[
        Rates | None,
        Field(description="a list of different rates, or nothing for those of the audit"),
    ] = None
    start: Literal["fresh", "carried"] = "fresh"
    normalization: Literal["own", "published"] = "own"
    units: Literal["drawn", "permuted"] = "drawn"
    by_epoch: Annotated[bool, Field(strict=True, description="true or false")] = False
    epochs: CountOrNothing = None
    batch_size: CountOrNothing = None
    clip_norm: Annotated[
        Positive | None, Field(description="a finite number above 0, or nothing")
    ] = None
    schedule: Annotated[
        ScheduleName | None, Field(description="the name of a schedule, or nothing")
    ] = None
    decay: Annotated[
        Decay | None, Field(description="a number above 0 and at most 1, or nothing")
    ] = None
    decay_epochs: CountOrNothing = None


class FixedNormalization(Section):
    """What pixels, scaled to 0–1, are centred and divided by."""

    mean: Mean
    deviation: Deviation


class Audit(Section):
    """The recipes: some undo the published protocol's choices, others explain the results."""

    rates: Rates
    groups: Groups
    networks: Annotated[
        int, Field(strict=True, ge=1, le=1000, description="a whole number from 1 to 1000")
    ]
    ladder: RecipeNames
    apart: RecipeNames
    recipes: Annotated[dict[RecipeName, Recipe], Field(description="recipes by name")]
    published_normalization: Annotated[
        dict[DatasetName, FixedNormalization],
        Field(description="mean and deviation for each dataset that has published ones"),
    ]
    lower_threshold_accuracy: Annotated[
        dict[DatasetName, Share],
        Field(description="an accuracy, 0 to 1, for each known dataset"),
    ]

    @model_validator(mode="after")
    def _names_are_defined(self) -> Self:
        if twice := sorted({*self.ladder} & {*self.apart}):
            raise broken_rule(f"{twice[0]} is in both ladder and apart: name it in one of them")
        if unknown := sorted({*self.ladder, *self.apart} - {*self.recipes}):
            raise broken_rule(
                f"{unknown[0]} is not a recipe: give one of {', '.join(self.recipes)}"
            )
        return self

    @model_validator(mode="after")
    def _groups_are_apart(self) -> Self:
        first, *others = sorted(self.groups)
        for other in others:
            if other < first + self.networks:
                raise broken_rule(
                    f"groups {first} and {other} share seeds, as each has {self.networks}: "
                    f"give first seeds that are further apart"
                )
            first = other
        if first + self.networks > 2**32:
            raise broken_rule(
                f"group {first} has seeds above 4294967295, as each has {self.networks}: "
                f"give a smaller first seed"
            )
        return self
