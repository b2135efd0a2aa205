"""The file of the classes that lies beside images and masks, if there is one that fits."""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from factory.classes import IGNORE_ID, Color
from factory.data.classes import class_files
from factory.data.classes.class_lookup import Value
from factory.data.classes.class_rules import NO_RULE, ClassRules, Rule
from factory.data.files.trees import Tree
from factory.data.surveying import class_proposals, color_proposals
from factory.data.surveying.mask_sampling import MaskSample
from factory.data.surveying.proposal import Proposal
from factory.errors import UnreadableImage, UserError

_FILE = re.compile(
    r"(?:_?classes\.names|labels|categories|id2label|label2id|names|codes|legend|palette|colou?rs"
    r"|(?:class|label|colou?r)_?(?:map|colou?rs|dict|names|list|table|ids|info)|color_?classes"
    r"|obj_class_to_machine_color|objectinfo[0-9]*)\.(?:txt|json|ya?ml|csv|tsv)"
    r"|(?:dataset|meta|metainfo)\.json|data\.ya?ml"
    r"|(?:.*[_.-])?classes\.(?:txt|json|ya?ml|csv|tsv)"
)
_OF_CLASSES = re.compile("class|label|colou?r")
_MAX_BYTES = 2**18
_BLACK: Color = (0, 0, 0)


@dataclass(frozen=True)
class ClassFile:
    """A file of classes."""

    url: str
    rules: ClassRules
    is_by_shown: bool = False
    """True if its rules are the colours that it shows the classes in, in place of their values."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.rules.classes.names


def class_files_in(tree: Tree, *folders: str) -> list[ClassFile]:
    """The files of classes in folders of a tree and in those that hold them, the nearest first.

    Raises OSError.
    """
    found = []
    for name, data in _small_files(tree, folders):
        try:
            text = data.decode("utf-8-sig")
            found.append(ClassFile(tree.url_of(name), class_files.read_rules(text, name)))
        except (UserError, UnicodeDecodeError, RecursionError):
            continue  # Another file of such a name.
    return found


def not_read(tree: Tree, *folders: str) -> Iterator[str]:
    """Yields what people should look at where a file in these places is called as classes are and
    is not read as such, each the end of a sentence. Raises OSError."""
    for name, data in _small_files(tree, folders):
        told = f"whether {tree.url_of(name)} names the classes: it is not read"
        try:
            class_files.read_rules(data.decode("utf-8-sig"), name)
        except UnicodeDecodeError:
            known = "utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "latin-1"
            yield (
                f"{told}, as it is no text in UTF-8. Save it so, as `iconv -f {known} -t utf-8` "
                "does, and run this again"
            )
        except UserError as error:
            if _OF_CLASSES.search(PurePosixPath(name).stem.lower()):
                yield f"{told} ({error.problems[0].removeprefix(f'{name}: ').rstrip('.')})"
        except RecursionError:
            continue  # Another file of such a name.


def _small_files(tree: Tree, folders: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yields the name and the content of files that are called as those of classes are, without
    those that hold more or cannot be read."""
    places = [
        "" if str(place) == "." else str(place)
        for below in folders
        for place in (PurePosixPath(below), *PurePosixPath(below).parents)
    ]
    for folder in sorted(dict.fromkeys((*places, "")), key=lambda place: -len(_parts(place))):
        for name in _directly_in(tree, folder):
            if not _FILE.fullmatch(PurePosixPath(name).name.lower()):
                continue
            try:
                data = tree.read(name)
            except UnreadableImage:
                continue
            if len(data) <= _MAX_BYTES:
                yield name, data


def _parts(folder: str) -> tuple[str, ...]:
    return PurePosixPath(folder).parts


def _directly_in(tree: Tree, folder: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    return [name for name in tree.names(folder) if "/" not in name[len(prefix) :]]


def that_fits(files: Sequence[ClassFile], sample: MaskSample) -> ClassFile | None:
    """The file whose classes cover all values of the masks, or all colours; those that name their
    values first, and those that show their classes in these colours last."""
    fitting = [file for file in _read_each_way(files) if covers(file.rules, sample)]
    fitting.sort(key=lambda file: (file.is_by_shown, file.rules.are_positions))
    return fitting[0] if fitting else None


def that_fits_but_for_0(files: Sequence[ClassFile], sample: MaskSample) -> ClassFile | None:
    """The first file that names the values of its classes, which are all of the masks but 0, or
    their colours, which are all but black."""
    left_out: Value = _BLACK if sample.is_colored else 0
    rest = class_proposals.without([left_out], sample)
    of_values = [
        file
        for file in _read_each_way(files)
        if not file.rules.are_positions
        and left_out not in (*file.rules.class_of_id, *file.rules.class_of_color)
    ]
    return next((file for file in of_values if rest.pixels and covers(file.rules, rest)), None)


def _read_each_way(files: Sequence[ClassFile]) -> list[ClassFile]:
    """The files, each by its values and by the colours that it shows its classes in, too."""
    both = [(f, f.rules.by_shown_colors) for f in files]
    shown = [replace(f, rules=rules, is_by_shown=True) for f, rules in both if rules]
    return [*files, *shown]


def names_of_colors(files: Sequence[ClassFile]) -> dict[Color, str]:
    """The names that the first file of colours has for them; empty if there is none."""
    colored = [file for file in _read_each_way(files) if file.rules.by_color]
    if not colored:
        return {}
    names = colored[0].names
    found = colored[0].rules.class_of_color.items()
    return {color: names[i] for color, i in found if i != IGNORE_ID}


def palettes_contradict(rules: ClassRules, sample: MaskSample) -> bool:
    """True if masks have palettes in which the values of classes have colours that show other
    ones."""
    if (by_shown := rules.by_shown_colors) is None:
        return False
    by_value, by_color = rules.class_of_id, by_shown.class_of_color
    both = [
        (by_value[value], by_color[color])
        for value, color in sample.palette.items()
        if value in by_value and color in by_color
    ]
    return any(one != other for one, other in both)


def are_in_order(rules: ClassRules) -> bool:
    """True of classes that are named in an order that may be that of values: without values of
    their own, or with those that count up from 0."""
    return rules.are_positions or rules.by_color or not rules.class_of_id


def that_is_nearest(files: Sequence[ClassFile], proposal: Proposal) -> ClassFile | None:
    """The first file of colours of which each colour of the proposed classes nearly is one, where
    others lie between them; None if there is none."""
    if not proposal.nearest_colors:
        return None
    wanted = [entry["colors"][0] for entry in proposal.classes if not isinstance(entry, str)]
    for file in _read_each_way(files):
        known = np.array([*file.rules.class_of_color], np.float64)
        if file.rules.by_color and all(
            np.linalg.norm(known - color, axis=1).min() <= color_proposals.NEAR for color in wanted
        ):
            return file
    return None


def covers(rules: ClassRules, sample: MaskSample) -> bool:
    """True if each value or colour of the masks is of a class or ignored, or negative, and 255 is
    not the class of masks that hold nothing else but 0."""
    if rules.by_part:
        return False
    if sample.are_fractions:
        return rules.rest is not None
    if rules.by_color and not sample.is_colored:
        # Masks with palettes can be read by their colours, too.
        colors = [sample.palette.get(v) for v in sample.pixels if isinstance(v, int)]
        known = [color in rules.class_of_color for color in colors]
        return all(known) or (any(known) and border_of(rules, sample) is not None)
    if rules.by_color != sample.is_colored:
        return False
    if sample.is_blurred:
        return rules.only_thresholds
    named = rules.has_thresholds or IGNORE_ID in rules.class_of_id
    if not named and class_proposals.is_255_a_class(sample):
        return False
    negative = negatives_of(rules, sample)
    return all(value in negative or _is_covered(rules, value) for value in sample.pixels)


def negatives_of(rules: ClassRules, sample: MaskSample) -> list[int]:
    """The negative values of the masks that are of no class: what they stand for is not labelled,
    as 255 is elsewhere."""
    values = sorted(value for value in sample.pixels if isinstance(value, int))
    return [value for value in values if value < 0 and value not in rules.class_of_id]


def ignored_beside(rules: ClassRules, sample: MaskSample) -> Rule:
    """What the masks hold beside the classes of a file that covers them, and is ignored: negative
    values, or the border of palettes that are read by their colours."""
    if negative := negatives_of(rules, sample):
        return Rule(ids=(*negative, *rules.ignored.ids))
    border = border_of(rules, sample)
    return NO_RULE if border is None else Rule(colors=(*rules.ignored.colors, border))


def border_of(rules: ClassRules, sample: MaskSample) -> Color | None:
    """The colour of index 255 of palettes that are read by their colours, where it alone is of no
    class, as the border in masks of VOC is: it is ignored, as 255 is elsewhere. None otherwise."""
    if not rules.by_color or sample.is_colored:
        return None
    colors = {value: sample.palette.get(value) for value in sample.pixels if isinstance(value, int)}
    others = [v for v, color in colors.items() if color not in rules.class_of_color]
    return colors[IGNORE_ID] if others == [IGNORE_ID] else None


def _is_covered(rules: ClassRules, value: Value) -> bool:
    if isinstance(value, tuple):
        return value in rules.class_of_color or rules.class_of_other_colors != IGNORE_ID
    known = value in rules.class_of_id or value == IGNORE_ID
    above = any(value > threshold for threshold, _ in rules.thresholds)
    return known or above or (rules.rest is not None)
