"""The values or colours that a source's masks hold, whatever they mean, from some of the masks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from factory.classes import MAX_CLASSES, Classes, Color
from factory.data.classes.class_lookup import Value
from factory.data.classes.class_rules import MAX_VALUE, MIN_VALUE, NO_RULE, ClassRules, Rule
from factory.data.items import ImageFile, Item
from factory.errors import UnreadableImage
from factory.images import UInt8
from factory.threads import NUM_THREADS

NUM_MASKS = 200
_MIN_AROUND, _MIN_BRIGHT = 0.95, 0.5
"""The least shares of a mask's border, and of all its pixels, that are not 0 where 0 is within."""
_MIN_ALIKE = 0.9
"""The least share of masks of which that must be so."""
_SIZE = 64
"""The size that items are asked for; what they hold is whole in any case."""
_IDS = replace(
    ClassRules.of_positions(Classes.named([str(i) for i in range(MAX_CLASSES)])),
    ignored=Rule(ids=tuple(range(MIN_VALUE, 0))),
)
_NAMED: tuple[Color, ...] = ((0, 0, 0), (255, 255, 255))
_COLORS = ClassRules(
    Classes.named(["black", "white"]), tuple(Rule(colors=(color,)) for color in _NAMED)
)
_NEAREST = replace(
    ClassRules(
        Classes.named(["one", "other"]), (Rule(colors=((1, 2, 3),)), Rule(colors=((3, 2, 1),)))
    ),
    nearest_colors=True,
)
_LEVELS = ClassRules(Classes.named(["low", "high"]), (NO_RULE, Rule(above=127)))
"""Rules by which any mask can be looked into: by values, by colours, and where these or greys are
blurred."""


class _Looked(NamedTuple):
    """What one mask holds."""

    values: Mapping[Value, int] | None
    """None if it cannot be read."""
    colors: Mapping[int, Color]
    """The colours of its palette."""
    problem: str | None = None
    """Why it cannot be read."""
    is_bright_around: bool = False
    """True if most of it, and nearly all of its border, is not 0."""
    has_fractions: bool = False
    """True if its values are no whole numbers."""
    is_inverted: bool = False
    """True if its file stores white as 0."""
    is_cut: bool = False
    """True if it may hold values beyond 16 bits, which are read as the highest of these."""
    transparent: str = ""
    """Its file, if pixels of it are transparent."""


@dataclass(frozen=True)
class MaskSample:
    """What some masks of a source hold."""

    files: Sequence[Mapping[Value, int]]
    """Of each mask, its values or colours with the number of their pixels."""
    num_masks: int
    """The number of masks of the source, of which these are some."""
    is_blurred: bool = False
    """True if compression has changed the values."""
    are_fractions: bool = False
    """True if values are no whole numbers; those below them are counted."""
    palette: Mapping[int, Color] = field(default_factory=dict)
    """The colours of the values, where all masks have one palette."""
    palettes_differ: bool = False
    """True if the masks have palettes of which an index is not the same colour everywhere."""
    is_bright_around: bool = False
    """True if most of nearly each mask, and nearly all of its border, is not 0."""
    is_inverted: bool = False
    """True if all files store white as 0."""
    are_cut: bool = False
    """True if some may hold values beyond 16 bits, which are read as the highest of these."""
    transparent: tuple[str, ...] = ()
    """The masks of which pixels are transparent, wholly or in part."""
    problems: tuple[str, ...] = ()
    """A line for each mask that could not be read."""

    @property
    def pixels(self) -> Counter[Value]:
        """Value or colour -> the number of its pixels in all of these masks."""
        total: Counter[Value] = Counter()
        for file in self.files:
            total.update(file)
        return total

    @property
    def is_colored(self) -> bool:
        """True if the masks hold colours."""
        return any(isinstance(value, tuple) for file in self.files for value in file)


def why_apart(sample: MaskSample, other: MaskSample) -> str:
    """Why no rules can read the masks of both samples, in a few words; empty if some may: those of
    palettes can be read by their values and by their colours."""
    form, of_other = _form(sample), _form(other)
    if form == of_other or sample.palette or other.palette:
        return ""
    return f"masks of the one hold {of_other}, those of the other {form}"


def _form(sample: MaskSample) -> str:
    """What the masks hold, in a word or two."""
    if sample.is_blurred and not sample.is_colored:
        return "greys that compression has blurred"
    if sample.are_fractions:
        return "fractions"
    return "colours" if sample.is_colored else "values"


class Samples:
    """Looks into some of the masks of sources; each of them is decoded once in the same way."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], tuple[Item, _Looked]] = {}
        """What is known of an item by rules, each by its id; it is kept, as its id would be free
        for another one."""

    def of(self, *sources: Sequence[Item]) -> MaskSample:
        """What some of the masks of sources of the same classes hold, evenly spread, as many of
        each. Raises OSError."""
        most = NUM_MASKS // len(sources)
        # Of those that are chosen of one source alone, so that what is known of them is of use.
        chosen = [item for items in sources for item in _spread(_spread(items, NUM_MASKS), most)]
        num_masks = sum(map(len, sources))
        by_values = self._all(chosen, _IDS)
        differ = _differ([mask.colors for mask in by_values])
        palette = {i: color for mask in by_values for i, color in mask.colors.items()}
        values = replace(_sampled(by_values, num_masks), palette=palette)
        if not (differ or values.problems or values.is_colored):
            return values
        colors = replace(
            _sampled(self._all(chosen, _COLORS), num_masks),
            palettes_differ=differ or bool(values.problems),
        )
        if not colors.problems:
            return colors
        levels = _sampled(self._all(chosen, _LEVELS), num_masks)
        # What is above all values of 16 bits is no grey that compression has blurred.
        is_blurred = not levels.are_fractions and MAX_VALUE not in levels.pixels
        levels = replace(levels, is_blurred=is_blurred)
        blurred = replace(_sampled(self._all(chosen, _NEAREST), num_masks), is_blurred=True)
        if not any((values.files, colors.files, levels.files)) and not blurred.files:
            return levels  # of which the problems say whether a threshold would do
        return max(values, colors, levels, blurred, key=lambda sample: len(sample.files))

    def _all(self, items: Sequence[Item], rules: ClassRules) -> list[_Looked]:
        """What masks hold by rules that may not fit them."""
        new = [item for item in items if (id(item), id(rules)) not in self._seen]
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            looked = pool.map(lambda item: _values(item, rules), new)
            for item, each in zip(new, looked, strict=True):
                self._seen[id(item), id(rules)] = item, each
        return [self._seen[id(item), id(rules)][1] for item in items]


def _spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    """So many of the items at most, evenly spread."""
    return items[:: max(1, -(-len(items) // most))]


def _sampled(looked: Sequence[_Looked], num_masks: int) -> MaskSample:
    files = [mask.values for mask in looked if mask.values is not None]
    problems = tuple(mask.problem for mask in looked if mask.problem)
    num_bright = sum(mask.is_bright_around for mask in looked)
    return MaskSample(
        files,
        num_masks,
        are_fractions=any(mask.has_fractions for mask in looked),
        is_bright_around=bool(files) and num_bright >= _MIN_ALIKE * len(files),
        is_inverted=bool(files) and all(mask.is_inverted for mask in looked),
        are_cut=any(mask.is_cut for mask in looked),
        transparent=tuple(mask.transparent for mask in looked if mask.transparent),
        problems=problems,
    )


def _values(item: Item, rules: ClassRules) -> _Looked:
    url = item.image_url
    try:
        if not isinstance(item, ImageFile):
            item.content()  # A row without an image has no mask that is of use.
        url = str(item.mask_url)
        mask = item.mask(_SIZE, rules)
    except UnreadableImage as error:
        return _Looked(None, {}, error.of(url))
    found: dict[Value, int] = {value: num for value, num in mask.values.items()}
    found.update(mask.uncovered)
    found.update(mask.nearest)
    if rules.by_color and not rules.nearest_colors:
        counts = mask.ids.histogram()
        found |= {color: counts[i] for i, color in enumerate(_NAMED) if counts[i]}
    around = _is_bright_around(np.asarray(mask.ids))
    is_cut = MAX_VALUE in found and not mask.info.mode.startswith("I;16")
    return _Looked(
        found,
        mask.colors,
        None,
        around,
        mask.has_fractions,
        mask.is_inverted,
        is_cut,
        url if mask.is_transparent else "",
    )


def _is_bright_around(ids: UInt8) -> bool:
    """True if most pixels, and nearly all at the border, are of a class other than 0."""
    border = np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]])
    return bool((border != 0).mean() >= _MIN_AROUND and (ids != 0).mean() > _MIN_BRIGHT)


def _differ(palettes: Sequence[Mapping[int, Color]]) -> bool:
    """True if an index is of two colours, or black is not the first of several."""
    seen: dict[int, Color] = {}
    for palette in palettes:
        for index, color in palette.items():
            if seen.setdefault(index, color) != color:
                return True
    return False
