"""Checks of all masks of a source together: white foreground, palettes that are no classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory import storage
from factory.classes import IGNORE_ID, Classes, Color
from factory.data.masks import MASK_REMEDY
from factory.errors import Problems, some

_NO_CLASSES = {"ignore", "ignored", "void", "unlabelled", "unlabeled", "dontcare", "nolabel"}
"""Names of classes that people mean to be ignored, in lower case and letters alone."""


@dataclass(frozen=True)
class MaskFacts:
    """The facts known of a mask beside its pixels."""

    url: str
    present: tuple[int, ...]
    """The ids that occur."""
    colors: Mapping[int, Color]
    """The colours of these ids in its palette; empty without a palette."""


def check_masks(
    masks: Sequence[MaskFacts], classes: Classes | None, problems: Problems
) -> list[str]:
    """Adds what is wrong with the masks together to problems; returns notes, a sentence each."""
    notes = _check_white(masks, problems)
    _check_palettes(masks, problems)
    if classes:
        notes += [
            f"class {name} (id {i}) is learned like any other. Where nothing is to be learned, "
            f"write {IGNORE_ID}."
            for i, name in enumerate(classes.names)
            if re.sub("[^a-z]", "", name.lower()) in _NO_CLASSES
        ]
        notes += _palette_notes(masks, classes)
    return notes


def _check_white(masks: Sequence[MaskFacts], problems: Problems) -> list[str]:
    """Refuses masks of 0 and 255 alone: foreground written as white, which would be ignored.

    Where at least as many masks have 255 beside a class other than 0, it is meant as ignored: that
    is noted.
    """
    ids = [set(mask.present) for mask in masks]
    white = [
        mask.url
        for mask, present in zip(masks, ids, strict=True)
        if IGNORE_ID in present <= {0, IGNORE_ID}
    ]
    if not white:
        return []
    message = (
        f"{len(white):,} of {len(masks):,} masks hold only 0 and 255, and 255 means ignore "
        f"({some(list(map(storage.name_of, white)))})"
    )
    ignoring = [IGNORE_ID in present and bool(present - {0, IGNORE_ID}) for present in ids]
    if sum(ignoring) >= len(white):
        return [f"{message}: nothing but class 0 is learned from them."]
    folder = white[0].rpartition("/")[0] or white[0]
    problems.add(
        f"{folder}: {message}: nothing but class 0 would be learned from them. Write 1 instead of "
        "255, or list the images to use in names_url."
    )
    return []


def _palette_notes(masks: Sequence[MaskFacts], classes: Classes) -> list[str]:
    """The colour that each class has in the palettes: only people know whether it is right."""
    colors = {i: color for m in masks for i, color in m.colors.items() if i < len(classes)}
    if not colors:
        return []
    listed = ", ".join(f"{classes.names[i]} {color}" for i, color in sorted(colors.items()))
    return [
        f"{sum(bool(m.colors) for m in masks):,} masks have palettes, whose indices are read, "
        f"not their colours: {listed}."
    ]


def _check_palettes(masks: Sequence[MaskFacts], problems: Problems) -> None:
    """Refuses masks whose palettes number the same colours differently from file to file."""
    color_of: dict[int, tuple[Color, str]] = {}
    index_of: dict[Color, tuple[int, str]] = {}
    for mask in masks:
        repeated = len(set(mask.colors.values())) < len(mask.colors)
        for i, color in mask.colors.items():
            known, first = color_of.setdefault(i, (color, mask.url))
            if known != color:
                problem = f"index {i} is the colour {color} here and {known} in {first}"
                break
            other, first = index_of.setdefault(color, (i, mask.url))
            if other != i and not repeated:
                problem = f"the colour {color} is index {i} here and {other} in {first}"
                break
        else:
            continue
        problems.add(
            f"{mask.url}: the palettes of these masks differ: {problem}, so the indices number "
            "colours, not classes. Renumber the masks by class ids. "
            f"{MASK_REMEDY}"
        )
