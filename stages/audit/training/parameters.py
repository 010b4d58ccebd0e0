"""What params.yaml says of the audit."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stages.common.datasets import DatasetName
from stages.common.parameters import (
    Finite,
    Positive,
    Rate,
    Rates,
    Section,
    all_different,
    broken_rule,
)
from stages.training.parameters import ClipNorm, ScheduleName, Seeds

CORE = "core"
"""The recipe of `training` and `normalization`, which the audit's recipes are held against."""

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


class Recipe(Section):
    """A way to train that the audit compares with others; what it leaves out is as in `training`.

    Attributes:
        after: The recipe it differs from in one thing; None: the one before it in the ladder.
        rates: None: the grid.
        start: Whether every rate starts from the seed's own weights, or from those that the rate
            before it in the list has left.
        normalization: By the training split's own statistics, or by the published ones.
    """

    after: Annotated[str | None, Field(description="the name of a recipe, core, or nothing")]
    rates: Annotated[
        Rates | None, Field(description="a list of different rates, or nothing for the grid's")
    ]
    start: Literal["fresh", "carried"]
    normalization: Literal["own", "published"]
    clip_norm: ClipNorm
    schedule: ScheduleName


class FixedNormalization(Section):
    """What pixels, scaled to 0–1, are centred and divided by."""

    mean: Finite
    deviation: Positive


class Search(Section):
    """How the rate is searched for at which a seed stops being trained."""

    low: Rate
    high: Rate
    resolution: Annotated[Finite, Field(gt=1, description="a ratio above 1, such as 1.05")]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise broken_rule(f"low = {self.low:g} is not below high = {self.high:g}")
        return self


class Audit(Section):
    """The published protocol, undone choice by choice."""

    ladder: RecipeNames
    seeds: Seeds
    recipes: Annotated[dict[RecipeName, Recipe], Field(description="recipes by name")]
    published_normalization: Annotated[
        dict[DatasetName, FixedNormalization],
        Field(description="mean and deviation for each dataset that has published ones"),
    ]
    search: Search
    boundaries: RecipeNames

    @model_validator(mode="after")
    def _names_are_defined(self) -> Self:
        if CORE in {*self.ladder, *self.recipes, *self.boundaries}:
            raise broken_rule("core is the recipe of training: leave it out here")
        named = {*self.ladder, *self.boundaries, *(each.after for each in self.recipes.values())}
        unknown = sorted(str(name) for name in named - {CORE, None, *self.recipes})
        if unknown:
            raise broken_rule(
                f"{unknown[0]} is no recipe: give core or one of {', '.join(self.recipes)}"
            )
        return self
