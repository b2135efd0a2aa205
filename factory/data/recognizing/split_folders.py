"""Splits that folders tell: train/images and val/images, set_train/1, Training_Input, traincrop."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from factory.data.files.listing import shared_folder
from factory.data.files.patterns import parse_images, parse_masks
from factory.data.files.split_words import SPLITS
from factory.data.recognizing.name_words import words_in

_STARTS = re.compile(r"(training|train|testing|test|validation|valid|val)(.*)", re.IGNORECASE)


def by_split(names: Iterable[str]) -> dict[str, list[str]]:
    """The files of each split, by the word for it as folders have it; without those of none.

    Of several folders that say a split the innermost one counts. A word that others follow without
    anything between is one where another split is called alike: traincrop beside valcrop.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[name.rpartition("/")[0]].append(name)
    starts: dict[str, set[str]] = defaultdict(set)
    for part in {part for folder in folders for part in folder.split("/")}:
        if found := _STARTS.fullmatch(part):
            starts[found[2].lower()].add(found[1].lower())
    alike = {rest for rest, splits in starts.items() if len(splits) > 1}
    files: dict[str, list[str]] = defaultdict(list)
    for folder, inside in folders.items():
        words = (_word_in(part, alike) for part in reversed(folder.split("/")))
        if word := next(filter(None, words), None):
            files[word] += inside
    return dict(files)


def _word_in(part: str, alike: set[str]) -> str:
    """The word in a folder's name that says a split; "" if none or several do.

    alike: what follows the words of several splits.
    """
    if re.sub("[^a-z]", "", part.lower()) in SPLITS:
        return part
    words = {word for word in words_in(part) if word.lower() in SPLITS}
    if words:
        return words.pop() if len(words) == 1 else ""
    found = _STARTS.fullmatch(part)
    return found[1] if found and found[2].lower() in alike else ""


def translated(keys: Mapping[str, str], word: str, other: str) -> dict[str, str]:
    """The keys of another split: with the word for that instead of this one's."""
    return {key: text.replace(word, other) for key, text in keys.items()}


def narrowed(
    keys: Mapping[str, str], of_images: Sequence[str], of_masks: Sequence[str]
) -> dict[str, str]:
    """`images` and `masks` that mean the same files, and as few others as can be: they begin with
    the folders that the images, and the masks, have in common."""
    images, masks = parse_images(keys["images"]), parse_masks(keys["masks"])
    found = {
        "images": keys["images"],
        "masks": _begun(keys["masks"], masks.below, shared_folder(of_masks)),
    }
    above, inner = f"{images.below}/" if images.below else "", shared_folder(of_images)
    start, _, rest = keys["images"].removeprefix(above).partition("/")
    if start != "**" or not inner.startswith(above):
        return found
    fixed = rest.rpartition("/")[0]
    inner = f"/{inner}".removesuffix(f"/{fixed}" if fixed else "").lstrip("/")
    inside = "/".join(filter(None, (inner, fixed)))
    is_deeper = any(name.rpartition("/")[0] != inside for name in of_images)
    common = inner.removeprefix(above.rstrip("/")).lstrip("/")
    if "{dir}" in found["masks"] and common:
        place = f"{common}/{{dir}}" if is_deeper else common
        found["masks"] = found["masks"].replace("{dir}", place, 1)
    found["images"] = "/".join(filter(None, (inner, "**" if is_deeper else "", rest)))
    return found


def within_shared_folder(keys: Mapping[str, str], of_images: Sequence[str]) -> dict[str, str]:
    """The same of files that share a folder further down, as train/ in fog/train/1.png and
    night/train/1.png: `images` begin with a `*` for each folder above it."""
    below = parse_images(keys["images"]).below
    above = f"{below}/" if below else ""
    rest = keys["images"].removeprefix(above)
    folders = [name.removeprefix(above).split("/")[:-1] for name in of_images]
    for i, names in enumerate(zip(*folders, strict=False)):
        if i and len(set(names)) == 1 and rest.startswith("**/"):
            return {"images": f"{above}{'*/' * i}{names[0]}/{rest}", "masks": keys["masks"]}
    return {key: keys[key] for key in ("images", "masks")}


def _begun(masks: str, below: str, common: str) -> str:
    """A pattern of masks of which the folders before `**` are all that masks have in common."""
    start = f"{below}/**/" if below else "**/"
    return f"{common}/**/{masks[len(start) :]}" if common and masks.startswith(start) else masks
