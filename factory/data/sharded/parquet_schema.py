"""The columns of Parquet files that hold images and masks, and the classes that the files name."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.data.sharded import cells
from factory.data.sharded.words import IMAGE_WORDS, MASK_WORDS
from factory.errors import Problems, counted, some

_PATH = re.compile("_?(?:path|file_?path|file_?name|file)$")
_OURS, _CLASSES, _HUGGINGFACE = b"factory", b"id2label", b"huggingface"


@dataclass(frozen=True)
class Columns:
    """The columns that are read."""

    image: str
    mask: str | None
    """None if masks were not asked for."""

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [self.image, *([self.mask] if self.mask is not None else [])]


def find_columns(
    schema: pa.Schema,
    image: str | None,
    mask: str | None,
    labelled: bool,
    url: str,
    paths: Collection[str] = (),
) -> Columns:
    """The columns of images and masks: those that are named, else the only ones that can be meant.

    paths: columns of texts that are names of image files. Raises UserError that begins with url and
    has the keys to set.
    """
    problems = Problems()
    pictures = [str(field.name) for field in schema if cells.holds_pictures(field.type)]
    # Texts are much else, too, so that their name must say what they are.
    pictures = pictures or [name for name in paths if _word_of(name) in IMAGE_WORDS]
    found_image = _column(schema, image, "image", pictures, IMAGE_WORDS, MASK_WORDS, url, problems)
    found_mask = None
    if labelled:
        others = [name for name in pictures if name not in (image, found_image)]
        others = others or [name for name in paths if _word_of(name) in MASK_WORDS]
        found_mask = _column(schema, mask, "mask", others, MASK_WORDS, IMAGE_WORDS, url, problems)
    if found_image is not None and found_image == found_mask:
        problems.add(
            f"{url}: image_column and mask_column are both {found_image}. Name two columns."
        )
    problems.raise_if_any()
    assert found_image is not None
    return Columns(found_image, found_mask)


def is_ours(schema: pa.Schema) -> bool:
    """True for files that `factory generate` wrote."""
    return _OURS in (schema.metadata or {})


def named_classes(schema: pa.Schema, mask: str) -> Mapping[str, str] | Sequence[str] | None:
    """The classes that a file's metadata tell of a column of masks, in a form of
    `factory.data.classes.class_forms`; None if they tell none."""
    metadata = schema.metadata or {}
    own = _json(metadata.get(_CLASSES))
    if isinstance(own, dict):
        return own
    feature = _features(metadata).get(mask)
    for key in ("id2label", "names"):
        if isinstance(feature, dict) and isinstance(feature.get(key), dict | list):
            found: Mapping[str, str] | Sequence[str] = feature[key]
            return found
    return None


def is_name(kind: pa.DataType) -> bool:
    """True for types whose values can name rows."""
    return bool(pa.types.is_integer(kind) or cells.is_text(kind))


def _column(
    schema: pa.Schema,
    named: str | None,
    part: str,
    pictures: Sequence[str],
    words: Sequence[str],
    other_words: Sequence[str],
    url: str,
    problems: Problems,
) -> str | None:
    """The column of a part, image or mask; None after a problem, which is added."""
    key, known = f"{part}_column", some(schema.names, 20)
    if named is not None:
        if named not in schema.names:
            problems.add(f"{url}: has no column {named}. Set `{key}:` to one of {known}.")
        elif schema.names.count(named) > 1:
            problems.add(f"{url}: has several columns {named}. Rename all of them but one.")
        elif not any(
            holds(kind := schema.field(named).type)
            for holds in (cells.holds_pictures, cells.holds_arrays, cells.is_text)
        ):
            problems.add(
                f"{url}: the column {named} is of type {kind}, which holds no pictures (bytes, a "
                "structure of bytes and path, paths, or lists of lists of numbers). Set "
                f"`{key}:` to another of {known}, or save it as an Image feature."
            )
        else:
            return named
        return None
    # Lists of numbers are much else, too, so that their name must say what they are.
    arrays = [str(field.name) for field in schema if cells.holds_arrays(field.type)]
    meant = [name for name in (*pictures, *arrays) if _word_of(name) in words]
    meant = meant or [name for name in pictures if _word_of(name) not in other_words]
    if len(meant) == 1:
        return meant[0]
    if meant:
        told = f"{counted(len(meant), 'column')} may hold the {part}s: {some(meant)}"
    else:
        told = f"no column can be told to hold the {part}s among {known}"
        if flat := [str(field.name) for field in schema if _is_flat(field.type)]:
            told += f"; lists of numbers without rows, as in {some(flat)}, tell no height and width"
    problems.add(f"{url}: {told}. Set `{key}:` to the right one.")
    return None


def _word_of(name: str) -> str:
    """The word of a column's name that says what it holds, without what says that it is a path.

    >>> _word_of("Image_Path"), _word_of("mask_file_name"), _word_of("file_name")
    ('image', 'mask', 'image')
    """
    return _PATH.sub("", name.lower()) or IMAGE_WORDS[0]


def _is_flat(kind: pa.DataType) -> bool:
    """True for the type of lists of numbers that hold no lists."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list and pa.types.is_integer(kind.value_type))


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The features of Hugging Face's `datasets`, by column."""
    content = _json(metadata.get(_HUGGINGFACE))
    for key in ("info", "features"):
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _json(text: bytes | None) -> object:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
