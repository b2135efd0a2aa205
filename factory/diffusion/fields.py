"""Fields of diffusers' configs: a field that asks for another semantics is refused by name."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from factory.diffusion.folders import COPY
from factory.errors import Problems, UserError

KIND = "Use a model of the google/ddpm-* kind, or train one."

_Section = TypeVar("_Section", bound=BaseModel)


def refuse_differences(
    content: Mapping[str, Any],
    fields: Mapping[str, tuple[Any, Any]],
    also_read: Collection[str],
    url: str,
    problems: Problems,
    meanings: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """fields: what is ours, and what diffusers assumes where the field is absent, by name.

    also_read: further known fields. One that is not known may be a misspelt one, whose default
    would be taken in its place, so it is refused as well. meanings: what other values of a field
    mean, by its name.
    """
    for field, (ours, absent) in fields.items():
        value = content.get(field, absent)
        off = ours is False and value is None
        if value != ours and not off:
            meaning = f": {meanings[field]}" if field in meanings else ""
            problems.add(
                f"{url}: {field} = {value!r} is another convention than ours ({ours!r}){meaning}. "
                f"{KIND}"
            )
    known = {*fields, *also_read}
    for field, value in content.items():
        if field.startswith("_") or field in known or value is None:
            continue
        meant = get_close_matches(field, sorted(known), n=1, cutoff=0.8)
        remedy = f"If {meant[0]} is meant, write that. {KIND}" if meant else KIND
        problems.add(f"{url}: {field} = {value!r} is not implemented. {remedy}")


def validated(
    section: type[_Section], fields: Mapping[str, Any], url: str, remedy: str = COPY
) -> _Section:
    """The section of these fields. Raises UserError with all that is wrong with them, each with the
    remedy."""
    try:
        return section.model_validate(fields)
    except ValidationError as error:
        raise UserError(
            [
                f"{url}: {problem['loc'][0]} = {problem['input']!r}: "
                f"{problem['msg'].removeprefix('Value error, ')}. {remedy}"
                for problem in error.errors()
            ]
        ) from None
