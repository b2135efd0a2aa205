"""The base of the sections of sources in a config.

A source is one of `factory.data.kinds`: a section that holds its keys, and reads what they name, as
a `factory.data.items.StoredSource` does. A config is read without numpy and Pillow, so the modules
of sections import what reads images only when they read.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from factory import storage
from factory.data import listing
from factory.data.listing import Listing
from factory.data.reading import Exif, Intensity, Reading, check_intensity
from factory.errors import Problems, some
from factory.values import Count, Section, Url

if TYPE_CHECKING:
    from factory.data.items import Item


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
    """JSON list of the file names of the images to use, of which num takes the first; all images if
    absent."""
    names_key: str | None = None
    """The key of that list, if the JSON file is an object of several lists."""

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
            raise ValueError("names_key needs names_url: the JSON file of the lists")
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

    def image_names(self, images: Listing, labelled: bool, problems: Problems) -> list[str]:
        """The names of the images to use, sorted; none if there is a problem with all of them."""
        if self.names_url is not None:
            return sorted(self._listed(images, problems))
        from factory.data import stray_masks

        listing.check_missed(images, problems)
        names = list(images.read)[: self.num]
        if not labelled and (problem := stray_masks.masks_among(images, names)):
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

    def _listed(self, images: Listing, problems: Problems) -> list[str]:
        """The first num names of names_url, without those that are missing, which are problems."""
        wanted = self._read_names(problems)[: self.num]
        known = set(images.read)
        missing = [name for name in wanted if name not in known]
        for i, name in enumerate(missing):
            similar = listing.suggestion(name, images.read) if i < listing.MAX_SUGGESTIONS else ""
            problems.add(
                f"{self.names_url}: names {name}, which is not in {images.folder}.{similar} "
                "Names are file names with their ending."
            )
        return [name for name in wanted if name in known]

    def _read_names(self, problems: Problems) -> list[str]:
        """The list in names_url, or below names_key in it; empty if there is a problem."""
        url, key = self.names_url, self.names_key
        assert url is not None
        try:
            content = json.loads(storage.read_text(url))
        except (OSError, ValueError, RecursionError) as error:
            problems.add(
                f"{url}: cannot be read ({storage.describe(error)}). It must be a JSON list of "
                "image file names."
            )
            return []
        if isinstance(content, dict):
            if key not in content:
                problems.add(
                    f"{url}: holds the lists {some(list(content))}. Set names_key to one, not "
                    f"{key!r}."
                )
                return []
            content = content[key]
        elif key is not None:
            problems.add(f"{url}: is one list, without keys. Leave names_key={key} out.")
            return []
        if not content or not isinstance(content, list) or not all(type(n) is str for n in content):
            problems.add(
                f"{url}: expected a list of one or more file names{f' at {key}' if key else ''}."
            )
            return []
        for name, count in Counter(content).items():
            if count > 1:
                problems.add(f"{url}: names {name} {count} times. Name it once.")
        return list(dict.fromkeys(content))
