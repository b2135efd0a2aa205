"""What lies in a tree of files, as a section of a source that reads it.

The names of all files decide, and the looks of a few. What is found first is taken: shards, the
layout of a published dataset, folders of images and masks, masks beside their images, images alone.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from factory.data import drawn_candidates, pairing_hints, published_classes, stray_masks
from factory.data.candidates import SPLITS, Candidate, Files
from factory.data.layouts import LAYOUTS
from factory.data.listing import DATA, IMAGE_SUFFIXES, RUN, Listing
from factory.data.patterns import parse_images, parse_masks
from factory.data.split_lists import listed_splits
from factory.data.trees import Tree
from factory.errors import UnreadableImage

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
_SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "voc": (
        r"JPEGImages/[^/]+",
        r"SegmentationClass/[^/]+\.png",
        r"ImageSets/Segmentation/[^/]+\.txt",
    ),
    "cityscapes": (
        r"leftImg8bit/.+_leftImg8bit\.png",
        r"gtFine/.+_gtFine_labelTrainIds\.png",
    ),
    "cityscapes-label-ids": (
        r"leftImg8bit/.+_leftImg8bit\.png",
        r"gtFine/.+_gtFine_labelIds\.png",
    ),
    "celebamask-hq": (
        r"CelebA-HQ-img/[0-9]+\.jpg",
        r"CelebAMask-HQ-mask-anno/[^/]+/[0-9]{5}_[a-z_]+\.png",
    ),
    "dsb2018": (r"(?P<case>[^/]+)/images/(?P=case)\.png", r"[^/]+/masks/[^/]+\.png"),
    "camvid": (r"train/[^/]+\.png", r"trainannot/[^/]+\.png"),
    "camvid-32": (r"701_StillsRaw_full/[^/]+\.png", r"LabeledApproved_full/[^/]+_L\.png"),
}
"""The layouts that names tell by themselves: what files of each of these names must lie there."""
_NUM_LOOKED_INTO = 6


def candidates(tree: Tree, url: str) -> list[Candidate]:
    """The sections by which a tree may be read; several only where nothing tells which is meant.

    url: of the tree, as sections name it. Raises OSError, and UserError for names that cannot be
    told apart.
    """
    names = tree.names()
    files = Files(tree, url, names, [n for n in names if n.lower().endswith(IMAGE_SUFFIXES)])
    for find in (_shards, _layouts, drawn_candidates.found_in, _arrays, _folders, _beside, _images):
        if found := list(find(files)):
            return found
    return []


def advice_on_kind(tree: Tree, url: str, kind: str, keys: Sequence[str]) -> str:
    """The sentence that names the kind that reads what lies in a tree, where another one does not;
    empty if none does.

    kind, keys: of the section that does not, and those of its keys that only it has. Raises
    OSError.
    """
    kinds = [found.keys["kind"] for found in candidates(tree, url)]
    known = [other for other in kinds if other not in (kind, "folder", "pairs")]
    if not known:
        return ""
    more = f", and leave {' and '.join(keys)} out" if keys else ""
    return f"What lies in {url} is of another kind. Set kind: {known[0]}{more}."


def _shards(files: Files) -> Iterator[Candidate]:
    """Parquet files or tars."""
    names = files.names
    if RUN in names:
        # Our own datasets have tables beside their shards.
        names = [name for name in names if name.startswith(DATA)]
    for kind, ending in (("parquet", ".parquet"), ("webdataset", ".tar")):
        shards = [name for name in names if name.lower().endswith(ending)]
        if not shards:
            continue
        found = sorted({split for name in shards if (split := _split_of(name))})
        splits = {split: {"split": split} for split in found} if len(found) > 1 else {}
        keys = {"kind": kind, "url": files.url}
        yield Candidate(keys, splits, needs_split=len(found) > 1)


def _layouts(files: Files) -> Iterator[Candidate]:
    """Layouts of published datasets."""
    seen: set[str] = set()
    for layout, patterns in _SIGNATURES.items():
        roots = set.intersection(*(_roots(files.names, pattern) for pattern in patterns))
        for root in sorted(roots - seen):
            seen.add(root)
            keys = {"kind": "pairs", "url": files.below(root), "layout": layout}
            there = _roots_of_splits(files, layout, root)
            splits = {split: {"split": split} for split in there}
            yield Candidate(keys, splits, has_classes=True)


def _roots(names: Iterable[str], pattern: str) -> set[str]:
    """The folders below which files of this pattern lie."""
    expression = re.compile(rf"(?:(?P<root>.*)/)?{pattern}")
    found = (expression.fullmatch(name) for name in names)
    return {match["root"] or "" for match in found if match}


def _roots_of_splits(files: Files, layout: str, root: str) -> list[str]:
    """The splits of a layout that are there."""
    row, prefix = LAYOUTS[layout], f"{root}/" if root else ""
    found = []
    for split in row.splits:
        listed = prefix + row.list_of_split.replace("{split}", split)
        folder = prefix + row.images_of_split.partition("/*")[0].replace("{split}", split)
        if row.list_of_split:
            there = listed in files.names
        else:
            there = any(name.startswith(f"{folder}/") for name in files.pictures)
        found += [split] if there else []
    return found


def _arrays(files: Files) -> Iterator[Candidate]:
    """Images beside .npy masks of the same names."""
    stems = {name[:-4] for name in files.pictures if name.lower().endswith(".npy")}
    others = [name for name in files.pictures if not name.lower().endswith(".npy")]
    paired = [name for name in others if str(PurePosixPath(name).with_suffix("")) in stems]
    if not paired or 2 * len(paired) < len(others):
        return
    keys = {"kind": "pairs", "url": files.url, "layout": "ddpm-segmentation"}
    there = _roots_of_splits(files, "ddpm-segmentation", "")
    known = set(files.url.split("/")) & set(published_classes.DDPM_SEGMENTATION)
    yield Candidate(keys, {split: {"split": split} for split in there}, has_classes=bool(known))


def _folders(files: Files) -> Iterator[Candidate]:
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


def _beside(files: Files) -> Iterator[Candidate]:
    """Masks that a word in their names tells from the images beside them."""
    if len(files.pictures) < 2:
        return
    listing = Listing(files.tree, "", tuple(files.pictures))
    hint = pairing_hints.find(listing, True, files.pictures)
    if hint is None:
        return
    keys = {"kind": "pairs", "url": files.url, **hint.keys}
    if _masks_look_like_masks(files, keys) and not _are_masks_of_others(files, keys):
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


def _masks_look_like_masks(files: Files, keys: Mapping[str, Any]) -> bool:
    """True if most of a few files that a pattern takes for masks have few colours."""
    return _look_like_masks(files, _meant_as_masks(files, keys))


def _are_masks_of_others(files: Files, keys: Mapping[str, Any]) -> bool:
    """True if what patterns take for images looks like masks, and pictures that they leave out do
    not: masks of one class were paired with those of another."""
    pattern, masks = parse_images(keys["images"]), {*_meant_as_masks(files, keys)}
    images = [n for n in files.pictures if pattern.means(n) and n not in masks]
    rest = sorted({*files.pictures} - {*images} - masks)
    return _look_like_masks(files, images) and bool(rest) and not _look_like_masks(files, rest)


def _meant_as_masks(files: Files, keys: Mapping[str, Any]) -> list[str]:
    """The pictures that a pattern takes for masks."""
    return list(filter(parse_masks(keys["masks"]).means, files.pictures))


def _look_like_masks(files: Files, names: Sequence[str]) -> bool:
    """True if most of a few files have few colours."""
    few = names[:: max(1, len(names) // _NUM_LOOKED_INTO)]
    return bool(few) and 2 * sum(_looks(files.tree, name) for name in few) > len(few)


def _looks(tree: Tree, name: str) -> bool:
    try:
        return stray_masks.looks_like_mask(tree.read(name))
    except (OSError, UnreadableImage):
        return False


def _images(files: Files) -> Iterator[Candidate]:
    """Images alone."""
    if files.pictures:
        yield Candidate({"kind": "folder", "url": files.url}, has_masks=False)


def _split_of(name: str) -> str | None:
    """The split that a file's name, or its folder's, begins with."""
    for part in reversed(name.lower().split("/")):
        word = re.match("[a-z]+", part)
        if word and word[0] in SPLITS:
            return word[0]
    return None
