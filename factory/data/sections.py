"""The base of the sections of sources in a config.

A source is one of `factory.data.kinds`: a section that holds its keys, and reads what they name, as
a `factory.data.items.StoredSource` does. A config is read without numpy and Pillow, so the modules
of sections import what reads images only when they read.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from factory import storage
from factory.data import listing, name_lists, patterns
from factory.data.listing import Listing
from factory.data.reading import Exif, Intensity, Reading, check_intensity
from factory.errors import Problems
from factory.values import Count, Section, Url

if TYPE_CHECKING:
    from factory.data.items import ImageFile, Item


def _images_pattern(text: str) -> str:
    """The text, if it is a pattern of images. Raises ValueError."""
    patterns.parse_images(text)
    return text


def _masks_pattern(text: str) -> str:
    """The text, if it is a pattern of masks. Raises ValueError."""
    patterns.parse_masks(text)
    return text


ImagesPattern = Annotated[str, AfterValidator(_images_pattern)]
MasksPattern = Annotated[str, AfterValidator(_masks_pattern)]


class SourceSection(Section):
    """A source of images, and perhaps masks, in a config."""

    purpose: ClassVar[str]
    """The purpose of its kind: the end of a sentence that begins with "Set kind: KIND for"."""

    kind: str
    """The kind of source."""

    def size_problems(self, image_size: int) -> Sequence[str]:
        """Returns problems of the section with images of this size, each beginning with its key."""
        return ()


class FileSection(SourceSection):
    """A source whose images are files."""

    url: Url = Field(description="the folder, or a .zip archive")
    """The folder, a `.zip` archive, or a folder in one: `data.zip/train`; it is read in place."""
    num: Count | None = None
    """Use only the first so many images; all if absent."""
    names_url: Url | None = None
    """List of the images to use, of which num takes the first: JSON, `.txt` of one name a line, or
    `.csv`. Names are paths, file names, or either without ending. All images if absent."""
    names_key: str | None = None
    """The key of that list, if a JSON file is an object of several; its column in a `.csv` file."""

    intensity: Annotated[Intensity | None, AfterValidator(check_intensity)] = None
    """The stored values that become black and white, `[low, high]`; those between are mapped to
    0..255 in proportion, those outside are clipped. `percentiles` takes the 0.5th and the 99.5th
    percentile of each image instead. Absent: 8 bits are taken as they are, 16 bits are divided by
    257, floats within 0..1 multiplied by 255, and others refused. For 12-bit images [0, 4095]."""
    exif: Exif = "apply"
    """The use of the orientation in the EXIF data of photographs. `apply` turns images and masks
    upright, each by its own, and a mask without one as its image where it fits only so; a mask that
    fits both ways is refused. `apply_to_masks` turns each mask as its image: for masks that were
    drawn on the pixels as they are stored. `apply_to_images` turns images alone: for masks that are
    upright as they are stored. `ignore` turns nothing."""

    @model_validator(mode="after")
    def _check_names_key(self) -> "FileSection":
        if self.names_key is not None and self.names_url is None:
            raise ValueError("names_key needs names_url: the file of the lists")
        return self

    @property
    def reading(self) -> Reading:
        """The way in which its files are read."""
        return Reading(self.intensity, self.exif)

    @property
    def title(self) -> str:
        """The folder's name."""
        return storage.name_of(self.url)

    def versions(self, items: Sequence["Item"]) -> list[str]:
        """Size and time of each image's file. Raises OSError."""
        from factory.data.items import ImageFile

        files = [item for item in items if isinstance(item, ImageFile)]
        return files[0].tree.versions([file.path for file in files]) if files else []

    def file(self, images: Listing, name: str, mask_path: str | None = None) -> "ImageFile":
        """The item of an image, and of the mask at a path of the tree."""
        from factory.data.items import ImageFile

        return ImageFile(name, images.tree, images.path(name), mask_path, self.reading)

    def wanted(self, images: Listing, num: int | None, problems: Problems) -> list[str]:
        """The names of the images to choose from: all, or the first num of the list."""
        if self.names_url is None:
            listing.check_missed(images, problems)
            return list(images.read)
        names = name_lists.read_list(self.names_url, self.names_key, problems)
        return name_lists.resolve(names, images, num, problems)

    def without_masks(self, images: Listing, names: list[str], problems: Problems) -> list[str]:
        """The names of the images to use without masks; none if there are masks among them, which
        is a problem, unless a list says which are meant."""
        from factory.data import stray_masks

        if self.names_url is None and (problem := stray_masks.masks_among(images, names)):
            problems.add(problem)
            return []
        return names

    def notes(self, images: Listing) -> tuple[str, ...]:
        """Sentences on what lies beside the images, and on what may be no image."""
        if self.names_url is not None or not images.read:
            return ()  # A list says which files are meant.
        from factory.data import stray_masks

        plain = stray_masks.plain_among(images)
        return (*listing.oddities(images), *([plain] if plain else []))
