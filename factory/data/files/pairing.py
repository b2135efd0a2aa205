"""Pairs images with masks by their names, and says what pairs with nothing, or with too much."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import NamedTuple

from factory.alike import of_file
from factory.data.files import listing
from factory.data.files.listing import Listing
from factory.data.files.patterns import ImagePattern, Key, MaskPattern, Names
from factory.errors import Problems, counted, some


class MaskFile(NamedTuple):
    """The mask of an image, or a part of it."""

    name: str
    """The file's name, below the folder of the masks."""
    part: str
    """The part that it is, "" where masks have no parts."""


@dataclass(frozen=True)
class Matches:
    """Which masks the patterns give to which images."""

    images: Listing
    """The images, without the files that are masks of others."""
    masks: Listing
    """The files that are masks by their names."""
    masks_of: Mapping[str, Sequence[MaskFile]]
    """Name of an image -> its masks, of images that have any."""
    images_of: Mapping[str, Sequence[str]]
    """Name of a mask -> names of its images, of masks that have any."""
    image_pattern: ImagePattern
    mask_pattern: MaskPattern
    neither: Sequence[str]
    """Other pictures in the folder of the masks: names below it."""

    @property
    def stray(self) -> list[str]:
        """Masks without an image."""
        return [name for name in self.masks.read if name not in self.images_of]

    def wanted(self, name: str) -> str:
        """The name that the mask of an image would have, below the folder of the masks."""
        return self.mask_pattern.wanted(_names(self.image_pattern, name))


def match(
    images: Listing, masks: Listing, image_pattern: ImagePattern, mask_pattern: MaskPattern
) -> Matches:
    """Finds the masks among files, and whose they are; a mask of another image is no image.

    images: those of the images' pattern. masks: all files below the masks' folder; they may be the
    same ones.
    """
    by_key: dict[Key, list[str]] = defaultdict(list)
    for name in images.read:
        if (key := mask_pattern.key(_names(image_pattern, name))) is not None:
            by_key[key].append(name)
    found = {name: list(mask_pattern.keys(name)) for name in masks.read}
    found = {name: keys for name, keys in found.items() if keys}
    paths = {images.path(name): name for name in images.read} if _meet(images, masks) else {}
    no_images = {
        paths[masks.path(name)]
        for name, keys in found.items()
        if masks.path(name) in paths
        and any(i != paths[masks.path(name)] for key, _ in keys for i in by_key.get(key, ()))
    }
    by_key = {key: own for key, few in by_key.items() if (own := _without(few, no_images))}
    masks_of, images_of = _partners(by_key, found)
    left = tuple(name for name in images.read if name not in no_images)
    neither = [name for name in masks.read if name not in found and masks.path(name) not in paths]
    # A file that is its own mask and no other's is both, which is told where pairs are checked.
    return Matches(
        replace(images, read=left),
        replace(masks, read=tuple(found)),
        masks_of,
        images_of,
        image_pattern,
        mask_pattern,
        neither,
    )


def _without(names: list[str], others: set[str]) -> list[str]:
    return [name for name in names if name not in others] if others else names


def _partners(
    by_key: Mapping[Key, list[str]], found: Mapping[str, Sequence[tuple[Key, str]]]
) -> tuple[dict[str, list[MaskFile]], dict[str, list[str]]]:
    """The masks of each image, and the images of each mask.

    Images of one key share one list of masks, and masks of the same keys one of images: where a
    pattern tells nothing apart, all would have lists of all.
    """
    masks_by_key: dict[Key, list[MaskFile]] = defaultdict(list)
    images_by_keys: dict[tuple[Key, ...], list[str]] = {}
    images_of: dict[str, list[str]] = {}
    for name, keys in found.items():
        known = tuple(key for key, _ in keys if key in by_key)
        if known and known not in images_by_keys:
            images_by_keys[known] = [image for key in known for image in by_key[key]]
        if known:
            images_of[name] = images_by_keys[known]
        for key, part in keys:
            if key in by_key:
                masks_by_key[key].append(MaskFile(name, part))
    masks_of = {image: masks for key, masks in masks_by_key.items() for image in by_key[key]}
    return masks_of, images_of


def check(matches: Matches, names: Sequence[str], problems: Problems) -> None:
    """Adds what is wrong with the masks that these images have to problems."""
    images, masks = matches.images, matches.masks
    told: set[int] = set()
    own_masks = [name for name in names if is_own_mask(matches, name)]
    for name in names:
        of_name = matches.masks_of.get(name, ())
        if id(of_name) in told:
            continue  # another image has the same masks
        told.add(id(of_name))
        own = [mask.name for mask in of_name]
        if matches.mask_pattern.has_parts:
            _check_parts(matches, name, problems)
        elif len(own) > 1 and matches.mask_pattern.is_folder:
            problems.add(
                f"{_urls(masks, own)}: have the same stem {listing.stem(name)}. Keep one of them"
                f"{_or_one_ending('masks', masks, own, '{dir}/{stem}', matches)}."
            )
        elif len(own) > 1:
            problems.add(
                f"{_urls(masks, own)}: are all masks of {images.url_of(name)} by `masks: "
                f"{matches.mask_pattern.text}`. Keep one of them, or say in `masks:` which is "
                f"meant{_such_as(matches, name, own[0])}."
            )
        for mask in own:
            several = matches.images_of[mask]
            if len(several) > 1 and id(several) not in told:
                told.add(id(several))
                problems.add(_shared(matches, mask, several))
    if own_masks:
        problems.add(
            f"{images.folder}: {len(own_masks):,} images would be their own masks "
            f"({some(own_masks)}). Say in `images:` and `masks:` what tells images from masks."
        )


def _or_one_ending(
    key: str, files: Listing, same: Sequence[str], stem: str, matches: Matches
) -> str:
    """The pattern by which only the most frequent ending of equal stems is meant, as the end of a
    sentence; empty where the images have a pattern already."""
    if not matches.image_pattern.is_folder:
        return ""
    counts = Counter(PurePosixPath(name).suffix.lower() for name in files.read)
    ending = max(
        (PurePosixPath(name).suffix for name in same), key=lambda ending: counts[ending.lower()]
    )
    text = "/".join(filter(None, (files.below, f"{stem}{ending}")))
    return f', or say which ending is meant: {key}: "{text}"'


def _such_as(matches: Matches, name: str, mask: str) -> str:
    """The pattern that one of several masks of an image suggests, as the end of a sentence; empty
    if its name does not hold that of the image once."""
    names, path = _names(matches.image_pattern, name), matches.masks.path(mask)
    folder, _, file = path.rpartition("/")
    if names.dir:
        folder = folder.replace(names.dir, "{dir}", 1)
    if file.count(names.stem) != 1:
        return ""
    text = "/".join(filter(None, (folder, file.replace(names.stem, "{stem}"))))
    return f', such as masks: "{text}"'


def _check_parts(matches: Matches, name: str, problems: Problems) -> None:
    """Refuses several files of one part of an image, unless they are its objects."""
    if matches.mask_pattern.has_objects:
        return
    files: dict[str, list[str]] = defaultdict(list)
    for mask in matches.masks_of.get(name, ()):
        files[mask.part].append(mask.name)
    for part, same in files.items():
        if len(same) > 1:
            problems.add(
                f"{_urls(matches.masks, same)}: are all part {part} of "
                f"{matches.images.url_of(name)}. Keep one of them, or write * in the file's name "
                "in `masks:` for the numbers of objects."
            )


def is_own_mask(matches: Matches, name: str) -> bool:
    """True if one file is an image and its mask by the patterns."""
    path, below = matches.images.path(name), matches.mask_pattern.below
    mask = path.removeprefix(f"{below}/") if below else path
    if mask not in matches.images_of or matches.masks.path(mask) != path:
        return False
    key = matches.mask_pattern.key(_names(matches.image_pattern, name))
    return any(other == key for other, _ in matches.mask_pattern.keys(mask))


def check_missing(matches: Matches, names: Sequence[str], problems: Problems) -> None:
    """Refuses images without a mask: names."""
    images, masks = matches.images, matches.masks
    candidates = (*matches.stray, *masks.missed)
    for i, name in enumerate(names):
        wanted = matches.wanted(name)
        similar = listing.suggestion(wanted, candidates) if i < listing.MAX_SUGGESTIONS else ""
        told = (
            f"has no mask {wanted} in {masks.folder}.{similar} Add it, list the images to use in "
            "names_url, or set unpaired: skip."
        )
        problems.add(of_file(images.url_of(name), told, kind=f"no mask in {masks.folder}"))


def check_stray(matches: Matches, names: Sequence[str], problems: Problems) -> None:
    """Refuses masks without an image: names."""
    unread = {listing.stem(name): name for name in matches.images.missed}
    for name in names:
        other = unread.get(listing.stem(name))
        hint = f" There is {other}, whose ending is not read." if other else ""
        told = (
            f"mask without an image.{hint} Add the image, remove the mask, or set unpaired: skip."
        )
        url = matches.masks.url_of(name)
        problems.add(of_file(url, told, kind=f"mask without an image in {matches.masks.folder}"))


def neither_note(matches: Matches) -> Iterator[str]:
    """A sentence on pictures that lie among the masks and are neither image nor mask."""
    if matches.neither:
        are = counted(len(matches.neither), "picture is", "pictures are")
        yield (
            f"{matches.masks.folder}: {are} neither image nor mask by `masks: "
            f"{matches.mask_pattern.text}` ({some(matches.neither, 3)}). Where they are masks of "
            "other classes, write {part} for what tells them apart."
        )


def paths(
    matches: Matches, paired: Sequence[str], missing: Sequence[str], stray: Sequence[str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """The names in the tree of images with their masks, and of what has no partner."""
    images, masks = matches.images, matches.masks
    pairs = [(images.path(n), masks.path(matches.masks_of[n][0].name)) for n in paired]
    return pairs, [*map(images.path, missing), *map(masks.path, stray)]


def left_out(matches: Matches, missing: Sequence[str], stray: Sequence[str]) -> Iterator[str]:
    """Sentences on what has no partner and is not used: images without a mask, masks without an
    image."""
    if missing:
        are = counted(
            len(missing), "image has no mask and is not", "images have no mask and are not"
        )
        yield f"{matches.images.folder}: {are} used ({some(missing)})."
    if stray:
        are = counted(len(stray), "mask has no image and is not", "masks have no image and are not")
        yield f"{matches.masks.folder}: {are} used ({some(stray)})."


def _names(pattern: ImagePattern, name: str) -> Names:
    names = pattern.match(name)
    assert names is not None, "images are listed by their pattern"
    return names


def _meet(images: Listing, masks: Listing) -> bool:
    """True if a file may lie below both folders."""
    one, other = (f"{found.below}/" if found.below else "" for found in (images, masks))
    return one.startswith(other) or other.startswith(one)


def _shared(matches: Matches, mask: str, several: Sequence[str]) -> str:
    """The problem of several images with one mask."""
    urls = _urls(matches.images, several)
    stems = {listing.stem(name) for name in several}
    if matches.mask_pattern.is_folder and len(stems) == 1:
        more = _or_one_ending("images", matches.images, several, "**/*", matches)
        return f"{urls}: have the same stem {stems.pop()}. Keep one of them{more}."
    return (
        f"{urls}: would have one mask, {matches.masks.url_of(mask)}, by `masks: "
        f"{matches.mask_pattern.text}`. Say in it what tells them apart, such as {{dir}} or "
        "{name}."
    )


def _urls(files: Listing, names: Sequence[str]) -> str:
    return some([files.url_of(name) for name in names])
