"""The file of the classes that lies beside images and masks, if there is one that fits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from factory.classes import IGNORE_ID, Color
from factory.data.classes import class_files
from factory.data.classes.class_lookup import Value
from factory.data.classes.class_rules import ClassRules
from factory.data.files.trees import Tree
from factory.data.surveying import class_proposals
from factory.data.surveying.mask_sampling import MaskSample
from factory.errors import UnreadableImage, UserError

_FILE = re.compile(
    r"(?:labelmap|label_?colors|class_?dict|_?classes(?:\.names)?|class_?names|label_?names|labels"
    r"|id2label|label2id|names|codes|obj_class_to_machine_color)\.(?:txt|json|ya?ml|csv)"
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
                if len(data) > _MAX_BYTES:
                    continue  # It holds more than classes.
                text = data.decode("utf-8-sig")
                found.append(ClassFile(tree.url_of(name), class_files.read_rules(text, name)))
            except (UserError, UnreadableImage, UnicodeDecodeError, RecursionError):
                continue  # Another file of such a name.
    return found


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


def covers(rules: ClassRules, sample: MaskSample) -> bool:
    """True if each value or colour of the masks is of a class or ignored, and 255 is not the class
    of masks that hold nothing else but 0."""
    if rules.by_part:
        return False
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
    return all(_is_covered(rules, value) for value in sample.pixels)


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
        return value in rules.class_of_color
    known = value in rules.class_of_id or value == IGNORE_ID
    above = any(value > threshold for threshold, _ in rules.thresholds)
    return known or above or (rules.rest is not None)
