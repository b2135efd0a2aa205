"""The corrected masks of suggested images, as a tool exported them: which tool it was, and what is
wrong with any of them.

Shapes: H height, W width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from factory import storage
from factory.classes import Classes
from factory.data.classes.class_rules import ClassRules
from factory.data.files import trees
from factory.data.files.trees import Tree
from factory.data.masks import mask_decoding
from factory.errors import Problems, UnreadableImage, UserError, some
from factory.images import UInt8
from factory.suggesting import cvat, label_studio
from factory.suggesting.layers import Labels
from factory.suggesting.returned import Returned, Sizes, size_problem, stem_of

_READERS = {".xml": cvat.read_xml, ".json": label_studio.read_json}
"""The ending of an export that is one file -> what reads it."""
_LABELMAP = "labelmap.txt"
_KINDS = (
    "Name CVAT's export (CVAT for images 1.1), Label Studio's (JSON), or a folder of PNG masks."
)


@dataclass(frozen=True, eq=False)
class Corrected:
    """The mask of an image as it came back."""

    stem: str
    """The name of the image's file without its ending."""
    mask: UInt8
    """(H, W) class ids, 255 = ignore."""
    num_hidden: int = 0
    """The number of pixels on which a layer lies over one of another label."""


def read_corrected(
    url: str, sizes: Sizes, classes: Classes, problems: Problems
) -> dict[str, Corrected]:
    """The masks of an export, by the names of the images' files without their endings.

    What is wrong is added to problems. Raises UserError for an export that cannot be read at all.
    """
    try:
        found = list(_masks(url, sizes, classes, problems))
    except UnreadableImage as error:
        raise UserError(f"{url}: {error}") from None
    except FileNotFoundError:
        raise UserError(f"{url}: is not there. {_KINDS}") from None
    except OSError as error:
        raise storage.to_user_error(url, error, "read", _KINDS) from None
    by_stem: dict[str, Corrected] = {}
    for each in found:
        if each.stem in by_stem:
            problems.add(f"{url}: {each.stem} is there twice. Leave one of them out.")
        by_stem[each.stem] = each
    if not by_stem and not problems.found:
        problems.add(f"{url}: holds no mask of a suggested image. {_KINDS}")
    return by_stem


def _masks(url: str, sizes: Sizes, classes: Classes, problems: Problems) -> Iterator[Corrected]:
    """Yields all masks that can be read. Raises UnreadableImage, OSError, UserError."""
    for ending, read in _READERS.items():
        if url.lower().endswith(ending):
            data = trees.read_file(url)
            yield from _joined(url, read(data, sizes), sizes, classes, problems)
            return
    tree = trees.open_tree(url)
    names = tree.names()
    if not names:
        raise UserError(f"{url}: is not there, or is empty. {_KINDS}")
    if any(name.rpartition("/")[2] == _LABELMAP for name in names):
        raise UserError(
            f"{url}: is CVAT's export of coloured masks, which has no ids. Export it as CVAT for "
            "images 1.1."
        )
    for ending, read in _READERS.items():
        files = [name for name in names if name.lower().endswith(ending)]
        if files and not any(name.lower().endswith(".png") for name in names if ending == ".json"):
            for name in files:
                returned = read(tree.read(name), sizes)
                yield from _joined(tree.url_of(name), returned, sizes, classes, problems)
            return
    yield from _pngs(tree, names, sizes, classes, problems)


def _joined(
    url: str, returned: Iterator[Returned], sizes: Sizes, classes: Classes, problems: Problems
) -> Iterator[Corrected]:
    """Yields the masks of images that a tool gave back."""
    labels = Labels(classes)
    for image in returned:
        unknown = sorted({layer.label for layer in image.layers} - labels.ids.keys())
        of_image = list(image.problems)
        if unknown:
            of_image.append(
                f"has the labels {some(unknown)}, which are none of {', '.join(labels.ids)}"
            )
        for problem in of_image:
            problems.add(f"{url}: {image.name} {problem}.")
        if not of_image:
            joined = labels.mask(image.layers, sizes[image.stem])
            yield Corrected(image.stem, joined.mask, joined.num_hidden)


def _pngs(
    tree: Tree, names: list[str], sizes: Sizes, classes: Classes, problems: Problems
) -> Iterator[Corrected]:
    """Yields the masks of PNG files, value = class id."""
    rules = ClassRules.of_positions(classes)
    for name in names:
        if not name.lower().endswith(".png"):
            continue
        url, stem = tree.url_of(name), stem_of(name)
        try:
            mask = mask_decoding.decode_mask(tree.read(name), rules)
        except UnreadableImage as error:
            problems.add(error.of(url))
            continue
        if problem := size_problem(name, mask.ids.size, sizes):
            problems.add(f"{url}: {problem}.")
        elif mask.uncovered:
            values = some([str(value) for value in mask.uncovered])
            problems.add(
                f"{url}: has the values {values}, which are of no class. Classes are "
                f"0..{len(classes) - 1}, and 255 is ignored."
            )
        else:
            yield Corrected(stem, np.array(mask.ids, np.uint8))
