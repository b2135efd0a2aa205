"""Sections that read images and masks: in folders of usual names, or beside each other."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from factory.data import mask_looks, pairing_hints
from factory.data.candidates import SPLITS, Candidate, Files
from factory.data.listing import Listing
from factory.data.patterns import parse_images, parse_masks
from factory.data.split_lists import listed_splits

_IMAGES = (
    *("images", "image", "imgs", "img", "jpegimages", "pngimages", "input", "inputs", "photos"),
    *("photo", "rgb", "pictures", "x", "original", "originals", "raw", "imagesfolder", "imagestr"),
)
_MASKS = (
    *("masks", "mask", "segmentationclass", "segmentationclasspng", "labels", "label", "gt"),
    *("annotations", "annotation", "annot", "ann", "ann_dir", "groundtruth", "ground_truth"),
    *("ground-truth", "segmentations", "segmentation", "seg", "segs", "segmaps", "labelmaps"),
    *(
        "label_images",
        "targets",
        "target",
        "y",
        "trimaps",
        "mattes",
        "masks_png",
        "masks_machine",
        "labelstr",
    ),
)
"""Usual names of folders, in lower case, the likeliest ones first."""


def in_folders(files: Files) -> Iterator[Candidate]:
    """Folders of images and folders of masks, under usual names."""
    places: dict[str, dict[tuple[str, str], list[str]]] = defaultdict(lambda: defaultdict(list))
    folders = sorted({name.rpartition("/")[0] for name in files.pictures} - {""})
    for before, images, masks in _named_alike(folders):
        places[before][images, masks] += [images]
    splits = {before: before.rpartition("/")[2].lower() for before in places}
    if len(places) > 1 and set(splits.values()) <= set(SPLITS):
        yield from _of_split_folders(files, {b: next(iter(places[b])) for b in places}, splits)
        return
    for before, pairs in sorted(places.items()):
        found = [_pairs(files, before, images, masks) for images, masks in pairs]
        yield from [candidate for candidate in found if candidate]


def _named_alike(folders: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yields (folder, images, masks): folders of usual names in a folder that both have."""
    tops: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        parts = folder.split("/")
        for i, part in enumerate(parts):
            tops["/".join(parts[:i])].add(part)
    for before, parts_of in sorted(tops.items()):
        images = [part for part in sorted(parts_of) if part.lower() in _IMAGES]
        masks = [part for part in sorted(parts_of) if part.lower() in _MASKS]
        for image in images[:1]:
            yield from ((before, image, mask) for mask in sorted(masks, key=_likelihood))


def _likelihood(folder: str) -> int:
    return _MASKS.index(folder.lower())


def _of_split_folders(
    files: Files, places: Mapping[str, tuple[str, str]], splits: Mapping[str, str]
) -> Iterator[Candidate]:
    """Folders of splits, each with images and masks: train/images, train/masks, test/images, ..."""
    found = {
        splits[before]: candidate.keys
        for before, (images, masks) in places.items()
        if (candidate := _pairs(files, before, images, masks))
    }
    if found:
        keys = {"kind": "pairs", "url": files.url}
        yield Candidate(keys, found, needs_split=True)


def _pairs(files: Files, before: str, images: str, masks: str) -> Candidate | None:
    """Images and masks in two folders of a folder; None if nothing pairs them."""
    prefix = f"{before}/" if before else ""
    inner = [name[len(prefix) :] for name in files.pictures if name.startswith(prefix)]
    image_names = [name[len(images) + 1 :] for name in inner if name.startswith(f"{images}/")]
    mask_stems = {
        str(PurePosixPath(name[len(masks) + 1 :]).with_suffix(""))
        for name in inner
        if name.startswith(f"{masks}/")
    }
    keys: dict[str, Any] = {"kind": "pairs", "url": files.below(before)}
    stems = [str(PurePosixPath(name).with_suffix("")) for name in image_names]
    num_paired = sum(stem in mask_stems for stem in stems)
    if num_paired:
        keys |= {} if (images, masks) == ("images", "masks") else {"images": images, "masks": masks}
        if num_paired < max(len(stems), len(mask_stems)):
            keys["unpaired"] = "skip"
        splits = _inner_splits(images, masks, image_names)
        return Candidate(keys, splits or listed_splits(files, before, image_names))
    listing = Listing(files.tree, f"{prefix}{images}", tuple(image_names))
    hint = pairing_hints.find(listing, True, _within(files, before, (images, masks)))
    if hint is None:
        return None
    keys = {**keys, "url": files.url, **hint.keys}
    return Candidate(keys, listed_splits(files, before, image_names))


def _within(files: Files, before: str, folders: Sequence[str]) -> list[str]:
    """The pictures in folders of a folder."""
    starts = tuple(f"{before}/{folder}/" if before else f"{folder}/" for folder in folders)
    return [name for name in files.pictures if name.startswith(starts)]


def _inner_splits(images: str, masks: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The splits that are folders of the folder of images, and of that of masks."""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) < 2 or not {top.lower() for top in tops} <= set(SPLITS):
        return {}
    return {
        top.lower(): {"images": f"{images}/{top}", "masks": f"{masks}/{top}"}
        for top in sorted(tops)
    }


def beside(files: Files) -> Iterator[Candidate]:
    """Masks that a word in their names tells from the images beside them."""
    if len(files.pictures) < 2:
        return
    listing = Listing(files.tree, "", tuple(files.pictures))
    hint = pairing_hints.find(listing, True, files.pictures)
    if hint is None:
        return
    keys = {"kind": "pairs", "url": files.url, **hint.keys}
    if _are_masks(files, keys):
        splits = listed_splits(files, "", files.pictures) or _splits_of_patterns(files, keys)
        yield Candidate(keys, splits)


def _splits_of_patterns(files: Files, keys: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The splits that are the first folders of the images: train/a.png, train/a_mask.png."""
    images, masks = keys["images"], keys["masks"]
    pattern, of_masks = parse_images(images), parse_masks(masks)
    meant = [name for name in files.pictures if pattern.means(name) and not of_masks.means(name)]
    tops = sorted({name.partition("/")[0] for name in meant if "/" in name})
    if len(tops) < 2 or not {top.lower() for top in tops} <= set(SPLITS):
        return {}
    if not images.startswith("**/") or not masks.startswith("{dir}"):
        return {}
    inner = any(name.count("/") > 1 for name in meant)
    if inner and not masks.startswith("{dir}/"):
        return {}
    return {
        top.lower(): {"images": f"{top}/{images}", "masks": f"{top}/{masks}"}
        if masks.startswith("{dir}/")
        else {"images": f"{top}/{images[3:]}", "masks": masks.replace("{dir}", top, 1)}
        for top in tops
    }


def _are_masks(files: Files, keys: Mapping[str, Any]) -> bool:
    """True if most of what a pattern takes for masks look like such, and not rather the images of
    other pictures that it leaves out: then masks of one class were paired with those of another."""
    pattern = parse_images(keys["images"])
    masks = {*filter(parse_masks(keys["masks"]).means, files.pictures)}
    images = [n for n in files.pictures if pattern.means(n) and n not in masks]
    if not _look_like_masks(files, sorted(masks)):
        return False
    rest = sorted({*files.pictures} - {*images} - masks)
    return not rest or not _look_like_masks(files, images) or _look_like_masks(files, rest)


def _look_like_masks(files: Files, names: Sequence[str]) -> bool:
    """True if most of a few files have few colours."""
    return mask_looks.share_of_masks(files.tree, names) > 0.5
