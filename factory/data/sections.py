"""The base of the sections of sources in a config.

A source is one of `factory.data.kinds`: a section that holds its keys, and reads what they name, as
a `factory.data.items.StoredSource` does. A config is read without numpy and Pillow, so the modules
of sections import what reads images only when they read.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from factory import storage
from factory.data.classes import class_files, class_forms
from factory.data.classes.class_forms import Division, Ignored
from factory.data.classes.class_rules import ClassRules
from factory.data.files import listing, name_lists
from factory.data.files.listing import Listing
from factory.data.files.patterns import ImagePattern
from factory.data.masks.parts import Part
from factory.data.pixels.reading import (
    Exif,
    Fit,
    Frames,
    Intensity,
    Reading,
    check_intensity,
    reading_of,
)
from factory.errors import Problems, UserError, counted
from factory.values import Count, Section, Url, unquoted

if TYPE_CHECKING:
    from factory.data.files.trees import Tree
    from factory.data.items import Found, ImageFile, Item
    from factory.data.recognizing.stray_masks import MasksAmong


def _number_as_text(value: Any) -> Any:
    """A whole number as the text that it is in a file."""
    return str(value) if type(value) is int else value


ClassForm = list[Any] | dict[str, Any]
"""Classes in one of the forms of `factory.data.classes.class_forms`."""


OF_VALUES = ("nearest_colors", *Division.model_fields)
"""The settings on the values of masks, which masks that are drawn do not have."""
HasMasks = Literal["never", "perhaps", "always"]


class SourceSection(Section):
    """A source of images, and perhaps masks, in a config."""

    purpose: ClassVar[str]
    """The purpose of its kind: the end of a sentence that begins with "Set kind: KIND for"."""
    has_masks: ClassVar[HasMasks] = "always"
    """perhaps: of kinds where what lies there decides whether there are masks beside the images."""

    kind: str
    """The kind of source."""

    def size_problems(self, image_size: int) -> Sequence[str]:
        """Returns problems of the section with images of this size, each beginning with its key."""
        return ()


class LabelledSection(Division, SourceSection):
    """A source whose masks hold values that its classes give a meaning."""

    brings_classes: ClassVar[bool] = False
    """True of kinds whose files may name the classes, so that a config need not."""
    draws_labels: ClassVar[bool] = False
    """True of kinds whose masks are drawn of shapes that have labels."""
    has_parts: ClassVar[bool] = False
    """True of kinds whose masks may have a file for each part."""

    ignore: Ignored | None = None
    """Values of masks, or labels of shapes, that are of no class."""
    nearest_colors: bool = False
    """Where masks are read by colours: a colour that no class names is of the class of the nearest
    one, as at smoothed edges, or in JPEG."""
    classes: ClassForm | None = None
    """The classes, as classes_url has them: [name, ...], {id: name, ...}, or [{name, ids}, ...],
    where `ids`, `colors` or `above` tell which values of a mask are the class, and `colors: others`
    are all that no class names; where masks are drawn of shapes, `labels` do, or the class's name
    is their label; where a mask has a file for each part, `parts` do, and later classes are drawn
    over earlier ones."""
    classes_url: Url | None = Field(
        default=None,
        validate_default=True,
        description="a file of class names (or classes: the same, here)",
    )
    """A file of the classes: JSON or YAML of the forms of classes, a name a line, a table, CVAT's
    labelmap.txt, or what another tool has, such as data.yaml of ultralytics."""

    @field_validator("classes", mode="before")
    @classmethod
    def _check_classes(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or "ignore" not in info.data:
            return value
        try:
            class_forms.parse_rules(value, "classes", info.data["ignore"])
        except UserError as error:
            lines = [problem.removeprefix("classes: ") for problem in error.problems]
            raise unquoted(" ".join(lines)) from None
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value

    @field_validator("classes_url")
    @classmethod
    def _check_classes_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "classes" not in info.data:
            return value  # what is wrong with them is told
        if value is None and info.data["classes"] is None and not cls.brings_classes:
            raise PydanticCustomError("missing", "a file of class names")
        if value is not None and info.data["classes"] is not None:
            raise unquoted("names a file of classes beside `classes`. Leave one of them out.")
        return value

    @property
    def names_classes(self) -> bool:
        """True if the section says what the classes are."""
        return self.classes is not None or self.classes_url is not None

    def read_rules(self, problems: Problems) -> ClassRules | None:
        """The classes, and which values of masks they are; None after a problem, which is added,
        and where the section names no classes."""
        from factory.data.files import trees

        with problems.collected():
            if self.classes is not None:
                rules = class_forms.parse_rules(self.classes, "classes", self.ignore)
                return self.of_kind(rules, "classes")
            if (url := self.classes_url) is None:
                return None
            try:
                text = trees.read_file(url).decode()
                rules = class_files.read_rules(text, url, self.ignore)
                return self.of_kind(rules, url)
            except (OSError, UnicodeDecodeError, RecursionError) as error:
                problems.add(
                    f"{url}: cannot be read ({storage.describe(error)}). It must be a file of "
                    'class names, {"0": "background", ...}, in UTF-8.'
                )
        return None

    def of_kind(self, rules: ClassRules, location: str) -> ClassRules:
        """The rules, if masks of this kind follow them. Raises UserError."""
        if any(rule.labels for rule in (*rules.rules, rules.ignored)) and not self.draws_labels:
            raise UserError(
                f"{location}: labels are those of shapes, but masks of kind {self.kind} have "
                "values. Name them as ids, colors or above."
            )
        if rules.by_part and not self.has_parts:
            raise UserError(
                f"{location}: parts are files of a mask of kind pairs, and masks of kind "
                f"{self.kind} have none. Leave parts out."
            )
        if self.ids_divided_by or self.smaller_ids:
            rules = rules.divided(self.ids_divided_by or rules.divisor, self.smaller_ids, location)
        return rules.with_nearest_colors(location) if self.nearest_colors else rules


class FileSection(SourceSection):
    """A source whose images are files."""

    url: Url = Field(description="the folder, or a .zip archive")
    """The folder, a `.zip` archive, or a folder in one: `data.zip/train`; it is read in place."""
    num: Count | None = None
    """Use only the first so many images; all if absent."""
    names_url: Url | None = None
    """List of the images to use, of which num takes the first: JSON, `.txt` of one name a line, or
    `.csv`. Names are paths, file names, either without ending, or what the `*` of a pattern stand
    for. All images if absent."""
    names_key: Annotated[str | None, BeforeValidator(_number_as_text)] = None
    """The key of that list, if a JSON file is an object of several; its column in a `.csv` file, or
    a split that a column has; 1, 0 or -1 in VOC's lists of a class, which end with these."""
    intensity: Annotated[Intensity | None, AfterValidator(check_intensity)] = None
    """The stored values that become black and white, `[low, high]`; those between are mapped to
    0..255 in proportion, those outside are clipped. `percentiles` takes the 0.5th and the 99.5th
    percentile of each image instead. Absent: 8 bits are taken as they are, 16 bits are divided by
    257, floats within 0..1 multiplied by 255, and others refused. For 12-bit images [0, 4095]."""
    frames: Frames = "refuse"
    """What to do with images of several frames or pages: `first` takes the first of each."""
    exif: Exif = "apply"
    """The use of the orientation in the EXIF data of photographs. `apply` turns images and masks
    upright, each by its own, and a mask without one as its image where it fits only so; a mask that
    fits both ways is refused. `apply_to_masks` turns each mask as its image: for masks that were
    drawn on the pixels as they are stored. `apply_to_images` turns images alone: for masks that are
    upright as they are stored. `ignore` turns nothing."""
    fit: Fit = "crop"
    """The way in which images that are not square become square. `crop` uses the centred square,
    `pad` all of the image between black bars that masks ignore, `stretch` all of it without its
    proportions, `tile` cuts it into squares that overlap, each an image of its own."""
    tile_size: Count | None = None
    """Height and width in pixels of the tiles of `fit: tile`; absent: the shorter side of each
    image. Tiles are then scaled to image_size."""

    @model_validator(mode="after")
    def _check_tile_size(self) -> "FileSection":
        if self.tile_size is not None and self.fit != "tile":
            raise ValueError("tile_size needs fit: tile, which cuts images into tiles of this size")
        return self

    @model_validator(mode="after")
    def _check_names_key(self) -> "FileSection":
        if self.names_key is not None and self.names_url is None:
            raise ValueError("names_key needs names_url: the file of the lists")
        return self

    @property
    def reading(self) -> Reading:
        """The way in which its files are read."""
        return reading_of(self.intensity, self.exif, self.fit, self.tile_size, self.frames)

    @property
    def title(self) -> str:
        """The folder's name."""
        return storage.name_of(self.url)

    def versions(self, items: Sequence["Item"]) -> list[str]:
        """Size and time of each image's file, and of the files of its mask if masks were asked for.
        Raises OSError."""
        from factory.data.items import ImageFile

        files = [item for item in items if isinstance(item, ImageFile)]
        if not files:
            return []
        paths = [(file.path, *file.mask_paths) for file in files]
        # All at once, as a store is listed for each call.
        versions = iter(files[0].tree.versions([path for few in paths for path in few]))
        of_files = [list(islice(versions, len(few))) for few in paths]
        return [" ".join(few) if all(few) else "" for few in of_files]

    def file(
        self,
        images: Listing,
        name: str,
        mask_path: str | None = None,
        parts: Sequence[Part] = (),
    ) -> "ImageFile":
        """The item of an image, and of the mask at a path of the tree, or of its parts."""
        from factory.data.items import ImageFile

        path = images.path(name)
        return ImageFile(name, images.tree, path, mask_path, tuple(parts), self.reading)

    def found(
        self,
        items: Sequence["Item"],
        notes: tuple[str, ...],
        problems: Problems,
        rules: ClassRules | None = None,
    ) -> "Found":
        """These items, or their tiles."""
        from factory.data import tiles
        from factory.data.items import Found

        if self.fit != "tile" or not items:
            return Found(items, notes, rules)
        cut = tiles.cut(items, problems)
        are_cut = counted(len(items), "image is cut", "images are cut")
        return Found(cut, (*notes, f"{are_cut} into {counted(len(cut), 'tile')}."), rules)

    def may_read(self, name: str) -> bool:
        """True if a file could be taken for one of the images, or for a mask. name: below url."""
        return name.lower().endswith(listing.IMAGE_SUFFIXES)

    def wanted(
        self,
        images: Listing,
        num: int | None,
        problems: Problems,
        pattern: ImagePattern | None = None,
        masks: Mapping[str, str] | None = None,
    ) -> list[str]:
        """The names of the images to choose from: all, or the first num of the list.

        pattern: that of the images, if they have one. masks: the path of each image's mask, if
        masks are asked for, which the list must not contradict."""
        if self.names_url is None:
            listing.check_missed(images, problems)
            return list(images.read)
        names = name_lists.read_list(self.names_url, self.names_key, problems)
        return name_lists.resolve(names, images, num, problems, pattern, masks)

    def chosen(self, names: Sequence[str], tree: "Tree", problems: Problems) -> list[int]:
        """The positions of the images to use among those of a source whose images are no files of
        their own: the first num, or those that names_url lists."""
        if self.names_url is None:
            return list(range(len(names)))[: self.num]
        found = Listing(tree, read=tuple(names))
        wanted = set(
            name_lists.resolve(
                name_lists.read_list(self.names_url, self.names_key, problems),
                found,
                self.num,
                problems,
            )
        )
        return [i for i, name in enumerate(names) if name in wanted]

    def chosen_but(
        self, lacking: AbstractSet[int], names: Sequence[str], tree: "Tree", problems: Problems
    ) -> tuple[list[int], list[str]]:
        """The positions of the images to use among those that lack nothing, the first num, or those
        that names_url lists; and the names of those that are left out."""
        if self.names_url is None:
            full = [i for i in range(len(names)) if i not in lacking]
            return full[: self.num], [names[i] for i in sorted(lacking)]
        wanted = self.chosen(names, tree, problems)
        return [i for i in wanted if i not in lacking], [names[i] for i in wanted if i in lacking]

    def without_masks(self, images: Listing, names: list[str], problems: Problems) -> list[str]:
        """The names of the images to use without masks; none if there are masks among them, which
        is a problem, unless a list says which are meant."""
        from factory.data.recognizing import stray_masks

        if self.names_url is None and (found := stray_masks.masks_among(images, names)):
            problems.add(f"{found.problem} {self.advice_on_masks(found)}")
            return []
        return names

    def advice_on_masks(self, found: "MasksAmong") -> str:
        """The sentence that says what to set where masks lie among images."""
        if url := found.images_url:
            return f"Set url: {url}, or list the images to use in names_url."
        return "Put the images into a folder of their own, or list those to use in names_url."

    def notes(self, images: Listing) -> tuple[str, ...]:
        """Sentences on what lies beside the images, and on what may be no image."""
        if self.names_url is not None or not images.read:
            return ()  # A list says which files are meant.
        from factory.data.recognizing import stray_masks

        plain = stray_masks.plain_among(images)
        return (*listing.oddities(images), *([plain] if plain else []))
