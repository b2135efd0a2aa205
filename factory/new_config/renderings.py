"""Other pictures of the images of a section: overlays, depths, edges, masks of other people.

They are called like the images, and mostly a word more. Nothing is to be learned from them as from
images, and whether they are masks only people know.
"""

from collections.abc import Mapping, Sequence

from factory.data.files import listing
from factory.data.files.listing import names_below, of_shared_folder
from factory.data.files.patterns import parse_images, parse_masks
from factory.data.kinds import resolving
from factory.data.kinds.pairs import PairsSource
from factory.data.recognizing import mask_looks, pairing_hints
from factory.new_config.looking import Place


def pictures(place: Place) -> list[str]:
    """The pictures that lie at a place, as names of its tree."""
    return [n for n in place.tree.names() if n.lower().endswith(listing.IMAGE_SUFFIXES)]


def images_read(place: Place) -> list[str]:
    """Those of them that its section reads as images, with or without a mask."""
    candidate, every, found = place.candidate, pictures(place), set()
    for split in [*candidate.splits, *([] if candidate.needs_split else [None])]:
        keys = candidate.of_split(split)
        section = resolving.section(keys, with_any_classes=True)
        inner = keys["url"].removeprefix(place.url).strip("/")
        names = names_below(inner, every)
        if isinstance(section, PairsSource):
            meant, masks = parse_images(section.images), parse_masks(section.masks)
            names = tuple(n for n in names if meant.means(n) and not masks.means(n))
        found |= {f"{inner}/{name}" if inner else name for name in names}
    return sorted(found)


def keys_that_pair(
    place: Place, images: Sequence[str], others: Sequence[str]
) -> Mapping[str, str] | None:
    """The keys `images` and `masks` by which most of some pictures belong to the images of a place,
    as masks do; None if they are not called like them.

    images, others: names of its tree.
    """
    found = pairing_hints.corresponding(of_shared_folder(place.tree, images), others)
    return found.keys if found else None


def do_pair(
    place: Place, images: Sequence[str], others: Sequence[str], keys: Mapping[str, str]
) -> bool:
    """True if keys pair pictures with images of a place."""
    return (
        pairing_hints.tried(of_shared_folder(place.tree, images), others, keys, says_mask=True)
        is not None
    )


def look_like_masks(place: Place, images: Sequence[str], others: Sequence[str]) -> bool:
    """True if most of some pictures look like masks, and the images of a place do not."""
    return (
        mask_looks.share_of_masks(place.tree, others) > 0.5
        and mask_looks.share_of_masks(place.tree, images) <= 0.5
    )
