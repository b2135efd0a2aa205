"""Fields of diffusers' configs: a field that asks for another semantics is refused by name."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from factory.diffusion.folders import COPY
from factory.errors import Problems, UserError

KIND = "Use a model of the google/ddpm-* kind, or train one."

_Section = TypeVar("_Section", bound=BaseModel)


def refuse_differences(
    content: Mapping[str, Any],
    fields: Mapping[str, tuple[Any, Any]],
    also_read: set[str] | None,
    place: str,
    problems: Problems,
) -> None:
    """fields: what is ours, and what diffusers assumes where the field is absent, by name.

    also_read: further known fields; None where unknown ones do not matter.
    """
    for field, (ours, absent) in fields.items():
        given = content.get(field, absent)
        if given != ours:
            problems.add(
                f"{place}: {field} = {given!r} is another convention than ours ({ours!r}). {KIND}"
            )
    for field in content:
        known = field.startswith("_") or field in fields or also_read is None or field in also_read
        if not known and content[field] is not None:
            problems.add(f"{place}: {field} = {content[field]!r} is not implemented. {KIND}")


def validated(section: type[_Section], fields: Mapping[str, Any], place: str) -> _Section:
    """The section of these fields. Raises UserError with all that is wrong with them."""
    try:
        return section.model_validate(fields)
    except ValidationError as error:
        raise UserError(
            [
                f"{place}: {problem['loc'][0]} = {problem['input']!r}: "
                f"{problem['msg'].removeprefix('Value error, ')}. {COPY}"
                for problem in error.errors()
            ]
        ) from None
