"""The source `kind: folder`: all images below a folder, in its sub-folders too, without masks."""

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Literal

from factory.data.files import listing
from factory.data.files.listing import Listing
from factory.data.files.pattern_values import ImagesPattern, ImagesPatterns
from factory.data.files.patterns import parse_images
from factory.data.sections import FileSection, HasMasks
from factory.errors import Problems

if TYPE_CHECKING:
    from factory.data.items import Found
    from factory.data.recognizing.stray_masks import MasksAmong

_IMAGES, _MASKS = "images", "masks"
"""Sub-folders of pairs, unless a config names others."""


class FolderSource(FileSection):
    """All images below a folder, without masks."""

    purpose: ClassVar[str] = "all images below url"
    has_masks: ClassVar[HasMasks] = "never"

    kind: Literal["folder"] = "folder"
    """The kind of source."""
    pattern: ImagesPattern = ""
    """Which images, if not all: `"**/*_rgb.png"`, where `*` is any text within a name and `**` any
    folders."""
    exclude: ImagesPatterns | None = None
    """Which files are no images, if there are such: a pattern as `"**/*_mask.png"`, a folder, or a
    list of these."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The images, of a folder that is listed once. See `factory.data.items.Source`."""
        from factory.data.items import Found

        if labelled:
            problems.add(f"{self.url}: kind folder has no masks. Use kind: pairs.")
            return Found()
        tree = listing.open_tree(self.url, problems)
        pattern = parse_images(self.pattern)
        every = listing.list_folder(tree, pattern.below, problems) if tree else None
        if every is None:
            return Found()
        images = listing.meant(every, pattern, list(map(parse_images, self.exclude or ())))
        if not images.read:
            problems.add(self._why_empty(every))
        elif not self._mixes_masks(images, problems):
            names = sorted(self.wanted(images, self.num, problems, pattern)[: self.num])
            names = self.without_masks(images, names, problems)
            files = [self.file(images, name) for name in names]
            return self.found(files, self.notes(images) if names else (), problems)
        return Found()

    def may_read(self, name: str) -> bool:
        """See `FileSection`; a list may mean any file by its name alone."""
        is_meant = parse_images(self.pattern).means(name)
        is_excluded = any(parse_images(text).means(name) for text in self.exclude or ())
        return super().may_read(name) and (
            self.names_url is not None or (is_meant and not is_excluded)
        )

    def advice_on_masks(self, found: "MasksAmong") -> str:
        """See `FileSection`; masks that a pattern means may be left out by it."""
        if found.images_url or not (patterns := found.patterns):
            return super().advice_on_masks(found)
        text = json.dumps(patterns if len(patterns) > 1 else patterns[0], ensure_ascii=False)
        return f"Set exclude: {text}, or list the images to use in names_url."

    def _why_empty(self, images: Listing) -> str:
        from factory.data.recognizing import recognition

        if not images.tree.is_there(""):
            return listing.no_folder(self.url, "images")
        if images.read:
            if self.exclude and listing.meant(images, parse_images(self.pattern)).read:
                return (
                    f"{self.url}: `exclude: {', '.join(self.exclude)}` leaves none of the "
                    f"{len(images.read):,} images in it. Let it mean only what is no image."
                )
            return listing.no_match(images, "pattern", self.pattern)
        missing = listing.what_is_missing(images, "images")
        own = [key for key in ("pattern", "exclude") if key in self.model_fields_set]
        advice = recognition.advice_on_kind(images.tree, self.url, self.kind, own)
        put = f"Put the images there, in a format that is read: {listing.ENDINGS}."
        return f"{missing} {advice or put}"

    def _mixes_masks(self, images: Listing, problems: Problems) -> bool:
        """True if the folder holds pairs, whose masks would be read as images: a problem."""
        tops = {PurePosixPath(name).parts[0] for name in images.read if "/" in name}
        if not {_IMAGES, _MASKS} <= tops:
            return False
        problems.add(
            f"{self.url}: holds {_IMAGES}/ and {_MASKS}/, and kind folder would read masks as "
            f"images. Use kind: pairs, or url: {images.url_of(_IMAGES)}."
        )
        return True
