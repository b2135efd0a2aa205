"""The source `kind: pairs`: images, and masks that are paired with them by their names."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from factory.data.classes.class_rules import ClassRules
from factory.data.files import listing, numbering, pairing
from factory.data.files.listing import Listing, names_below
from factory.data.files.pairing import Matches
from factory.data.files.pattern_values import ImagesPattern, MasksPattern
from factory.data.files.patterns import ImagePattern, MaskPattern, parse_images, parse_masks
from factory.data.masks import parts
from factory.data.masks.parts import Part
from factory.data.recognizing import layouts, pairing_hints
from factory.data.recognizing.layouts import LayoutName
from factory.data.sections import FileSection, LabelledSection
from factory.errors import Problems, some

if TYPE_CHECKING:
    from factory.data.files.trees import Tree
    from factory.data.items import Found, ImageFile

_MIN_UNPAIRED = 0.02
"""Where a smaller share of the images has no mask, the pattern is right and a few masks are
missing."""
_MAX_TOLD = 80
"""Names of more characters than these leave less to be told beside them."""


class PairsSource(LabelledSection, FileSection):
    """Images beside masks, paired by their names."""

    purpose: ClassVar[str] = "images beside masks"
    has_parts: ClassVar[bool] = True

    kind: Literal["pairs"] = "pairs"
    """The kind of source."""
    images: ImagesPattern = "images"
    """Folder of the images, or a pattern such as `"**/*_rgb.png"`: `*` is any text within a name,
    `**` any folders."""
    masks: MasksPattern = "masks"
    """Folder of the masks, which lie there as the images do in theirs, or a pattern such as
    `"labels/{dir}/{stem}_mask.png"`: `{stem}` is what the `*` of the image's file name stood for,
    `{name}` that name without its ending, `{file}` with it, `{dir}` its folders, `{stem:05}` a
    number with leading zeros, `{part}` anything where an image has a file for each class or object.
    Values of masks are class ids, and 255 is ignored, unless the classes say otherwise."""
    unpaired: Literal["refuse", "skip"] = "refuse"
    """What to do with images that have no mask, and masks that have no image: skip reports them."""
    layout: LayoutName | None = None
    """The layout of a published dataset, which sets images, masks, classes and what else it needs,
    unless they are named."""
    split: str | None = None
    """Of a layout, the images of this split alone: such as train or val."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_layout(cls, section: Any) -> Any:
        if not isinstance(section, Mapping) or section.get("layout") not in layouts.LAYOUTS:
            return section
        return layouts.with_layout(section)

    @model_validator(mode="after")
    def _check_split(self) -> "PairsSource":
        if self.split is not None and self.layout is None:
            raise ValueError("split needs layout: the layout whose split it is")
        return self

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The images, with their masks if they are asked for; each folder is listed once.

        See `factory.data.items.Source`.
        """
        from factory.data.items import Found

        rules = self.read_rules(problems) if labelled else None
        matches = self._match(labelled, problems)
        if matches is None:
            return Found(rules=rules)
        if labelled:
            return self._pairs(matches, rules, problems)
        images = matches.images
        pattern = matches.image_pattern
        names = sorted(self.wanted(images, self.num, problems, pattern)[: self.num])
        names = self.without_masks(images, names, problems)
        files = [self.file(images, name) for name in names]
        return self.found(files, self.notes(images), problems)

    def may_read(self, name: str) -> bool:
        """See `FileSection`."""
        is_meant = parse_images(self.images).means(name) or parse_masks(self.masks).means(name)
        return super().may_read(name) and is_meant

    def _pairs(self, matches: Matches, rules: ClassRules | None, problems: Problems) -> "Found":
        """The images with their masks; what has no partner is a problem, or left out."""
        from factory.data.items import Found

        images, masks_of = matches.images, matches.masks_of
        skip = self.unpaired == "skip"
        num = None if skip else self.num
        of_one = {} if matches.mask_pattern.has_parts else masks_of
        paths = {name: matches.masks.path(found[0].name) for name, found in of_one.items() if found}
        wanted = self.wanted(images, num, problems, matches.image_pattern, paths)
        missing = [name for name in wanted if name not in masks_of]
        stray = matches.stray if self.names_url is None else []
        paired = [name for name in wanted if name in masks_of]
        names = sorted((paired if skip else wanted)[: self.num])
        notes = self.notes(images)
        if self.layout is None:
            notes += tuple(pairing.neither_note(matches))
        shift = ""
        if missing and stray:  # Else there is no need to look at all names once more.
            shift = numbering.shift(*pairing.paths(matches, paired, missing, stray))
        if skip:
            notes += tuple(pairing.left_out(matches, missing, stray))
            notes += (shift,) if shift else ()
        elif shift:
            problems.add(f"{self.url}: {shift}")
        else:
            pairing.check_missing(matches, [n for n in names if n not in masks_of], problems)
            pairing.check_stray(matches, stray, problems)
        pairing.check(matches, names, problems)
        has_parts = matches.mask_pattern.has_parts
        with_parts = names if has_parts else ()
        num_files = Counter(mask.part for name in with_parts for mask in masks_of.get(name, ()))
        found: list[str] = []
        if rules:
            key = f"{self.url}: masks: {self.masks}"
            found = parts.part_problems(rules, key, has_parts, num_files)
            problems.found.extend(found)
            notes += tuple(parts.part_notes(rules, num_files)) if not found else ()
        if found or (has_parts and rules is None):
            return Found((), notes, rules)  # Nothing says which part is which class.
        usable = [n for n in names if n in masks_of and not pairing.is_own_mask(matches, n)]
        return self.found([self._pair(matches, name) for name in usable], notes, problems, rules)

    def _pair(self, matches: Matches, name: str) -> "ImageFile":
        """The item of an image that has a mask."""
        masks, found = matches.masks, matches.masks_of[name]
        if not matches.mask_pattern.has_parts:
            return self.file(matches.images, name, masks.path(found[0].name))
        files = [Part(mask.part, masks.path(mask.name)) for mask in found]
        return self.file(matches.images, name, masks.path(matches.wanted(name)), files)

    def _match(self, labelled: bool, problems: Problems) -> Matches | None:
        """Which masks belong to which images; None after a problem with all of them."""
        tree = listing.open_tree(self.url, problems)
        if tree is None:
            return None
        image_pattern, mask_pattern = parse_images(self.images), parse_masks(self.masks)
        one_folder = image_pattern.is_folder and mask_pattern.is_folder
        one_folder = one_folder and image_pattern.below == mask_pattern.below
        if one_folder and labelled:
            problems.add(self._own_masks(tree, mask_pattern))
            return None
        images = self._files("images", tree, image_pattern, mask_pattern, problems)
        masks = None
        if labelled:
            masks = self._files("masks", tree, mask_pattern, image_pattern, problems)
        elif images is not None:
            # Masks that lie among images are no images, whether or not masks are asked for.
            paths = [] if one_folder else map(images.path, images.read)
            masks = Listing(tree, mask_pattern.below, names_below(mask_pattern.below, paths))
        if images is None or masks is None:
            return None
        matches = pairing.match(images, masks, image_pattern, mask_pattern)
        if problem := self._nothing_pairs(matches, images, labelled):
            problems.add(problem)
            return None
        return matches

    def _files(
        self,
        part: Literal["images", "masks"],
        tree: "Tree",
        own: ImagePattern | MaskPattern,
        other: ImagePattern | MaskPattern,
        problems: Problems,
    ) -> Listing | None:
        """The files that the images' pattern means, or all below the masks' folder; that none is
        read is a problem."""
        apart = other.below if other.is_folder else None
        every = listing.list_folder(tree, own.below, problems, apart)
        if every is None:
            return None
        found = listing.meant(every, own) if isinstance(own, ImagePattern) else every
        if not found.read:
            if every.read:
                problems.add(listing.no_match(every, part, getattr(self, part)))
            else:
                problems.add(self._why_empty(part, every))
            return None
        return found

    def _why_empty(self, part: Literal["images", "masks"], found: Listing) -> str:
        if not found.tree.is_there(""):
            return listing.no_folder(self.url, part)
        from factory.data.recognizing import recognition

        missing = listing.what_is_missing(found, part)
        own = [key for key in ("images", "masks") if key in self.model_fields_set]
        if advice := recognition.advice_on_kind(found.tree, self.url, self.kind, own):
            return f"{missing} {advice}"
        pictures = _pictures(found.tree)
        known = {parse_images(self.images).below, parse_masks(self.masks).below}
        if others := {name.rpartition("/")[0] for name in pictures} - known:
            named = some(sorted(name or "." for name in others))
            inner = parse_images(self.images).below if part == "masks" else ""
            images = Listing(found.tree, inner, names_below(inner, pictures))
            hint = pairing_hints.find(images, part == "images", pictures)
            if hint is None or (len(others) == 1 and hint.is_plain):
                return f"{missing} There are images in {named}: set `{part}:` to the right one."
            return f"{missing} There are images in {named}. {hint.advice}"
        formats = listing.ENDINGS if part == "images" else "one .png an image, value = class id"
        return f"{missing} Put the {part} there, in a format that is read: {formats}."

    def _own_masks(self, tree: "Tree", pattern: MaskPattern) -> str:
        """The problem of one folder for images and masks."""
        inner = pattern.below
        pictures = _pictures(tree, inner)
        images = Listing(tree, inner, names_below(inner, pictures))
        hint = pairing_hints.find(images, True, pictures)
        apart = (
            "Put the masks into a folder of their own, each under its image's name, and name it "
            'in `masks:`; or write patterns that tell them apart, such as images: "*.jpg" and '
            'masks: "{stem}_mask.png".'
        )
        return (
            f"{tree.url_of(inner)}: holds images and masks in one folder, and each image would be "
            f"its own mask. {hint.advice if hint else apart}"
        )

    def _nothing_pairs(self, matches: Matches, images: Listing, labelled: bool) -> str | None:
        """The problem of patterns that pair nothing, with those that would, or of others than those
        that pair all; None where it is told of each image alone, as nothing else is known."""
        if not matches.images.read:
            return (
                f"{images.folder}: each of the {len(images.read):,} images is a mask of another by "
                f"`images: {self.images}` and `masks: {self.masks}`. Say in them what tells images "
                "from masks."
            )
        unpaired = [name for name in matches.images.read if name not in matches.masks_of]
        few = len(unpaired) < _MIN_UNPAIRED * len(matches.images.read)
        settled = few or self.unpaired == "skip" or self.names_url is not None
        if not labelled or not unpaired or (matches.masks_of and settled):
            return None
        is_pattern = not matches.image_pattern.is_folder
        hint = pairing_hints.find(images, is_pattern, _pictures(images.tree))
        if matches.masks_of and (hint is None or not hint.is_whole):
            return None
        if hint is None and (matches.masks.read or matches.mask_pattern.is_folder):
            return None
        first = unpaired[0]
        seen = _pictures(images.tree, matches.masks.below)
        num = "none" if not matches.masks_of else f"{len(matches.masks_of):,}"
        wanted = matches.masks.path(matches.wanted(first))
        told = f"{images.path(first)} would be {wanted}"
        there = f", and what lies there is called {some(seen, 2 if len(told) < _MAX_TOLD else 1)}"
        return (
            f"{images.folder}: {num} of the {len(images.read):,} images has a mask: that of {told}"
            f"{there if len(told) < 2 * _MAX_TOLD else ''}. {hint.advice if hint else ''}"
        )


def _pictures(tree: "Tree", below: str = "") -> list[str]:
    """The images and masks of a tree, by their endings."""
    return [name for name in tree.names(below) if name.lower().endswith(listing.IMAGE_SUFFIXES)]
