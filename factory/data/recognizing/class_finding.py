"""The file of the classes that lies beside images and masks, if there is one that fits."""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from factory.classes import IGNORE_ID, Color
from factory.data.classes import class_files
from factory.data.classes.class_lookup import Value
from factory.data.classes.class_rules import NO_RULE, ClassRules, Rule
from factory.data.files.trees import Tree
from factory.data.surveying import class_proposals
from factory.data.surveying.mask_sampling import MaskSample
from factory.errors import UnreadableImage, UserError

_FILE = re.compile(
    r"(?:labelmap|label_?colors|class_?dict|_?classes(?:\.names)?|class_?names|label_?names|labels"
    r"|id2label|label2id|names|codes|obj_class_to_machine_color|objectinfo[0-9]*)\.(?:txt|json|ya?ml|csv)"
    r"|dataset\.json|data\.ya?ml"
    r"|(?:.*[_.-])?classes\.(?:txt|json|ya?ml|csv)"
)
_MAX_BYTES = 2**18


@dataclass(frozen=True)
class ClassFile:
    """A file of classes."""

    url: str
    rules: ClassRules

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


def not_utf_8(tree: Tree, *folders: str) -> Iterator[str]:
    """Yields what people should look at where a file in these places is called as classes are and
    is no text in UTF-8, each the end of a sentence. Raises OSError."""
    for name, data in _small_files(tree, folders):
        try:
            data.decode("utf-8-sig")
        except UnicodeDecodeError:
            known = "utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "latin-1"
            yield (
                f"whether {tree.url_of(name)} names the classes: it is not read, as it is no text "
                f"in UTF-8. Save it so, as `iconv -f {known} -t utf-8` does, and run this again"
            )


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
    values first."""
    fitting = [file for file in files if covers(file.rules, sample)]
    fitting.sort(key=lambda file: file.rules.are_positions)
    return fitting[0] if fitting else None


def that_fits_but_for_0(files: Sequence[ClassFile], sample: MaskSample) -> ClassFile | None:
    """The first file that names the values of its classes, which are all of the masks but 0."""
    rest = replace(sample, files=[{v: n for v, n in f.items() if v != 0} for f in sample.files])
    of_values = [f for f in files if not f.rules.are_positions and 0 not in f.rules.class_of_id]
    return next((file for file in of_values if covers(file.rules, rest)), None)


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
