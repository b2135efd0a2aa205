"""The types of keys of a config: how their values are written, and which are refused."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from functools import partial
from os import PathLike
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from factory import storage
from factory.errors import UserError

MAX_COUNT = 2**48
MAX_IMAGE_SIZE = 4096
TOY = "toy"
MIDDLE_BLOCK = -1
"""The number of a network's middle block, which comes before decoder block 0. What people read and
write calls it by its word."""
_MIDDLE = "middle"
EMBEDDED = (TOY, "toy64")
"""The names of the models that ship with the package."""
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


def what_is_wrong(problem: Mapping[str, Any]) -> str:
    """The message of a problem that pydantic found, in words that people who write YAML know."""
    message: str = problem["msg"]
    return message.removeprefix("Value error, ").replace("valid tuple", "list")


def parse_url(value: object) -> str:
    """A path or URL as `storage.normalize` spells it. Raises PydanticCustomError."""
    if not isinstance(value, str | PathLike):
        raise unquoted(f"must be a path or a URL, got a value of type {type(value).__name__}")
    try:
        return storage.normalize(str(value))
    except UserError as error:
        raise unquoted(str(error)) from None


def _folder(value: object) -> str:
    """A folder that exists on each machine; `~` stays, as each machine has its own home folder."""
    if isinstance(value, str) and value.startswith("~"):
        return value
    path = parse_url(value)
    if not storage.is_local(path):
        raise unquoted("must be a folder of each machine, not a URL")
    return path


def _model_url(value: object) -> str:
    """A path or URL, or an embedded model's name. Raises PydanticCustomError."""
    return str(value) if value in EMBEDDED else parse_url(value)


def unquoted(problem: str) -> PydanticCustomError:
    """An error of a type of its own, which omits the value: it may hold a secret, or be long."""
    return PydanticCustomError("url", "{problem}", {"problem": problem})


def schedulable(value: float) -> float:
    """A share of a CPU or GPU that Ray can count. Raises ValueError for finer ones."""
    if 0 < value < 1e-4:
        raise ValueError(f"must be at least 0.0001, which is as fine as Ray counts, got {value:g}")
    return value


def gpus(value: float) -> float:
    """A share of one GPU, or a number of GPUs. Raises ValueError for anything between."""
    if value > 1 and value != int(value):
        raise ValueError(
            "must be at most 1, or whole: an actor uses one GPU, of which several may have a "
            f"share each, got {value:g}"
        )
    return value


def _no_boolean(value: object) -> object:
    """What is no boolean, which pydantic would take for 1 or 0. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _share(value: object, example: str, without: str) -> float:
    """A share above 0 and below 1. Raises ValueError quoting anything else.

    example: one, and what it means; without: what to do for none.
    """
    number = math.nan
    if not isinstance(value, bool):
        with suppress(TypeError, ValueError):
            number = float(value)  # type: ignore[arg-type]  # what is no number raises
    if not 0 < number < 1:
        raise ValueError(
            f"must be a share above 0 and below 1, such as {example}, got {str(value)!r}. {without}"
        )
    return number


def share(example: str, without: str) -> BeforeValidator:
    """The validator of a share above 0 and below 1, with the words that fit its key."""
    return BeforeValidator(partial(_share, example=example, without=without))


def some(values: tuple[int, ...]) -> tuple[int, ...]:
    """A list that is not empty. Raises ValueError."""
    if not values:
        raise ValueError("must name at least one")
    return values


def _block(value: object, number: ValidatorFunctionWrapHandler) -> int:
    """The number of a block. Raises ValueError for anything else than a number or the word."""
    if value == _MIDDLE:
        return MIDDLE_BLOCK
    try:
        block: int = number(value)
    except ValidationError:
        raise ValueError(
            f"must be the number of a decoder block, 0 or more, or {_MIDDLE}, got {str(value)!r}"
        ) from None
    return block


def block_word(block: int) -> int | str:
    """A block as it is written: its number, or the word for the middle block."""
    return _MIDDLE if block == MIDDLE_BLOCK else block


Count = Annotated[int, BeforeValidator(parse_count)]
Width = Annotated[Count, Field(le=2**14)]
Ordinal = Annotated[int, Field(ge=0), BeforeValidator(_no_boolean)]
Block = Annotated[Ordinal, WrapValidator(_block), PlainSerializer(block_word)]
"""A block of a network, by its number; it is read and written as `block_word` has it."""
Seed = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_no_boolean)]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_no_boolean)]
"""A finite number; no boolean."""
Positive = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Url = Annotated[str, BeforeValidator(parse_url)]
Folder = Annotated[str, BeforeValidator(_folder)]
ModelUrl = Annotated[str, BeforeValidator(_model_url)]
"""A path or URL, or `toy` or `toy64` for the embedded models; a folder of that name is ./toy."""


class Section(BaseModel):
    """A section of a config: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)
