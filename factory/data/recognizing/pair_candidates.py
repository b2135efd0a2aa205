"""Sections that read images and masks: in folders of usual names, or beside each other."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from factory.data.files import numbering
from factory.data.files.listing import Listing, names_below
from factory.data.files.split_words import SPLITS
from factory.data.recognizing import (
    copies,
    mask_looks,
    name_words,
    pairing_choice,
    pairing_hints,
)
from factory.data.recognizing.candidates import Candidate, Files
from factory.data.recognizing.pairing_hints import Hint
from factory.data.recognizing.split_folders import (
    by_split,
    translated,
)
from factory.data.recognizing.split_lists import listed_splits

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
_MIN_SAME, _MAX_GROUPS = 3, 64
"""The least number of pictures that are compared, and the most groups of them."""


def found_in(files: Files) -> list[Candidate]:
    """The sections that read images and masks of a tree; several where nothing tells which.

    Masks that are all nearly the same picture, as those of fields of view, are labels only where
    there are no others.
    """
    same = _same_pictures(files)
    found = _found_in(replace(files, no_labels=same))
    if found or not same:
        return found
    told = (
        f"whether masks such as {min(same)} are labels: they are all nearly the same picture, as "
        "those of a field of view are"
    )
    return [replace(candidate, question=told) for candidate in _found_in(files)]


def _same_pictures(files: Files) -> frozenset[str]:
    """The pictures of folders, and those of one name but for its numbers, that all show nearly the
    same."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in files.pictures:
        folder, _, file = name.rpartition("/")
        alike[f"{folder}/"].append(name)
        alike[f"{folder}/{re.sub('[0-9]+', '0', file)}"].append(name)
    groups = [group for group in alike.values() if len(group) >= _MIN_SAME]
    if len(groups) > _MAX_GROUPS:
        return frozenset()
    same = [group for group in groups if mask_looks.are_one_picture(files.tree, group)]
    return frozenset(name for group in same for name in group)


def _found_in(files: Files) -> list[Candidate]:
    """The same, without masks that are known to be no labels."""
    found = copies.without_copies(files, list(_in_folders(files)))
    if len(found) == 1 and found[0].splits:
        return found
    if len(found) > 1:
        if _repeat_a_split([candidate.keys["url"] for candidate in found]):
            return found  # One of them alone is not all of its split.
        of_splits = _by_split(files)
        if of_splits and of_splits.splits:
            return [of_splits]
        are_parts = _are_numbered([candidate.keys["url"] for candidate in found])
        return (list(_beside(files)) or found) if are_parts else found
    found = found or list(_beside(files))
    if len(found) == 1 and found[0].splits:
        return found
    of_splits = _by_split(files)
    if of_splits is None and not found:
        return list(_of_photographs(files))
    if of_splits is None or (found and not of_splits.splits and _is_whole(found[0])):
        return found
    return [of_splits]


def _is_whole(candidate: Candidate) -> bool:
    return "unpaired" not in candidate.keys


def _repeat_a_split(urls: Sequence[str]) -> bool:
    """True of several folders of one split, as those of each city are: a/train beside b/train."""
    splits = [name for url in urls if (name := url.rpartition("/")[2].lower()) in SPLITS]
    return len(set(splits)) < len(splits)


def _are_numbered(urls: Sequence[str]) -> bool:
    """True of folders that are called alike but for a number, or of more than two: parts of one
    dataset."""
    return len(urls) > 2 or len({re.sub("[0-9]+", "", url) for url in urls}) == 1


def _by_split(files: Files) -> Candidate | None:
    """Images and masks in folders of several splits, paired alike in each; of one alone where the
    others have no masks, and None where none has."""
    words = by_split(files.pictures)
    if len(words) < 2:
        return None
    found: dict[str, dict[str, str]] = {}
    for word in sorted(words, key=_place_of_split):
        others = [translated(keys, other, word) for other, keys in found.items()][:1]
        if keys := _first_that_pairs(files, words[word], others):
            found[word] = keys
    keys = {"kind": "pairs", "url": files.url}
    if len(found) < 2:
        return Candidate({**keys, **only}) if (only := next(iter(found.values()), None)) else None
    splits = {_plain(word): own for word, own in found.items()}
    return Candidate(keys, splits, needs_split=True)


def _place_of_split(word: str) -> int:
    """Lower for splits to learn from."""
    plain = _plain(word)
    return (*SPLITS, plain).index(plain)


def _plain(word: str) -> str:
    """A word without what is no letter."""
    return re.sub("[^a-z]", "", word.lower())


def _first_that_pairs(
    files: Files, pictures: Sequence[str], known: Sequence[Mapping[str, str]]
) -> dict[str, str] | None:
    """The first keys that pair images of a split, and mean none of others; None if none do.

    known: keys to try before those that the names suggest.
    """
    listing = Listing(files.tree, "", tuple(pictures))
    likely = [hint for keys in known if (hint := pairing_choice.tried_on(files, pictures, keys))]
    hints = [*likely, *pairing_hints.find_all(listing, True, pictures)][: pairing_choice.MAX_TRIED]
    inner = [each for hint in hints if (each := pairing_choice.narrowed_to(files, hint))]
    found = pairing_choice.first_of(files, inner) or pairing_choice.of_known_images(files, pictures)
    return {**found.keys} if found else None


def _in_folders(files: Files) -> Iterator[Candidate]:
    """Folders of images and folders of masks, under usual names."""
    places: dict[str, dict[tuple[str, str], list[str]]] = defaultdict(lambda: defaultdict(list))
    folders = sorted({name.rpartition("/")[0] for name in files.pictures} - {""})
    for before, images, masks in _named_alike(folders):
        places[before][images, masks] += [images]
    splits = {before: before.rpartition("/")[2].lower() for before in places}
    named = set(splits.values())
    if 1 < len(places) == len(named) and named <= set(SPLITS):
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
    inner = names_below(before, files.pictures)
    image_names = [name[len(images) + 1 :] for name in inner if name.startswith(f"{images}/")]
    mask_stems = {
        str(PurePosixPath(name[len(masks) + 1 :]).with_suffix(""))
        for name in inner
        if name.startswith(f"{masks}/")
    }
    keys: dict[str, Any] = {"kind": "pairs", "url": files.below(before)}
    if files.no_labels.issuperset(n for n in files.pictures if n.startswith(f"{prefix}{masks}/")):
        return None
    stems = [str(PurePosixPath(name).with_suffix("")) for name in image_names]
    paired = mask_stems.intersection(stems)
    if paired:
        keys |= {} if (images, masks) == ("images", "masks") else {"images": images, "masks": masks}
        rest = [*(f"{images}/{stem}.png" for stem in {*stems} - paired)]
        rest += [f"{masks}/{stem}.png" for stem in mask_stems - paired]
        pairs = [(f"{images}/{stem}.png", f"{masks}/{stem}.png") for stem in sorted(paired)]
        if rest and not numbering.shift(pairs, rest):
            keys["unpaired"] = "skip"
        splits = _inner_splits(images, masks, image_names)
        return Candidate(keys, splits or listed_splits(files, before, image_names))
    listing = Listing(files.tree, f"{prefix}{images}", tuple(image_names))
    hints = pairing_hints.find_all(listing, True, _within(files, before, (images, masks)))
    hint = next((hint for hint in hints if pairing_choice.may_be_parts(files, hint)), None)
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
    pictures = [name for name in files.pictures if name not in files.no_labels]
    if len(pictures) < 2:
        return
    listing = Listing(files.tree, "", tuple(pictures))
    hints = pairing_hints.find_all(listing, True, pictures)[: pairing_choice.MAX_TRIED]
    hint = pairing_choice.or_better(
        pairing_choice.first_of(files, hints), pairing_choice.of_known_images(files, pictures)
    )
    if hint is None:
        return
    if files.no_labels or not hint.is_whole:
        inner = pairing_choice.narrowed_to(files, hint)
        hint = inner if inner and inner.is_whole else hint
    hint = _of_all_numbers(files, hint)
    keys = {"kind": "pairs", "url": files.url, **hint.keys}
    splits = listed_splits(files, "", files.pictures) or _splits_of_patterns(hint)
    yield Candidate(keys, splits)


def _of_photographs(files: Files) -> Iterator[Candidate]:
    """Masks of the pictures that look like photographs, where names alone do not tell which are the
    images."""
    hint = pairing_choice.of_known_images(files, files.pictures)
    if hint is not None:
        splits = listed_splits(files, "", files.pictures) or _splits_of_patterns(hint)
        yield Candidate({"kind": "pairs", "url": files.url, **hint.keys}, splits)


def _of_all_numbers(files: Files, hint: Hint) -> Hint:
    """The keys for all folders that are called alike but for a number, as parts of a dataset are
    (01_images, 01_labels, 02_images, ...), if they pair more and leave nothing out."""
    keys = {key: _with_any_number(text) for key, text in hint.keys.items() if key != "unpaired"}
    wider = pairing_choice.tried_on(files, files.pictures, keys)
    if wider is None or not wider.is_whole or not {*hint.paired} < {*wider.paired}:
        return hint
    return wider if pairing_choice.are_masks(files, wider) else hint


def _with_any_number(text: str) -> str:
    """A pattern with a `*` for each number in the names of its folders."""
    folders, separator, file = text.rpartition("/")
    return f"{name_words.any_number(folders)}{separator}{file}"


def _splits_of_patterns(hint: Hint) -> dict[str, dict[str, str]]:
    """The splits that are the first folders of the images: train/a.png, train/a_mask.png."""
    images, masks, meant = hint.keys["images"], hint.keys["masks"], hint.paired
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
