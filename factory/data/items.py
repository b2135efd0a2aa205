"""Sources of images: each is a list of items, each of which is read on its own.

Whoever adds a kind of source writes its section in `factory.data.kinds` with the methods of
`StoredSource`, and items with the properties and methods of `Item`. Cropping, scaling, all checks
of images and masks, the cache and `factory inspect` are the same for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from factory.data.classes.class_rules import ClassRules
from factory.data.files.trees import Tree
from factory.data.masks import mask_decoding, part_masks
from factory.data.masks.mask_decoding import Mask
from factory.data.masks.parts import Part
from factory.data.pixels import decoding
from factory.data.pixels.decoding import Picture
from factory.data.pixels.geometry import Box
from factory.data.pixels.reading import DEFAULT_READING, Reading
from factory.errors import Problems


class Item(Protocol):
    """One image of a source, with its mask if masks were asked for; not read yet.

    Several threads read items at once, but each item is read by one of them, `image` before `mask`.
    """

    @property
    def name(self) -> str:
        """The name of the image in reports, unique in its source."""

    @property
    def image_url(self) -> str:
        """The name of the image in messages: its URL, as exactly as people can find it."""

    @property
    def mask_url(self) -> str | None:
        """The name of the mask in messages; None if masks were not asked for."""

    @property
    def reading(self) -> Reading:
        """The keys of its source that decide its pixels."""

    @property
    def tile(self) -> Box | None:
        """The part of the upright image that it is, if it is a tile; None for all of it."""

    def image(self, size: int) -> Picture:
        """The image, upright and whole; its place in a square of this size follows from `reading`
        and `tile`.

        Raises OSError, and UnreadableImage with a message that continues `image_url: `.
        """

    def content(self) -> bytes:
        """The bytes that alone decide the image: those of its file. Raises as `image` does."""

    def mask(self, size: int, rules: ClassRules) -> Mask:
        """The mask as it is stored, whole, its values made class ids by the rules.

        Raises as `image` does, which may have failed before.
        """


@dataclass(frozen=True)
class Found:
    """The items of a source, none of them read yet."""

    items: Sequence[Item] = ()
    """Sorted by name; those of files that hold several in the order in which they are stored, those
    that are tiles of one image row by row."""
    notes: tuple[str, ...] = ()
    """Sentences on what lies beside the images and is not read, though it may be meant (other
    endings, sub-folders, links to folders), and on what is read though it may be no image."""
    rules: ClassRules | None = None
    """The classes, and which values of the masks they are; None if masks were not asked for, or if
    the classes are not readable, which is a problem."""
    may_fail: bool = True
    """False if no image can be unreadable, so that there is no need to look beforehand."""


class Source(Protocol):
    """A source of images, and perhaps masks."""

    @property
    def num(self) -> int | None:
        """The number of images that it was asked for; None for all."""

    def find(self, labelled: bool, problems: Problems) -> Found:
        """Lists its images, with masks if labelled, and reads none of them.

        What is wrong is added to problems, a line each; the rest is found all the same.
        """


class StoredSource(Source, Protocol):
    """A source that a config can name, and in which every process finds the same images."""

    @property
    def kind(self) -> str:
        """The name of its kind in a config."""

    @property
    def title(self) -> str:
        """The name of the source in cards of models and datasets, such as that of its folder."""

    def versions(self, items: Sequence[Item]) -> Sequence[str]:
        """A text for each item, another one after its image or, if masks were asked for, its mask
        has changed; empty if nothing is known of them. Raises OSError."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file of a tree, and the file of its mask, or the files of its parts."""

    name: str
    tree: Tree
    path: str
    """The name of the image's file in the tree."""
    mask_path: str | None = None
    """The name of the mask's file in the tree, of parts with {part} in it; None if masks were not
    asked for."""
    parts: tuple[Part, ...] = ()
    """The files of the mask, if each is a part of it."""
    reading: Reading = DEFAULT_READING

    @property
    def tile(self) -> None:
        """None: it is a whole image."""

    @property
    def image_url(self) -> str:
        """The place of the image's file."""
        return self.tree.url_of(self.path)

    @property
    def mask_url(self) -> str | None:
        """The place of the mask's file."""
        return None if self.mask_path is None else self.tree.url_of(self.mask_path)

    @property
    def mask_paths(self) -> tuple[str, ...]:
        """The names in the tree of all files of the mask; none if masks were not asked for."""
        if self.parts:
            return tuple(part.path for part in self.parts)
        return () if self.mask_path is None else (self.mask_path,)

    def image(self, size: int) -> Picture:
        """The file's image."""
        return decoding.decode_image(self.tree.read(self.path), self.reading)

    def content(self) -> bytes:
        """The image file's bytes."""
        return self.tree.read(self.path)

    def mask(self, size: int, rules: ClassRules) -> Mask:
        """The mask file's ids."""
        assert self.mask_path is not None, "masks were asked for"
        if self.parts:
            return part_masks.draw(self.parts, self.tree.read, rules)
        return mask_decoding.decode_mask(self.tree.read(self.mask_path), rules)
