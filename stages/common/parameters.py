"""Reading params.yaml: each layer declares the part that it reads and is handed that part."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode

from stages.common.datasets import DatasetName
from stages.common.errors import UserError, one_line

Declared = TypeVar("Declared", bound=BaseModel)

CANDIDATE = "candidate"
"""The folder of the runs at the rate `lr`. A grid rate's folder has the rate as its name."""
LARGEST_RATE, RATE_DIGITS = 1_000_000, 6
"""A rate names a folder, so it has few digits: as many as tables show."""
MOST_RATES = 100
"""DVC takes a second per rate to read its pipeline."""
MOST_KEYS = 10_000
"""Most keys of one section, merged keys (`<<`) included: nested aliases can multiply them."""
SHOWN = 80
"""Characters of a wrong value that a message repeats."""
NOT_FINITE = {"NaN": ".nan", "Infinity": ".inf", "-Infinity": "-.inf"}
"""How Python's JSON writes a number → how YAML writes it."""


def broken_rule(message: str) -> PydanticCustomError:
    """Make the error of a rule that a type alone does not express; the message says what to do."""
    return PydanticCustomError("rule", "{message}", {"message": message})


def all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a list as it is.

    Raises:
        PydanticCustomError: A value appears twice; 1 and 1.0 are the same value.
    """
    seen = set()
    for value in values:
        if value in seen:
            raise broken_rule(f"{value} appears twice")
        seen.add(value)
    return values


def _rate(value: Any) -> int | float:
    """Keep an integer an integer: DVC names the folder of rate 1 "1", and that of 1.0 "1.0"."""
    if (
        type(value) not in (int, float)
        or not 0 < value <= LARGEST_RATE
        or float(f"{value:.{RATE_DIGITS}g}") != value
    ):
        raise ValueError  # without the value, which pydantic would write out at any length
    return value  # type: ignore[no-any-return]


Positive = Annotated[
    float,
    Field(strict=True, allow_inf_nan=False, gt=0, description="a finite number above 0"),
]
Rate = Annotated[
    int | float,
    PlainValidator(_rate),
    Field(
        description=f"a number above 0 and at most {LARGEST_RATE}, of at most {RATE_DIGITS} "
        "digits, such as 0.3"
    ),
]
Rates = Annotated[
    tuple[Rate, ...],
    AfterValidator(all_different),
    Field(
        min_length=1,
        max_length=MOST_RATES,
        description=f"a list of 1 to {MOST_RATES} different rates, such as [0.1, 0.2]",
    ),
]
Share = Annotated[
    float, Field(strict=True, ge=0, lt=1, description="a number from 0 up to, not including, 1")
]
Count = Annotated[
    int, Field(strict=True, ge=1, le=100_000, description="a whole number from 1 to 100000")
]
"""Of epochs or examples. The largest dataset trains on 60,000 examples."""
Seed = Annotated[
    int, Field(strict=True, ge=0, lt=2**32, description="a whole number from 0 to 4294967295")
]
Datasets = Annotated[
    tuple[DatasetName, ...],
    AfterValidator(all_different),
    Field(
        min_length=1,
        description="a list of different datasets out of mnist, fashion_mnist, kmnist, digits",
    ),
]


class Section(BaseModel):
    """A part of params.yaml; a key that it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(Section):
    """How the training archive is divided."""

    validation_fraction: Share
    seed: Seed


class _Constructor(SafeConstructor):
    """Constructs what DVC constructs, except very long numbers, on which Python raises an error."""

    def construct_yaml_int(self, node: ScalarNode) -> Any:
        """Leave a number of more than 100 digits as text, which the check of its key refuses."""
        return node.value if len(node.value) > 100 else super().construct_yaml_int(node)

    def flatten_mapping(self, node: MappingNode) -> Any:
        """Refuse a section with too many keys before other sections merge it."""
        merged = super().flatten_mapping(node)
        if len(node.value) > MOST_KEYS:
            problem = f"more than {MOST_KEYS} keys are merged"
            raise ConstructorError(problem=problem, problem_mark=node.start_mark)
        return merged


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)
for _tag in ("set", "binary"):
    # A list would take them in; DVC's lists do not.
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_tag}", _Constructor.construct_undefined)


def read_yaml(path: Path) -> dict[Any, Any]:
    """Read params.yaml, unchecked, as DVC reads it: YAML 1.2, in which 1e-05 is a number.

    Raises:
        UserError: It is absent, cannot be read, is not valid YAML, or is not a mapping.
    """
    reader = YAML(typ="safe")
    reader.Constructor = _Constructor
    try:
        content = reader.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run from the project's top folder") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): restore it with git restore {path}"
        ) from None
    except (YAMLError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid YAML ({_told(error)}): "
            f"fix it, or restore it with git restore {path}"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no parameters: restore it with git restore {path}")
    return content


def read_params(declared: type[Declared], path: Path) -> Declared:
    """Check and hand over the sections that a stage declares and no others.

    Args:
        declared: A model whose fields are keys of params.yaml; dvc.yaml must list the same.
        path: params.yaml.

    Raises:
        UserError: What is wrong first in those sections: the key, its value and what to write.
    """
    content = read_yaml(path)
    chosen = {key: value for key, value in content.items() if key in declared.model_fields}
    return checked(declared, chosen, path)


def checked(declared: type[Declared], content: dict[Any, Any], path: Path) -> Declared:
    """Check what params.yaml holds.

    Raises:
        UserError: What is wrong first: the key, its value and what to write.
    """
    try:
        return declared.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # A misspelt key is reported as unknown and as missing: tell the user about the spelling.
    unknown = [each for each in problems if each["type"] in ("extra_forbidden", "invalid_key")]
    raise UserError(one_line(f"{path}: {_problem([*unknown, *problems][0], declared)}"))


def _told(error: Exception) -> str:
    """Say what a reader of YAML found, and where."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return one_line(f"line {error.problem_mark.line + 1}: {error.problem}")
    return one_line(error)


def _problem(problem: ErrorDetails, declared: type[BaseModel]) -> str:
    """Say which key is wrong, what it holds and what it may hold."""
    place, kind, value = problem["loc"], problem["type"], problem["input"]
    if place[-1:] == ("[key]",):
        *above, key, _ = place
        return f"unknown key {_dotted([*above, key])}: give {_allowed(declared, [*above, '[key]'])}"
    if kind in ("extra_forbidden", "invalid_key"):
        known = _keys(_field(declared, place[:-1]))
        return f"unknown key {_dotted(place)}: the keys known here are {known}"
    if kind == "missing":
        return f"{_dotted(place)} is missing: give {_allowed(declared, place)}"
    if kind == "rule" and isinstance(value, dict):
        # Each key is valid by itself, but the combination is not.
        return f"{_dotted(place)}: {problem['msg']}".removeprefix(": ")
    reason = f"{problem['msg']}; " if kind == "rule" else ""
    return f"{_dotted(place)} = {_shown(value)}: {reason}give {_allowed(declared, place)}"


def _dotted(place: Sequence[int | str]) -> str:
    return ".".join(map(str, place))


def _shown(value: Any) -> str:
    """Show a value on one line, cut to `SHOWN` characters, with NaN and infinity as in YAML."""
    text = ""
    encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, skipkeys=True, default=str)
    for part in encoder.iterencode(value):
        text += NOT_FINITE.get(part, part)
        if len(text) > SHOWN:
            return f"{text[:SHOWN]}…"
    return text


def _allowed(declared: type[BaseModel], place: Sequence[int | str]) -> str:
    """Say what a place in params.yaml may hold."""
    field = _field(declared, place)
    if get_origin(field.annotation) is Literal:
        return f"one of {', '.join(get_args(field.annotation))}"
    return str(field.description or f"a section with the keys {_keys(field)}")


def _keys(section: FieldInfo) -> str:
    model: Any = section.annotation
    return ", ".join(model.model_fields)


def _field(declared: type[BaseModel], place: Sequence[int | str]) -> FieldInfo:
    """Find the declaration of a place in params.yaml."""
    field = FieldInfo.from_annotation(declared)
    for part in place:
        field = _inside(field.annotation, part)
    return field


def _inside(annotation: Any, part: int | str) -> FieldInfo:
    """Find the declaration of a part of a section, of a mapping or of a list."""
    kinds = get_args(annotation)
    if NoneType in kinds:
        return _inside(FieldInfo.from_annotation(kinds[0]).annotation, part)
    if get_origin(annotation) is dict:
        return FieldInfo.from_annotation(kinds[0] if part == "[key]" else kinds[1])
    if get_origin(annotation) is tuple:
        return FieldInfo.from_annotation(kinds[0])
    fields: dict[int | str, FieldInfo] = annotation.model_fields
    return fields[part]
