"""Which of the keys that would pair images with masks are meant, by what the pictures show."""

from collections.abc import Mapping, Sequence

from factory.data.files.listing import Listing, names_below, of_shared_folder
from factory.data.files.patterns import parse_images, parse_masks
from factory.data.recognizing import mask_looks, name_words, pairing_hints, photographs
from factory.data.recognizing.candidates import Files
from factory.data.recognizing.pairing_hints import Hint
from factory.data.recognizing.split_folders import narrowed, within_shared_folder

MAX_TRIED = 6
"""The most ways of pairing whose masks are looked into."""


def first_of(files: Files, hints: Sequence[Hint]) -> Hint | None:
    """The first hint whose masks look like such; of those of the same images one that means no mask
    as an image, and whose masks are not in colours, if there is one of as good a name. None without
    any."""
    found: Hint | None = None
    rank = (False, False)
    for hint in hints:
        if (found and {*found.paired} != {*hint.paired}) or not are_masks(files, hint):
            continue
        has_parts = "{part}" in hint.keys["masks"]
        is_pure = files.photographs.issuperset(_read_as_images(files, hint))
        is_plain = has_parts or mask_looks.are_of_one_channel(files.tree, hint.masks)
        is_named = found is None or (_preference(hint) >= _preference(found) and not has_parts)
        if found is None or ((is_pure, is_plain) > rank and is_named):
            found, rank = hint, (is_pure, is_plain)
        if rank == (True, True):
            break
    return found


def or_better(hint: Hint | None, other: Hint | None) -> Hint | None:
    """The hint, or another one of its images whose masks have a better name."""
    if hint is None or other is None or not {*hint.paired} <= {*other.paired}:
        return hint
    return other if _preference(other) > _preference(hint) else hint


def _preference(hint: Hint) -> tuple[bool, int]:
    """Higher for masks whose names say mask, and then for those of classes."""
    text = hint.keys["masks"]
    return any(map(name_words.mask_word, text.split("/"))), name_words.preference(text)


def _read_as_images(files: Files, hint: Hint) -> list[str]:
    """The pictures that the keys of a hint mean as images, with or without a mask."""
    images, masks = parse_images(hint.keys["images"]), parse_masks(hint.keys["masks"])
    return [name for name in files.pictures if images.means(name) and not masks.means(name)]


def of_known_images(files: Files, pictures: Sequence[str]) -> Hint | None:
    """The first keys that pair those of some pictures that look like photographs with others, and
    mean no more files; None if none do."""
    images = [n for n in pictures if n in files.photographs and n not in files.no_labels]
    masks = [name for name in pictures if name not in files.photographs]
    for likely in photographs.likely_images(images):
        listed = of_shared_folder(files.tree, likely)
        hints = pairing_hints.find_all(listed, True, masks, True)[:MAX_TRIED]
        inner: list[Hint] = []
        for hint in hints:
            if found := narrowed_to(files, hint):
                inner.append(found)
            elif "{part}" not in hint.keys["masks"] and are_masks(files, hint):
                break  # One that means more than is asked for is likelier than all behind it.
        if found := first_of(files, inner):
            return found
    return None


def narrowed_to(files: Files, hint: Hint) -> Hint | None:
    """The keys of a hint for some pictures, that mean these and as few others of all as can be;
    None if they mean others."""
    for keys in (
        narrowed(hint.keys, hint.paired, hint.masks),
        within_shared_folder(hint.keys, hint.paired),
    ):
        inner = tried_on(files, files.pictures, keys)
        if inner and {*inner.paired} == {*hint.paired}:
            return inner
    return None


def tried_on(files: Files, pictures: Sequence[str], keys: Mapping[str, str]) -> Hint | None:
    """What keys pair of pictures; None if that is too little."""
    below = parse_images(keys["images"]).below
    listed = Listing(files.tree, below, names_below(below, pictures))
    return pairing_hints.tried(listed, pictures, keys)


def are_masks(files: Files, hint: Hint) -> bool:
    """True if most of what is taken for masks looks like such, and not rather the images of other
    pictures that are left out: then masks of one class were paired with those of another."""
    if files.no_labels.issuperset(hint.masks) or not may_be_parts(files, hint):
        return False
    if not _look_like_masks(files, sorted(hint.masks)) or _show_other_things(files, hint):
        return False
    if not _look_like_masks(files, hint.paired):
        return True
    rest = sorted({*files.pictures} - {*hint.paired, *hint.masks})
    says_mask = any(map(name_words.mask_word, hint.keys["masks"].split("/")))
    return files.photographs.isdisjoint(rest) if rest else says_mask


def _show_other_things(files: Files, hint: Hint) -> bool:
    """True if all images of a hint say that they are overlays or the like, and others do not."""
    rest = files.photographs - {*hint.paired, *hint.masks}
    return all(map(photographs.says_other, hint.paired)) and not all(
        map(photographs.says_other, rest)
    )


def may_be_parts(files: Files, hint: Hint) -> bool:
    """True of parts that hold two colours each and, where they are few, do not overlap, and of
    masks without parts: others are masks of several kinds, one of which is meant."""
    if "{part}" not in hint.keys["masks"]:
        return True
    if not mask_looks.are_binary(files.tree, hint.masks_of_parts):
        return False
    return hint.has_many_parts or mask_looks.are_apart(files.tree, hint.masks_of)


def _look_like_masks(files: Files, names: Sequence[str]) -> bool:
    """True if most of a few files have few colours."""
    return mask_looks.share_of_masks(files.tree, names) > 0.5
