"""The source `kind: pairs`: images in one folder, masks of the same names in another."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from factory import storage
from factory.classes import parse_classes
from factory.data import listing
from factory.data.class_rules import ClassRules
from factory.data.listing import Listing, stem
from factory.data.sections import FileSection
from factory.errors import Problems, UserError, some
from factory.values import Url

if TYPE_CHECKING:
    from factory.data.items import Found
    from factory.data.trees import Tree

Subfolder = Literal["images", "masks"]


class PairsSource(FileSection):
    """Images beside masks, in two folders below one."""

    purpose: ClassVar[str] = "images beside masks"

    kind: Literal["pairs"] = "pairs"
    """The kind of source."""
    images: str = "images"
    """Sub-folder of the images."""
    masks: str = "masks"
    """Sub-folder of the masks, `L` or palette PNG, value = class id, 255 = ignore."""
    classes_url: Url = Field(description="a JSON file of class names")
    """JSON of class names, {"0": name, ...} or [name, ...]."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The images, with their masks if they are asked for; each folder is listed once.

        See `factory.data.items.Source`.
        """
        from factory.data.items import Found, ImageFile

        rules = self._read_rules(problems) if labelled else None
        images_below, masks_below = self._folder("images"), self._folder("masks")
        tree = listing.open_tree(self.url, problems)
        if tree is None:
            return Found(rules=rules)
        if labelled and images_below == masks_below:
            problems.add(
                f"{tree.url_of(masks_below)}: holds images and masks in one folder, and each image "
                "would be its own mask. Put the masks into a folder of their own, each under its "
                "image's name, and name it in `masks:`."
            )
            return Found(rules=rules)
        images = self._list(tree, "images", problems)
        masks = self._list(tree, "masks", problems) if labelled else Listing(tree, masks_below)
        items = []
        if images.read and (masks.read or not labelled):
            names = self.image_names(images, labelled, problems)
            mask_of = self._pair(names, images, masks, problems) if labelled else {}
            items = [
                ImageFile(name, tree, images.path(name), mask_of.get(name), self.reading)
                for name in names
                if name in mask_of or not labelled
            ]
        return Found(items, self.notes(images), rules)

    def _read_rules(self, problems: Problems) -> ClassRules | None:
        try:
            classes = parse_classes(storage.read_text(self.classes_url), self.classes_url)
            return ClassRules.of_positions(classes)
        except UserError as error:
            problems.found.extend(error.problems)
        except (OSError, UnicodeDecodeError, RecursionError) as error:
            problems.add(
                f"{self.classes_url}: cannot be read ({storage.describe(error)}). "
                'It must be a JSON file of class names, {"0": "background", ...}.'
            )
        return None

    def _folder(self, part: Subfolder) -> str:
        below = self.images if part == "images" else self.masks
        return "/".join(PurePosixPath(below).parts)

    def _list(self, tree: "Tree", part: Subfolder, problems: Problems) -> Listing:
        """The files of a part; that none is read is a problem."""
        below = self._folder(part)
        try:
            with problems.collected():
                found = listing.list_folder(tree, below, False, apart=self._folder("masks"))
                if not found.read:
                    problems.add(self._why_empty(part, found))
                return found
        except OSError as error:
            problems.add(listing.cannot_list(tree.url_of(below), error))
        return Listing(tree, below)

    def _why_empty(self, part: Subfolder, found: Listing) -> str:
        if not found.tree.is_there(""):
            return listing.no_folder(self.url, part)
        missing = listing.what_is_missing(found, part)
        names = found.tree.names()
        folders = {
            name.rpartition("/")[0] or "."
            for name in names
            if name.lower().endswith(listing.IMAGE_SUFFIXES)
        }
        if others := folders - {self.images, self.masks}:
            named = some(sorted(others))
            return f"{missing} There are images in {named}: set `{part}:` to the right one."
        formats = listing.ENDINGS if part == "images" else "one .png an image, value = class id"
        return f"{missing} Put the {part} there, in a format that is read: {formats}."

    def _pair(
        self, names: list[str], images: Listing, masks: Listing, problems: Problems
    ) -> dict[str, str]:
        """Image name -> path of the mask with the same stem; what has no partner is a problem."""
        masks_of = _by_stem(masks.read)
        missing = [name for name in names if stem(name) not in masks_of]
        for i, name in enumerate(missing):
            candidates = [*masks.read, *masks.missed]
            similar = listing.suggestion(name, candidates) if i < listing.MAX_SUGGESTIONS else ""
            problems.add(
                f"{images.url_of(name)}: has no mask {stem(name)}.png in {masks.folder}.{similar} "
                "Add it, or list the images to use in names_url."
            )
        if self.names_url is None:
            _check_stray(images, masks, problems)
        for found in (images, masks):
            _check_unique({stem(name) for name in names}, found, problems)
        return {
            name: masks.path(masks_of[stem(name)][0]) for name in names if stem(name) in masks_of
        }


def _check_stray(images: Listing, masks: Listing, problems: Problems) -> None:
    """Refuses masks without an image."""
    stems = set(map(stem, images.read))
    unread = {stem(name): name for name in images.missed}
    for name in masks.read:
        if stem(name) not in stems:
            other = unread.get(stem(name))
            hint = f" There is {other}, whose ending is not read." if other else ""
            problems.add(
                f"{masks.url_of(name)}: mask without an image.{hint} Add the image, or remove the "
                "mask."
            )


def _check_unique(chosen: set[str], found: Listing, problems: Problems) -> None:
    """Refuses several files of one of the chosen stems."""
    for same_stem, same in _by_stem(found.read).items():
        if same_stem in chosen and len(same) > 1:
            urls = ", ".join(map(found.url_of, same))
            problems.add(f"{urls}: have the same stem {same_stem}. Keep one of them.")


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[stem(name)].append(name)
    return groups
