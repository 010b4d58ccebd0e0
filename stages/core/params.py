"""What params.yaml may say. The whole file is checked whenever a stage reads its part of it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from stages.core.datasets import DatasetName
from stages.core.errors import UserError

Declared = TypeVar("Declared", bound=BaseModel)


def _number(value: Any) -> Any:
    """Read a number that DVC wrote in a form PyYAML takes for a string, such as 1e-05."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "not a number")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise PydanticCustomError("number", "not a number") from None
    return value


def _all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise PydanticCustomError("duplicate", "{value} appears twice", {"value": value})
    return values


Finite = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Positive = Annotated[Finite, Field(gt=0)]


def _rate(value: Any) -> int | float:
    """Keep an integer one: DVC names the folder of rate 1 "1" and that of 1.0 "1.0"."""
    number = _number(value)
    if not isinstance(number, int | float):
        raise PydanticCustomError("number", "not a number")
    if not (math.isfinite(number) and number > 0):
        raise PydanticCustomError("rate", "not a finite number above 0")
    return number


Rate = Annotated[
    int | float,
    PlainValidator(_rate),
    Field(description="a finite number above 0, such as 0.3"),
]
Share = Annotated[
    float,
    BeforeValidator(_number),
    Field(ge=0, lt=1, description="a number from 0 up to, not including, 1"),
]
Count = Annotated[int, Field(strict=True, ge=1, description="a whole number, 1 or more")]
Seed = Annotated[
    int, Field(strict=True, ge=0, lt=2**32, description="a whole number from 0 to 4294967295")
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(_Section):
    """How the training archive is divided."""

    validation_fraction: Share
    seed: Seed


class Network(_Section):
    """The shape between the pixels and the ten classes."""

    hidden: Annotated[
        tuple[Count, ...], Field(min_length=1, description="a list of widths, such as [256, 128]")
    ]


class Normalization(_Section):
    """What pixels, scaled to 0–1, are centred and divided by; null: the training split's own."""

    mean: Annotated[
        Finite | None,
        Field(description="a finite number, or null"),
    ]
    deviation: Annotated[
        Positive | None,
        Field(description="a finite number above 0, or null"),
    ]

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.mean is None) != (self.deviation is None):
            raise PydanticCustomError("pair", "give both mean and deviation, or null for both")
        return self


ScheduleName = Annotated[
    Literal["constant", "notebook", "step", "cosine", "warmup", "warmup_cosine"],
    Field(description="one of constant, notebook, step, cosine, warmup, warmup_cosine"),
]
ClipNorm = Annotated[
    Positive | None, Field(description="a number above 0, or null for no clipping")
]
Rates = Annotated[
    tuple[Rate, ...],
    AfterValidator(_all_different),
    Field(min_length=1, description="a list of different rates, such as [0.1, 0.2]"),
]


class Schedule(_Section):
    """How the learning rate changes as training goes on."""

    name: ScheduleName
    decay: Annotated[
        Positive,
        Field(le=1, description="a number above 0, at most 1"),
    ]
    decay_epochs: Count
    warmup_epochs: Annotated[
        Positive,
        Field(description="a number of epochs above 0"),
    ]


class Training(_Section):
    """The recipe every learning rate is trained with."""

    epochs: Count
    batch_size: Count
    clip_norm: ClipNorm
    schedule: Schedule

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        warms = self.schedule.name.startswith("warmup")
        if warms and self.schedule.warmup_epochs > self.epochs:
            raise PydanticCustomError(
                "warmup",
                "a warm-up of {warmup} epochs is longer than the training ({epochs} epochs)",
                {"warmup": self.schedule.warmup_epochs, "epochs": self.epochs},
            )
        return self


class EarlyValidation(_Section):
    """Validation at a finer interval than an epoch, while most of the learning happens."""

    epochs: Annotated[
        int, Field(strict=True, ge=0, description="a whole number of epochs, 0 for none")
    ]
    every_steps: Count


class Compute(_Section):
    """What the arithmetic runs on."""

    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], Field(description="one of auto, cpu, cuda, mps")
    ]
    threads: Count


class Diagnose(_Section):
    """What is measured of the weights that training kept."""

    examples: Count
    every_epochs: Count
    tolerance: Annotated[
        Positive, Field(lt=1, description="a number above 0 and below 1, such as 0.01")
    ]


class Aggregate(_Section):
    """How the tables are made."""

    threshold_accuracy: Annotated[
        dict[DatasetName, Share],
        Field(description="a validation accuracy, 0 to 1, for each known dataset"),
    ]
    trained_accuracy: Share


CORE = "core"
"""The recipe of `training` and `normalization`, which the audit's recipes are held against."""

RecipeName = Annotated[
    str,
    Field(
        pattern="^[a-z][a-z0-9_]*$",
        description="a name of lower-case letters, digits and underscores",
    ),
]


class Recipe(_Section):
    """A way to train that the audit compares with others; what it leaves out is as in `training`.

    Attributes:
        after: The recipe it differs from in one thing; null: the one before it in the ladder.
        rates: null: the grid.
        start: Whether every rate starts from the seed's own weights, or from those that the rate
            before it in the list has left.
        normalization: By the training split's own statistics, or by the published ones.
    """

    after: Annotated[str | None, Field(description="the name of a recipe, core, or null")]
    rates: Annotated[
        Rates | None, Field(description="a list of different rates, or null for the grid's")
    ]
    start: Annotated[Literal["fresh", "carried"], Field(description="fresh or carried")]
    normalization: Annotated[Literal["own", "published"], Field(description="own or published")]
    clip_norm: ClipNorm
    schedule: ScheduleName


class FixedNormalization(_Section):
    """What pixels, scaled to 0–1, are centred and divided by."""

    mean: Annotated[Finite, Field(description="a finite number")]
    deviation: Annotated[Positive, Field(description="a finite number above 0")]


class Search(_Section):
    """How the rate is searched for at which a seed stops being trained."""

    low: Annotated[Positive, Field(description="a rate above 0")]
    high: Annotated[Positive, Field(description="a rate above low")]
    resolution: Annotated[Finite, Field(gt=1, description="a ratio above 1, such as 1.05")]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise PydanticCustomError("order", "low must be below high")
        return self


class Audit(_Section):
    """The published protocol, undone choice by choice."""

    ladder: Annotated[
        tuple[RecipeName, ...],
        AfterValidator(_all_different),
        Field(min_length=1, description="a list of different names of recipes"),
    ]
    recipes: Annotated[dict[RecipeName, Recipe], Field(description="recipes by name")]
    published_normalization: Annotated[
        dict[DatasetName, FixedNormalization],
        Field(description="mean and deviation for each dataset that has published ones"),
    ]
    search: Search
    boundaries: Annotated[
        tuple[RecipeName, ...],
        AfterValidator(_all_different),
        Field(min_length=1, description="a list of different names of recipes"),
    ]

    @model_validator(mode="after")
    def _names_are_defined(self) -> Self:
        known = {CORE, *self.recipes}
        named = {*self.ladder, *self.boundaries}
        named |= {recipe.after for recipe in self.recipes.values() if recipe.after is not None}
        if CORE in {*self.ladder, *self.recipes, *self.boundaries}:
            raise PydanticCustomError("core", "core is the recipe of training, not one of these")
        for name in sorted(named - known):
            raise PydanticCustomError("recipe", "{name} is none of the recipes", {"name": name})
        return self


class Params(_Section):
    """The whole of params.yaml."""

    lr: Rate
    learning_rates: Rates
    datasets: Annotated[
        tuple[
            Annotated[DatasetName, Field(description="mnist, fashion_mnist, kmnist or digits")],
            ...,
        ],
        AfterValidator(_all_different),
        Field(min_length=1, description="a list of mnist, fashion_mnist, kmnist, digits"),
    ]
    seeds: Annotated[
        tuple[Seed, ...],
        AfterValidator(_all_different),
        Field(min_length=1, description="a list of different whole numbers, such as [42, 43]"),
    ]
    split: Split
    network: Network
    normalization: Normalization
    training: Training
    early_validation: EarlyValidation
    compute: Compute
    diagnose: Diagnose
    aggregate: Aggregate
    audit: Audit

    @model_validator(mode="after")
    def _every_dataset_has_a_threshold(self) -> Self:
        for dataset in self.datasets:
            if dataset not in self.aggregate.threshold_accuracy:
                raise PydanticCustomError(
                    "threshold",
                    "aggregate.threshold_accuracy has no entry for {dataset}, one of the datasets",
                    {"dataset": dataset},
                )
        return self


def load(declared: type[Declared], path: Path) -> Declared:
    """Check the whole file, then hand over the sections a stage declares and no others.

    Args:
        declared: A model whose fields are some of those of `Params`; dvc.yaml must list the same.
        path: params.yaml.

    Raises:
        UserError: What is wrong first in the file, with the key, its value and what to write.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run from the project's top folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML ({reason}): mend or restore it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no parameters: restore it, say with git checkout {path}")
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error)}") from None
    return declared.model_validate({name: getattr(params, name) for name in declared.model_fields})


def _first_problem(error: ValidationError) -> str:
    """Say in one line which key is wrong, what it holds and what it may hold."""
    problems = error.errors(include_url=False)
    # A misspelt key is also a missing one; the spelling is what to tell.
    unknown = (each for each in problems if each["type"] == "extra_forbidden")
    problem = next(unknown, problems[0])
    place = [part for part in problem["loc"] if part not in ("int", "float")]
    key = ".".join(str(part) for part in place)
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_fields(place[:-1]))
        return f"unknown key {key}: the keys known here are {known}"
    allowed = _description(place)
    if problem["type"] == "missing":
        return f"{key} is missing: give {allowed}"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return message
    if isinstance(problem["input"], dict | BaseModel):
        # What is wrong is how the parts of a section go together.
        return f"{key}: {message}"
    return f"{key} = {_shown(problem['input'])}: {message}" + f"; give {allowed}" * bool(allowed)


def _shown(value: Any) -> str:
    """Show a value as YAML would, on one line."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return (
        yaml.safe_dump(
            list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=10**6
        )
        .strip()
        .removesuffix("...")
        .strip()
    )


def _fields(place: Sequence[Any]) -> Sequence[str]:
    model: Any = Params
    for part in place:
        model = _inside(model, part)
    return tuple(model.model_fields)


def _inside(annotation: Any, part: Any) -> Any:
    """Find the type of a part of a section or of a mapping; None for a part of anything else."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    field = getattr(annotation, "model_fields", {}).get(part)
    return field and field.annotation


def _description(place: Sequence[Any]) -> str:
    """Find what the innermost described field on the way to `place` may hold."""
    model: Any = Params
    described = ""
    for part in place:
        field = getattr(model, "model_fields", {}).get(part)
        described = (field and field.description) or described
        model = _inside(model, part)
    if hasattr(model, "model_fields"):
        return f"a section with the keys {', '.join(_fields(place))}"
    return described
