"""The source `kind: folder`: all images below a folder, in its sub-folders too, without masks."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Literal

from factory.data import listing
from factory.data.listing import Listing
from factory.data.sections import FileSection
from factory.errors import Problems

if TYPE_CHECKING:
    from factory.data.items import Found
    from factory.data.trees import Tree

_IMAGES, _MASKS = "images", "masks"
"""Sub-folders of pairs, unless a config names others."""


class FolderSource(FileSection):
    """All images below a folder, without masks."""

    purpose: ClassVar[str] = "all images below url"

    kind: Literal["folder"] = "folder"
    """The kind of source."""

    def find(self, labelled: bool, problems: Problems) -> "Found":
        """The images, of a folder that is listed once. See `factory.data.items.Source`."""
        from factory.data.items import Found, ImageFile

        if labelled:
            problems.add(f"{self.url}: kind folder has no masks. Use kind: pairs.")
            return Found()
        tree = listing.open_tree(self.url, problems)
        if tree is None:
            return Found()
        images = self._list(tree, problems)
        names = []
        if images.read and not self._mixes_masks(images, problems):
            names = self.image_names(images, labelled, problems)
        items = [ImageFile(name, tree, images.path(name), None, self.reading) for name in names]
        return Found(items, self.notes(images))

    def _list(self, tree: "Tree", problems: Problems) -> Listing:
        """The images of the folder; that there are none is a problem."""
        try:
            with problems.collected():
                images = listing.list_folder(tree, "", with_subfolders=True)
                if not images.read:
                    problems.add(self._why_empty(images))
                return images
        except OSError as error:
            problems.add(listing.cannot_list(self.url, error))
        return Listing(tree)

    def _why_empty(self, images: Listing) -> str:
        if not images.tree.is_there(""):
            return listing.no_folder(self.url, "images")
        missing = listing.what_is_missing(images, "images")
        return f"{missing} Put the images there, in a format that is read: {listing.ENDINGS}."

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
