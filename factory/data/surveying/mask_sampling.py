"""The values or colours that a source's masks hold, whatever they mean, from some of the masks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from factory.classes import MAX_CLASSES, Classes, Color
from factory.data.classes.class_lookup import Value
from factory.data.classes.class_rules import MAX_VALUE, NO_RULE, ClassRules, Rule
from factory.data.items import ImageFile, Item
from factory.errors import UnreadableImage
from factory.threads import NUM_THREADS

NUM_MASKS = 200
_Looked = tuple[Mapping[Value, int] | None, Mapping[int, Color], str | None]
"""The values of a mask, the colours of its palette, and why there are none."""
_SIZE = 64
"""The size that items are asked for; what they hold is whole in any case."""
_IDS = ClassRules.of_positions(Classes.named([str(i) for i in range(MAX_CLASSES)]))
_NAMED: tuple[Color, ...] = ((0, 0, 0), (255, 255, 255))
_COLORS = ClassRules(
    Classes.named(["black", "white"]), tuple(Rule(colors=(color,)) for color in _NAMED)
)
_LEVELS = ClassRules(Classes.named(["low", "high"]), (NO_RULE, Rule(above=127)))
"""Rules by which any mask can be looked into: by values, by colours, and where they are blurred."""


@dataclass(frozen=True)
class MaskSample:
    """What some masks of a source hold."""

    files: Sequence[Mapping[Value, int]]
    """Of each mask, its values or colours with the number of their pixels."""
    num_masks: int
    """The number of masks of the source, of which these are some."""
    is_blurred: bool = False
    """True if compression has changed the values."""
    palette: Mapping[int, Color] = field(default_factory=dict)
    """The colours of the values, where all masks have one palette."""
    palettes_differ: bool = False
    """True if the masks have palettes of which an index is not the same colour everywhere."""
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


def sample(items: Sequence[Item]) -> MaskSample:
    """Looks into some of the masks of a source, evenly spread. Raises OSError."""
    step = max(1, -(-len(items) // NUM_MASKS))
    chosen = items[::step]
    by_values = _all(chosen, _IDS)
    differ = _differ([palette for _, palette, _ in by_values])
    palette = {i: color for _, colors, _ in by_values for i, color in colors.items()}
    values = replace(_sampled(by_values, len(items)), palette=palette)
    if not (differ or values.problems or values.is_colored):
        return values
    colors = replace(
        _sampled(_all(chosen, _COLORS), len(items)), palettes_differ=differ or bool(values.problems)
    )
    if not colors.problems:
        return colors
    levels = _sampled(_all(chosen, _LEVELS), len(items))
    # What is above all values of 16 bits is no grey that compression has blurred.
    levels = replace(levels, is_blurred=MAX_VALUE not in levels.pixels)
    if not any((values.files, colors.files)):
        return levels  # of which the problems say whether a threshold would do
    return max(values, colors, levels, key=lambda sample: len(sample.files))


def _sampled(looked: Sequence[_Looked], num_masks: int) -> MaskSample:
    files = [found for found, _, _ in looked if found is not None]
    problems = tuple(problem for _, _, problem in looked if problem)
    return MaskSample(files, num_masks, problems=problems)


def _all(items: Sequence[Item], rules: ClassRules) -> list[_Looked]:
    """What masks hold by rules that may not fit them."""
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        return list(pool.map(lambda item: _values(item, rules), items))


def _values(item: Item, rules: ClassRules) -> _Looked:
    url = item.image_url
    try:
        if not isinstance(item, ImageFile):
            item.image(_SIZE)  # Others are read together with their images.
        url = str(item.mask_url)
        mask = item.mask(_SIZE, rules)
    except UnreadableImage as error:
        return None, {}, f"{url}: {error}"
    found: dict[Value, int] = {value: num for value, num in mask.values.items()}
    found.update(mask.uncovered)
    if rules.by_color:
        counts = mask.ids.histogram()
        found |= {color: counts[i] for i, color in enumerate(_NAMED) if counts[i]}
    return found, mask.colors, None


def _differ(palettes: Sequence[Mapping[int, Color]]) -> bool:
    """True if an index is of two colours, or black is not the first of several."""
    seen: dict[int, Color] = {}
    for palette in palettes:
        for index, color in palette.items():
            if seen.setdefault(index, color) != color:
                return True
    return False
