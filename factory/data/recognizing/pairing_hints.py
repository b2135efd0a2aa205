"""Finds the patterns that would pair images with masks where those of a config do not.

A mask is mostly called like its image, with something before or behind it (`_mask`, `_gt`), in
another folder, or with leading zeros. Which it is follows from the names alone
(`factory.data.recognizing.mask_forms`); what is proposed was tried on all of them.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePosixPath

from factory.data.files import numbering, pairing
from factory.data.files.listing import Listing, names_below
from factory.data.files.patterns import ImagePattern, parse_images, parse_masks
from factory.data.recognizing import mask_forms, name_words
from factory.data.recognizing.mask_forms import Form
from factory.errors import counted, some

_MIN_PAIRED = 0.5
"""The least share of the images that a pattern must pair to be proposed; where it says mask, of the
masks: images with one may be few among others."""
_MIN_PARTS, _MANY_PARTS = 1.5, 4
"""The least mean number of files that an image has, for them to be its parts, and for that to be
sure."""
_MAX_SHOWN = 90
"""The most characters of the names that are told to be left out: people have to read the rest."""
_LIKELY = (
    *("mask", "segmentation", "seg", "trainids", "labelids", "label", "gt", "annotation"),
    *("semantic", "truth", "trimap", "parsing"),
)
"""Words in the names of masks; where an image has several masks, the likeliest ends first."""

_NUMBERED = re.compile("(?:[^0-9A-Za-z][0-9]+)?")
"""What is behind the name of a first mask, and of more of the same image: _mask, _mask_1."""


@dataclass(frozen=True)
class Hint:
    """The keys of a section that pair images with masks, and what they leave out."""

    keys: Mapping[str, str]
    """`masks`, and `images` and `unpaired` where they are needed."""
    paired: Sequence[str]
    """Images with a mask, as names of the tree."""
    masks_of: Sequence[Sequence[str]]
    """The masks of each, several where they have parts."""
    part_of: Mapping[str, str] = field(default_factory=dict)
    """What stands for `{part}` in the name of each mask."""
    left: Sequence[str] = ()
    """Images without a mask, masks without an image, and other pictures of the images' folder, as
    names of the tree."""
    unused: Sequence[str] = ()
    """Other pictures of the masks' folder."""

    @property
    def masks(self) -> list[str]:
        """All of their masks."""
        return [*chain.from_iterable(self.masks_of)]

    @property
    def parts(self) -> frozenset[str]:
        """What stands for `{part}` in their names."""
        return frozenset(self.part_of.values())

    @property
    def masks_of_parts(self) -> list[list[str]]:
        """The masks of each part, those that differ in their numbers together."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.masks:
            found[name_words.any_number(self.part_of.get(name, ""))].append(name)
        return [*found.values()]

    @property
    def has_many_parts(self) -> bool:
        """True if what the parts are called, and how many there are, says that they are such, so
        that they need not be looked at."""
        sides = {part.lower().replace("left", "right") for part in self.parts}
        if _are_numbered(self.parts) or (len(self.parts), len(sides)) == (2, 1):
            return True
        mean = len(self.masks) / self.num_paired
        return mean > len(self.parts) or (len(self.parts) > 2 and mean >= 2)

    @property
    def num_paired(self) -> int:
        """The number of images with a mask."""
        return len(self.paired)

    @property
    def is_whole(self) -> bool:
        """True if nothing is left out."""
        return not self.left

    @property
    def is_plain(self) -> bool:
        """True if the masks are called as their images, in one folder, which alone would do."""
        folder, _, name = self.keys["masks"].rpartition("/")
        return self.is_whole and name.startswith("{stem}.") and "*" not in folder

    @property
    def advice(self) -> str:
        """The sentence that says what to write, and what that leaves out."""
        # A string of JSON is one of YAML, whatever characters a name has.
        lines = [f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in self.keys.items()]
        text = f"Write {' and '.join(lines)}"
        if not (out := [*self.left, *self.unused]):
            return f"{text}."
        paired, rest = counted(self.num_paired, "image"), counted(len(out), "picture")
        shown = some(out, 3) if sum(map(len, out[:3])) <= _MAX_SHOWN else some(out, 1)
        return f"{text}, which pairs {paired}, and not {rest} ({shown})."


def find(images: Listing, with_images: bool, paths: Sequence[str]) -> Hint | None:
    """The likeliest keys that would pair images with masks, None if nothing is found.

    See `find_all`. Of parts only those count that are many: few may be masks of several kinds,
    which only what they show would tell.
    """
    for hint in find_all(images, with_images, paths):
        if "{part}" not in hint.keys["masks"] or len(hint.masks) >= _MANY_PARTS * hint.num_paired:
            return hint
    return None


def find_all(
    images: Listing, with_images: bool, paths: Sequence[str], are_sure: bool = False
) -> list[Hint]:
    """The keys that would pair images with masks, the likeliest ones first.

    images: all below a folder; masks may be among them, unless are_sure. with_images: whether the
    key for the images is needed in any case. paths: names of all pictures of the tree.
    """
    found: list[tuple[tuple[float, bool, int, int, int], Hint]] = []
    is_sure = False  # One pairs all, and says which are the masks.
    for before, behind in name_words.decorations(images.read):
        for form in mask_forms.forms(images, paths, before, behind):
            says_mask = any(word in form.text.lower() for word in _LIKELY)
            if is_sure and form.is_general:
                continue  # A plainer one pairs all.
            if form.images and not (says_mask or are_sure):
                continue  # Nothing tells which of the two is the mask.
            kind = next((i for i, w in enumerate(_LIKELY) if w in form.behind.lower()), 99)
            for keys in _keys(images, form, with_images, before, behind):
                if is_sure and keys.get("images", "").endswith(".*"):
                    continue
                if hint := tried(images, paths, keys, says_mask):
                    share = hint.num_paired / (hint.num_paired + len(hint.left))
                    rank = (
                        share,
                        says_mask,
                        name_words.preference(form.text),
                        -kind,
                        len(hint.masks),
                    )
                    found.append((rank, hint))
                    is_sure = is_sure or (share, says_mask) == (1, True)
        if is_sure:
            break
    found.sort(key=lambda pair: pair[0], reverse=True)
    hints = [hint for _, hint in found]
    more = [_with_numbered(images, paths, hint) for hint in hints[:1] if not hint.is_whole]
    return [*(hint for hint in more if hint), *hints]


def corresponding(images: Listing, paths: Sequence[str]) -> Hint | None:
    """The keys by which most of some pictures are called like images; None if no pattern does.

    images: all below a folder, of which those pictures may show a part. paths: the pictures, as
    names of the tree.
    """
    for before, behind in name_words.decorations(images.read):
        for form in mask_forms.forms(images, paths, before, behind):
            for keys in _keys(images, form, True, before, behind):
                hint = tried(images, paths, keys, says_mask=True)
                if hint and len(hint.masks) > _MIN_PAIRED * len(paths):
                    return hint
    return None


def _with_numbered(images: Listing, paths: Sequence[str], hint: Hint) -> Hint | None:
    """The keys by which images have several masks, the first without a number, if these pair all
    that others leave out: x_mask.png, x_mask_1.png."""
    before, dot, ending = hint.keys["masks"].rpartition(".")
    if "{part}" in before or before.endswith(("}", "*")):
        return None
    keys = {"images": hint.keys.get("images", ""), "masks": f"{before}{{part}}{dot}{ending}"}
    found = tried(images, paths, {k: v for k, v in keys.items() if v}, says_mask=True)
    return found if found and found.is_whole and len(found.masks) > len(found.paired) else None


def _keys(
    images: Listing, form: Form, with_images: bool, before: str, behind: str
) -> Iterator[dict[str, str]]:
    """Yields the keys that may go with a form of masks."""
    among = not images.below or f"{form.folder}/".startswith(f"{images.below}/")
    if form.images:
        yield {"images": "/".join(filter(None, (images.below, form.images))), "masks": form.text}
    elif with_images or before or behind or among:
        for text in _image_texts(images, form, before, behind):
            yield {"images": text, "masks": form.text}
    else:
        yield {"masks": form.text}


def _image_texts(images: Listing, form: Form, before: str, behind: str) -> Iterator[str]:
    """Yields patterns of the images: of one ending, and of any where they have several."""
    suffixes = {PurePosixPath(name).suffix for name in images.read}
    endings = {suffix.lower(): suffix for suffix in sorted(suffixes)}
    others = [suffix for lower, suffix in endings.items() if lower != form.ending.lower()]
    folders = "**" if any("/" in name for name in images.read) else ""
    only = [*endings.values()] if len(endings) == 1 else others if len(others) == 1 else []
    for ending in [*only, *([".*"] if len(endings) > 1 else [])]:
        yield "/".join(filter(None, (images.below, folders, f"{before}*{behind}{ending}")))


def tried(
    images: Listing, paths: Sequence[str], keys: Mapping[str, str], says_mask: bool = False
) -> Hint | None:
    """What keys pair of all pictures; None if that is too little.

    images, paths: as `find` takes them. says_mask: whether what is called a mask counts, and not
    all images.
    """
    try:
        image_pattern = parse_images(keys.get("images", images.below))
        mask_pattern = parse_masks(keys["masks"])
    except ValueError:  # A name has characters that mean something in a pattern.
        return None
    below = names_below(mask_pattern.below, paths)
    meant = _meant(images, image_pattern)
    matches = pairing.match(
        meant,
        Listing(images.tree, mask_pattern.below, below),
        image_pattern,
        mask_pattern,
    )
    masks, masks_of = matches.masks, matches.masks_of
    paired = [
        name
        for name, own in masks_of.items()
        if (len(own) == 1 or mask_pattern.has_parts)
        and all(len(matches.images_of[mask.name]) == 1 for mask in own)
        and not pairing.is_own_mask(matches, name)
    ]
    of_images = [meant.path(name) for name in paired]
    of_masks = [[masks.path(mask.name) for mask in masks_of[name]] for name in paired]
    num, of, num_masks = len(paired), len(matches.images.read), sum(map(len, of_masks))
    if says_mask:
        num, of = num_masks, len(masks.read)
    if num < max(1, _MIN_PAIRED * of):
        return None
    part_of = {masks.path(mask.name): mask.part for name in paired for mask in masks_of[name]}
    parts = frozenset(part_of.values())
    too_few = num_masks < _MIN_PARTS * len(paired)
    if mask_pattern.has_parts and ((too_few and not _are_numbered(parts)) or _repeat_a_name(parts)):
        return None
    used = {*of_images, *chain.from_iterable(of_masks)}
    others = [*map(images.path, images.read), *map(masks.path, masks.read)]
    left = [path for path in dict.fromkeys(others) if path not in used]
    lacks = bool(matches.stray) or len(masks_of) < len(matches.images.read)
    if lacks and not numbering.shift([*zip(of_images, map(min, of_masks), strict=True)], left):
        keys = {**keys, "unpaired": "skip"}
    beside = filter(lambda path: path not in used, map(masks.path, below))
    unused = [path for path in beside if path not in left]
    return Hint(keys, of_images, of_masks, part_of, left, unused)


def _meant(images: Listing, pattern: ImagePattern) -> Listing:
    """The images that a pattern means, of the folder that is above all of them."""
    every = names_below(pattern.below, [*map(images.path, images.read)])
    return Listing(images.tree, pattern.below, tuple(filter(pattern.match, every)))


def _are_numbered(parts: Set[str]) -> bool:
    """True of a first mask of an image and more of the same, with numbers."""
    return "" in parts and all(map(_NUMBERED.fullmatch, parts))


def _repeat_a_name(parts: Set[str]) -> bool:
    """True of parts that are one name, and the same with numbers: mask, mask_1. A pattern that has
    the name in it says more."""
    first = min(parts, key=len, default="")
    rest = {part.removeprefix(first) for part in parts if part.startswith(first)}
    return bool(first) and 1 < len(parts) == len(rest) and _are_numbered(rest)
