"""The folder of suggestions: images, masks, a sheet, packages for tools, and why each was chosen.

`suggestions.json` comes last, so that a folder that has it is whole.

Shapes: H height, W width, S image size.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from factory import pictures, storage
from factory.calibration import NOT_THERE
from factory.classes import Classes, Color
from factory.data.pixels import geometry
from factory.errors import Problems, UnreadableImage, UserError
from factory.images import UInt8
from factory.png import decode_png, encode_png
from factory.shards.layout import to_json
from factory.storage import Folder
from factory.suggesting import cvat, label_studio
from factory.suggesting.file_names import Stems
from factory.suggesting.layers import Labels
from factory.suggesting.ranking import Suggestion
from factory.suggesting.returned import stem_of

FOUND, SHEET, CLASSES = "suggestions.json", "sheet.png", "classes.json"
CVAT, CVAT_LABELS = "cvat/annotations.zip", "cvat/labels.json"
TASKS, INTERFACE = "label_studio/tasks.json", "label_studio/interface.xml"
"""Names of files in the folder."""
_COLUMNS = 6
"""Pictures in a row of the sheet: three of each suggestion."""
_MIN_SIDE = 128
"""Smaller pictures are enlarged to about as many pixels."""
_DIGITS = 6


class Entry(BaseModel):
    """What is told of a suggested image."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    """In its source."""
    image: str
    """The name of its file in the folder."""
    mask: str
    """The same of its mask, as the ensemble gives it."""
    mask_sha256: str
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    score: float
    uncertainty: float
    more_uncertain_than: float
    """The share of the candidates that are more certain."""
    distance: float
    nearest: str | None
    expected_iou: float | None
    expected_class_iou: Mapping[str, float] | None

    @property
    def stem(self) -> str:
        """The name of the image's file without folder and ending."""
        return stem_of(self.image)


class Suggestions(BaseModel):
    """The content of FOUND."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ddpm_hash: str
    ensemble_sha256: str
    class_names: tuple[str, ...]
    palette: tuple[Color, ...]
    num_images: int
    """The images of the source."""
    num_candidates: int
    """Those that were looked at and are not known already."""
    uncertainty_weight: float
    suggestions: tuple[Entry, ...]

    @property
    def classes(self) -> Classes:
        """The classes of the masks."""
        return Classes(self.class_names, self.palette)


@dataclass(frozen=True)
class Circumstances:
    """All that FOUND tells beside its suggestions."""

    ddpm_hash: str
    ensemble_sha256: str
    classes: Classes
    num_images: int
    num_candidates: int
    uncertainty_weight: float


def write_suggestions(url: str, found: Iterable[Suggestion], known: Circumstances) -> None:
    """Writes the folder, an image after the other. Raises OSError."""
    folder, labels = Folder(url), Labels(known.classes)
    entries, cells, masks, tasks = list[Entry](), list[UInt8](), list[tuple[str, UInt8]](), []
    stems = Stems()
    for each in found:
        file, pixels = f"{stems.new(each.name)}.png", each.image.pixels
        image_png, mask_png = encode_png(pixels), encode_png(each.mask)
        folder.write(f"images/{file}", image_png)
        folder.write(f"masks/{file}", mask_png)
        entries.append(_entry(each, file, mask_png, known.classes))
        score = entries[-1].expected_iou
        tasks.append(label_studio.task(file, image_png, each.mask, labels, score))
        masks.append((file, each.mask))
        cells += _pictures(each, known.classes)
    folder.write(CVAT, cvat.annotations_zip(masks, labels))
    folder.write(CVAT_LABELS, cvat.labels_json(labels))
    folder.write(TASKS, label_studio.tasks_json(tasks))
    folder.write(INTERFACE, label_studio.interface_xml(labels))
    folder.write(CLASSES, to_json(known.classes.id2label))
    folder.write(SHEET, encode_png(_sheet(cells)))
    told = Suggestions(
        ddpm_hash=known.ddpm_hash,
        ensemble_sha256=known.ensemble_sha256,
        class_names=known.classes.names,
        palette=known.classes.palette,
        num_images=known.num_images,
        num_candidates=known.num_candidates,
        uncertainty_weight=known.uncertainty_weight,
        suggestions=tuple(entries),
    )
    folder.write(FOUND, to_json(told.model_dump(mode="json")))


def _entry(each: Suggestion, file: str, mask_png: bytes, classes: Classes) -> Entry:
    height, width = each.mask.shape
    expected, of_classes = each.expected, None
    if expected is not None and expected.class_ious:
        pairs = zip(classes.names, expected.class_ious, strict=True)
        of_classes = {name: round(iou, 4) for name, iou in pairs if iou != NOT_THERE}
    return Entry(
        name=each.name,
        image=f"images/{file}",
        mask=f"masks/{file}",
        mask_sha256=hashlib.sha256(mask_png).hexdigest(),
        width=width,
        height=height,
        score=round(each.chosen.score, _DIGITS),
        uncertainty=round(each.uncertainty, _DIGITS),
        more_uncertain_than=round(each.more_uncertain_than, 4),
        distance=round(each.chosen.distance, _DIGITS),
        nearest=each.nearest,
        expected_iou=None if expected is None else round(expected.iou, 4),
        expected_class_iou=of_classes,
    )


def _pictures(each: Suggestion, classes: Classes) -> list[UInt8]:
    """(S, S, 3) the image, its mask over it, and where the members disagree."""
    pixels, size = each.image.pixels, each.image.squares[0].shape[0]
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    heat = np.zeros_like(rgb)
    for values, place in zip(each.uncertainty_maps, each.image.places, strict=True):
        part = pictures.heat(values, float(np.log(2)))[place.target.slices]
        scaled = Image.fromarray(part).resize((place.source.width, place.source.height))
        heat[place.source.slices] = np.asarray(scaled)
    found = rgb, pictures.overlay(rgb, each.mask, classes), heat
    return [_squared(picture, size) for picture in found]


def _squared(picture: UInt8, size: int) -> UInt8:
    """All of a picture (H, W, 3) in a square of this size."""
    image = Image.fromarray(picture)
    return geometry.square_pixels(image, size, geometry.placement(image.size, size, "pad", None))


def _sheet(cells: Sequence[UInt8]) -> UInt8:
    """The pictures of all suggestions, the most useful one first."""
    full = [*cells, *[np.full_like(cells[0], 255)] * (-len(cells) % _COLUMNS)]
    rows = [full[i : i + _COLUMNS] for i in range(0, len(full), _COLUMNS)]
    scale = max(1, _MIN_SIDE // len(cells[0]))
    return pictures.captioned(pictures.tile(rows, scale), ["image", "mask", "uncertainty"] * 2)


@dataclass(frozen=True, eq=False)
class SuggestedImage:
    """A suggested image of a folder."""

    entry: Entry
    pixels: UInt8
    """(H, W, C)."""
    mask: UInt8
    """(H, W) as the ensemble gave it."""


def read_suggestions(url: str) -> Suggestions:
    """What a folder tells of its suggestions. Raises UserError if it is none, or is damaged."""
    file = storage.join(url, FOUND)
    remedy = "Name the folder that `factory suggest` wrote: --set suggest.url=FOLDER."
    try:
        return Suggestions.model_validate(json.loads(storage.read_bytes(file)))
    except FileNotFoundError:
        raise UserError(f"{file}: is not there. {remedy}") from None
    except (ValidationError, ValueError, RecursionError):
        raise UserError(f"{file}: is damaged. {remedy}") from None
    except OSError as error:
        raise storage.to_user_error(file, error, "read", remedy) from None


def suggested_images(
    url: str, entries: Iterable[Entry], problems: Problems
) -> Iterator[SuggestedImage]:
    """Yields images with the masks that were suggested; what cannot be read, or has changed, is
    added to problems."""
    for entry in entries:
        read = [_read(url, name, problems) for name in (entry.image, entry.mask)]
        image, mask = read
        if image is None or mask is None:
            continue
        if hashlib.sha256(mask[0]).hexdigest() != entry.mask_sha256:
            problems.add(
                f"{storage.join(url, entry.mask)}: is not as it was suggested. Put it back, and "
                "correct a copy of the folder."
            )
        elif (entry.height, entry.width) != image[1].shape[:2]:
            problems.add(f"{storage.join(url, entry.image)}: is of another size than suggested.")
        else:
            yield SuggestedImage(entry, np.atleast_3d(image[1]), mask[1])


def _read(url: str, name: str, problems: Problems) -> tuple[bytes, UInt8] | None:
    """The bytes and the pixels of a PNG; None after a problem, which is added."""
    file = storage.join(url, name)
    try:
        data = storage.read_bytes(file)
        return data, decode_png(data)
    except UnreadableImage as error:
        problems.add(f"{file}: {error}. Put back what was written.")
    except OSError as error:
        problems.add(f"{file}: cannot be read ({storage.describe(error)}). Put it back.")
    return None
