"""What lies at a place beside what its section reads, and what it says of that."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from factory import storage
from factory.data.files import listing, numbering
from factory.data.files.patterns import parse_images, parse_masks
from factory.data.files.split_words import SPLITS
from factory.data.items import ImageFile, Item
from factory.data.recognizing import mask_forms, metadata_tables, name_words, stray_masks
from factory.errors import some
from factory.new_config import renderings
from factory.new_config.looking import Place

_LAST_WORD = re.compile("[^0-9A-Za-z/][A-Za-z]+$")
UNLABELLED = ("unlabelled", "unlabeled")
"""Names of folders of images without masks."""
_MAX_FOLDERS = 16
"""The most folders whose names are compared with those of images."""
_MAX_SHOWN = 3
"""The most of them of which it is told how to read them."""
_ENDINGS_OF_LABELS = (".txt", ".json", ".xml", ".csv")


def has_masks_among(place: Place) -> bool:
    """True of a folder that is read as images alone and has masks among them."""
    pictures = renderings.pictures(place)
    files = listing.Listing(place.tree, "", tuple(pictures))
    is_folder = place.candidate.keys["kind"] == "folder"
    return is_folder and stray_masks.masks_among(files, pictures) is not None


def said_otherwise(place: Place, items: Sequence[Item]) -> str:
    """The problem of masks of which a table beside the images says that they are of other images
    than their names say; empty if none does.

    items: the images with masks; none if nothing pairs them.
    """
    said = metadata_tables.masks_said(place.tree, set(renderings.pictures(place)))
    paired = {item.image_url: item.mask_url for item in items if item.mask_url}
    for image, row in said.items():
        url = storage.normalize(place.tree.url_of(image))
        masks = {
            column: wanted
            for column, name in row.masks.items()
            if (wanted := storage.normalize(place.tree.url_of(name))) not in paired
        }
        is_of_these = url in paired or (row.is_sure and not paired)
        if is_of_these and masks and paired.get(url) not in masks.values():
            column = next(filter(name_words.mask_word, masks), next(iter(masks)))
            return (
                f"{row.table}: says in the column {column} that the mask of {url} is "
                f"{masks[column]}, and by its name it would be {paired.get(url) or 'none'}. "
                "Masks are paired by their names alone: call each as its image in a folder of its "
                "own, or write both as columns `image` and `mask` of a Parquet file, which kind: "
                "parquet reads."
            )
    return ""


def numbers_differ(place: Place, items: Sequence[Item]) -> bool:
    """True if images and masks of a place may be numbered from different starts.

    items: the images with masks of equal numbers.
    """
    files = [item for item in items if isinstance(item, ImageFile)]
    pairs = [(file.path, file.mask_paths[0]) for file in files]
    used = {path for file in files for path in (file.path, *file.mask_paths)}
    return bool(
        numbering.shift(pairs, [name for name in renderings.pictures(place) if name not in used])
    )


def of_tasks(place: Place) -> str:
    """A sentence on masks that Label Studio has called by the numbers of its tasks, which names of
    images do not tell; empty without any."""
    if not any(map(mask_forms.LABEL_STUDIO.search, renderings.pictures(place))):
        return ""
    return (
        " Masks here are called by the numbers of Label Studio's tasks: call each image by that of "
        "its task, such as 7.jpg for task-7-annotation-..., which its export as JSON tells (`id` "
        "and `data`), or export COCO, whose names are those of the images."
    )


def may_be_labels(place: Place) -> str:
    """The files below a place that labels may be in, by their endings; empty without any."""
    names = [name for name in place.tree.names() if name.lower().endswith(_ENDINGS_OF_LABELS)]
    return listing.by_ending(names)


def left_over(place: Place) -> list[str]:
    """The folders directly below a place that hold images and no part of its section, nor pictures
    of the same images, as masks of another kind and overlays are."""
    inside: dict[str, list[str]] = defaultdict(list)
    for name in renderings.pictures(place):
        if "/" in name:
            inside[name.partition("/")[0]].append(name)
    known = {folder.partition("/")[0] for folder in _used_folders(place)}
    others = sorted(inside.keys() - known) if known else []
    if not 0 < len(others) <= _MAX_FOLDERS:
        return []
    images = renderings.images_read(place)
    return [top for top in others if _are_other_images(place, top, images, inside[top])]


def _are_other_images(
    place: Place, folder: str, images: Sequence[str], names: Sequence[str]
) -> bool:
    """True if the pictures of a folder are neither masks nor called like the images of a place,
    unless the folder says what they are."""
    # Images of another split, or without masks, may be called as those of this one are.
    if folder.lower() in (*SPLITS, *UNLABELLED):
        return True
    if renderings.look_like_masks(place, images, names):
        return False
    return renderings.keys_that_pair(place, images, names) is None


def of_same_images(place: Place, section: Mapping[str, Any], folders: Sequence[str]) -> str:
    """The end of a sentence that names folders of a place: which of them hold pictures that are
    called like its images, and what to write to read these; empty without any."""
    images, found = renderings.images_read(place), {}
    for folder in folders[:_MAX_FOLDERS]:
        names = [n for n in renderings.pictures(place) if n.rpartition("/")[0] == folder]
        if names and (keys := renderings.keys_that_pair(place, images, names)):
            found[folder] = _to_write(place, section, keys, images, names)
    if not found:
        return ""
    lines = " or ".join([*found.values()][:_MAX_SHOWN])
    first = storage.join(place.url, *next(iter(found)).split("/"))
    return (
        f". Those in {some(list(found), _MAX_SHOWN)} are called like the images: to read them as "
        f"masks, in place of those that are used, write {lines}; to learn from them as images, "
        f"name the folder: --unlabelled {first}"
    )


def _to_write(
    place: Place,
    section: Mapping[str, Any],
    keys: Mapping[str, str],
    images: Sequence[str],
    names: Sequence[str],
) -> str:
    """The keys of a section that read pictures as masks, without `images` where its own do."""
    inner = section["url"].removeprefix(place.url).strip("/")
    own = "/".join(filter(None, (inner, section.get("images", "images"))))
    alone = {"images": own, "masks": keys["masks"]}
    needed = ["masks"] if renderings.do_pair(place, images, names, alone) else ["images", "masks"]
    texts = {key: keys[key].removeprefix(f"{inner}/" if inner else "") for key in needed}
    lines = (f"`{key}: {json.dumps(text, ensure_ascii=False)}`" for key, text in texts.items())
    return " and ".join(lines)


def other_pictures(known: Sequence[str], names: Sequence[str]) -> set[str]:
    """Those of names that are called like one of the known images, and a word more, in its folder:
    1_flows.tif beside 1.tif, which is another picture of the same."""
    stems = {os.path.splitext(name)[0] for name in known}
    found = set()
    for name in set(names) - set(known):
        stem = os.path.splitext(name)[0]
        cut = _LAST_WORD.sub("", stem)
        while cut != stem and cut not in stems:
            stem, cut = cut, _LAST_WORD.sub("", cut)
        if cut != stem:
            found.add(name)
    return found


def images_of_folder(place: Place, folder: str) -> dict[str, Any]:
    """The section that reads the images of a folder below a place alone, without masks among them,
    if they lie apart."""
    names = [n[len(folder) + 1 :] for n in renderings.pictures(place) if n.startswith(f"{folder}/")]
    masks = stray_masks.masks_among(listing.Listing(place.tree, folder, tuple(names)), names)
    apart = masks.images_url if masks else None
    return {"kind": "folder", "url": apart or storage.join(place.url, folder)}


def unused_folders(place: Place) -> list[str]:
    """The folders below a place with pictures of which its section reads none, and the names of
    such pictures that lie in no folder."""
    used = tuple(f"{folder}/" for folder in _used_folders(place))
    rest = [name for name in renderings.pictures(place) if used and not name.startswith(used)]
    return sorted({name.rpartition("/")[0] or name for name in rest})


def unused_splits(place: Place, sections: Sequence[Mapping[str, Any]]) -> list[str]:
    """The splits of a place of which none of the sections reads all, where each is read alone."""
    candidate = place.candidate
    if not candidate.needs_split:
        return []
    used = [
        split
        for split in candidate.splits
        if any(candidate.of_split(split).items() <= section.items() for section in sections)
    ]
    return [split for split in candidate.splits if split not in used]


def _used_folders(place: Place) -> list[str]:
    """The folders below a place that hold what its section reads; empty where that is all of it, or
    is not known."""
    used = []
    splits = [*place.candidate.splits, *([] if place.candidate.needs_split else [None])]
    for keys in map(place.candidate.of_split, splits):
        inner = keys["url"].removeprefix(place.url).strip("/")
        if keys["kind"] != "pairs":
            # PNGs of panoptic segments lie in a folder that is called like their JSON.
            json_url = str(keys.get("annotations_url") or "").rpartition(".")[0]
            used += [inner, *([json_url.removeprefix(place.url).strip("/")] if json_url else [])]
            continue
        below = [parse_images(keys.get("images", "images")).below]
        below.append(parse_masks(keys.get("masks", "masks")).below)
        if keys.get("layout"):
            below = [""]
        used += ["/".join(filter(None, (inner, folder))) for folder in below]
    return [] if "" in used else used
