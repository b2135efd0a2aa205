"""Kinds of values that keys of a config take: how they are written, and what is refused."""

import re
from decimal import Decimal, InvalidOperation
from os import PathLike
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from factory import storage
from factory.errors import UserError

MAX_COUNT = 2**48
MAX_IMAGE_SIZE = 4096
TOY = "toy"
_COUNT = r"((?:0|[1-9][0-9]*(?:_[0-9]+)*)(?:\.[0-9]+)?(?:[eE]\+?[0-9]{1,2})?)([kMG]?)"
_SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9}


def parse_count(value: object) -> int:
    """A whole number >= 1 as people write it: 1000, 1_000, 1e6, 10k, 1M.

    Raises ValueError quoting anything else.
    """
    text = str(value).strip()
    match = re.fullmatch(_COUNT, text)
    refusal = f"must be a whole number >= 1 (such as 1000, 1e6, 10k), got {text!r}"
    if match is None or isinstance(value, bool):
        raise ValueError(refusal)
    try:
        number = Decimal(match[1].replace("_", "")) * _SUFFIXES.get(match[2], 1)
    except InvalidOperation:
        raise ValueError(refusal) from None
    if number != number.to_integral_value() or not 1 <= number <= MAX_COUNT:
        raise ValueError(refusal)
    return int(number)


def parse_url(value: object) -> str:
    if not isinstance(value, str | PathLike):
        raise _unquoted(f"must be a path or a URL, got a value of type {type(value).__name__}")
    try:
        return storage.normalize(str(value))
    except UserError as error:
        raise _unquoted(str(error)) from None


def _folder(value: object) -> str:
    """A folder of each machine: one below ~ is below the home folder there."""
    if isinstance(value, str) and value.startswith("~"):
        return value
    place = parse_url(value)
    if not storage.is_local(place):
        raise _unquoted("must be a folder of each machine, not a URL")
    return place


def _model_url(value: object) -> str:
    return TOY if value == TOY else parse_url(value)


def _unquoted(problem: str) -> PydanticCustomError:
    """An error of a type of its own: the value may hold a secret, and is not told."""
    return PydanticCustomError("url", "{problem}", {"problem": problem})


def schedulable(value: float) -> float:
    if 0 < value < 1e-4:
        raise ValueError(f"must be at least 0.0001, which is as fine as Ray counts, got {value:g}")
    return value


def gpus(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError(
            "must be at most 1, or whole: an actor uses one GPU, of which several may have a "
            f"share each, got {value:g}"
        )
    return value


def some(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values:
        raise ValueError("must name at least one")
    return values


Count = Annotated[int, BeforeValidator(parse_count)]
Width = Annotated[Count, Field(le=2**14)]
Ordinal = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Url = Annotated[str, BeforeValidator(parse_url)]
Folder = Annotated[str, BeforeValidator(_folder)]
ModelUrl = Annotated[str, BeforeValidator(_model_url)]
"""A place, or `toy` for the embedded model; a folder of that name is ./toy."""


class Section(BaseModel):
    """Frozen, and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)
