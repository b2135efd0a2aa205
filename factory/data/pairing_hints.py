"""Finds the patterns that would pair images with masks where those of a config pair nothing.

A mask is mostly called like its image, with something before or behind it (`_mask`, `_gt`), in
another folder, or with leading zeros. Which it is follows from the names alone; what is proposed
was tried on all of them.
"""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import NamedTuple

from factory.data import pairing
from factory.data.listing import Listing
from factory.data.patterns import parse_images, parse_masks

_MAX_COMPARED, _MAX_TRIED, _MAX_ALIKE = 2000, 8, 50
"""The most names that are compared, patterns that are tried, and images of one core looked at."""
_MIN_PAIRED = 0.5
"""The least share of the images that a pattern must pair to be proposed."""
_LIKELY = ("mask", "segmentation", "seg", "trainids", "labelids", "label", "gt", "annotation")
"""Words in the names of masks; where an image has several masks, the likeliest ends first."""
_MIN_PARTS = 4
"""The least number of names that masks of one image have, for them to be taken for its parts."""
_NUMBER = re.compile("[0-9]+")


class _Image(NamedTuple):
    path: str
    core: str
    """The part of its name that its mask has, too."""
    folder: str
    """Its folder, below that of all images."""


class _Form(NamedTuple):
    """How masks are called: a folder, and what stands around the core of an image's name."""

    folder: str
    before: str
    placeholder: str
    behind: str
    ending: str

    @property
    def text(self) -> str:
        """The pattern."""
        name = f"{self.before}{self.placeholder}{self.behind}{self.ending}"
        return f"{self.folder}/{name}" if self.folder else name


def lines_that_pair(images: Listing, with_images: bool, paths: Sequence[str]) -> list[str]:
    """The lines of YAML that would pair images with masks, empty if nothing is found.

    images: all below a folder; masks may be among them. with_images: whether a line for the images
    is needed in any case. paths: names of all pictures of the tree.
    """
    found: list[tuple[float, bool, int, list[str]]] = []
    for before, behind in _decorations(images.read):
        for form in _forms(images, paths, before, behind):
            lines = {"masks": form.text}
            if with_images or before or behind or _among(images, form):
                lines = {"images": _images_text(images, form, before, behind), **lines}
            share = _share_paired(images, paths, lines)
            says_mask = any(word in form.text.lower() for word in _LIKELY)
            kind = next((i for i, w in enumerate(_LIKELY) if w in form.behind.lower()), 99)
            # A string of JSON is one of YAML, whatever characters a name has.
            texts = [f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in lines.items()]
            found.append((share, says_mask, -kind, texts))
        if any(share == 1 and says_mask for share, says_mask, _, _ in found):
            break
    found = [one for one in found if one[0] >= _MIN_PAIRED]
    return max(found, key=lambda one: one[:3])[3] if found else []


def _decorations(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields what may stand before and behind the core of all images' names, the least first."""
    stems = [PurePosixPath(name).stem for name in names]
    before = _common_start(stems).rstrip("0123456789")
    behind = _common_start([stem[::-1] for stem in stems])[::-1]
    last = [found.start() for found in re.finditer("[^0-9A-Za-z]", behind)][-1:]
    short = behind[last[0] :] if last else ""
    yield from dict.fromkeys([("", ""), ("", short), (before, ""), (before, short)])


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts, default=""), max(texts, default="")
    num = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:num]


def _forms(images: Listing, paths: Sequence[str], before: str, behind: str) -> list[_Form]:
    """The forms that most names have that hold an image's core, the most frequent first."""
    by_core = defaultdict(list)
    for name in images.read:
        folder, _, file = name.rpartition("/")
        stem = PurePosixPath(file).stem
        core = stem[len(before) : len(stem) - len(behind)]
        by_core[core].append(_Image(images.path(name), core, folder))
    votes: Counter[_Form] = Counter()
    for path in paths[:: max(1, len(paths) // _MAX_COMPARED)]:
        votes.update(set(_forms_of(path, by_core)))
    return [*_with_parts(votes), *(form for form, _ in votes.most_common(_MAX_TRIED))]


def _with_parts(votes: Counter[_Form]) -> list[_Form]:
    """The form of masks of which an image has one for each part, if there are such."""
    behinds = defaultdict(set)
    folders = defaultdict(set)
    for form in votes:
        parent, _, last = form.folder.rpartition("/")
        alike = _NUMBER.fullmatch(last) is not None
        place = f"{parent}/*".lstrip("/") if alike else form.folder
        general = form._replace(folder=place, behind="")
        behinds[general].add(form.behind)
        folders[general].add(form.folder)
    found = []
    for form, texts in behinds.items():
        start = _common_start(sorted(texts))
        if len(texts) >= _MIN_PARTS:
            inner = form.folder if len(folders[form]) > 1 else min(folders[form])
            found.append(form._replace(folder=inner, behind=f"{start}{{part}}"))
    return found


def _forms_of(path: str, by_core: dict[str, list[_Image]]) -> Iterator[_Form]:
    """Yields the forms by which a file would be the mask of an image: of the longest cores."""
    folder, _, file = path.rpartition("/")
    stem, ending = os.path.splitext(file)
    found = False
    for length in range(len(stem), 0, -1):
        for start in range(len(stem) - length + 1):
            stop = start + length
            before, text, behind = stem[:start], stem[start:stop], stem[stop:]
            if _cuts_a_number(before, text) or _cuts_a_number(text, behind):
                continue
            for core, placeholder in _readings(text):
                for image in by_core.get(core, ())[:_MAX_ALIKE]:
                    if image.path != path:
                        place = _with_dir(folder, image.folder)
                        yield _Form(place, before, placeholder, behind, ending)
                        found = True
        if found:
            return


def _cuts_a_number(one: str, other: str) -> bool:
    return one[-1:].isdigit() and other[:1].isdigit()


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """Yields the cores that a text may stand for, each with its placeholder."""
    yield text, "{stem}"
    if _NUMBER.fullmatch(text) and text.startswith("0") and len(text) < 10:
        yield str(int(text)), f"{{stem:0{len(text)}}}"


def _with_dir(folder: str, inner: str) -> str:
    """The folder of a mask, with {dir} instead of the folders that its image is in."""
    if inner and (folder == inner or folder.endswith(f"/{inner}")):
        return f"{folder.removesuffix(inner)}{{dir}}"
    return folder


def _among(images: Listing, form: _Form) -> bool:
    """True if masks of this form lie below the folder of the images."""
    return not images.below or f"{form.folder}/".startswith(f"{images.below}/")


def _images_text(images: Listing, form: _Form, before: str, behind: str) -> str:
    endings = {PurePosixPath(name).suffix for name in images.read}
    if len(endings) > 1:
        endings.discard(form.ending)
    ending = endings.pop() if len(endings) == 1 else ".*"
    folders = "**" if any("/" in name for name in images.read) else ""
    return "/".join(filter(None, (images.below, folders, f"{before}*{behind}{ending}")))


def _share_paired(images: Listing, paths: Sequence[str], lines: Mapping[str, str]) -> float:
    """The share of the images, 0..1, that have one mask, which is theirs alone."""
    try:
        image_pattern = parse_images(lines.get("images", images.below))
        mask_pattern = parse_masks(lines["masks"])
    except ValueError:  # A name has characters that mean something in a pattern.
        return 0.0
    prefix = f"{mask_pattern.below}/" if mask_pattern.below else ""
    below = tuple(path[len(prefix) :] for path in paths if path.startswith(prefix))
    meant = tuple(name for name in images.read if image_pattern.match(name))
    matches = pairing.match(
        replace(images, read=meant),
        Listing(images.tree, mask_pattern.below, below),
        image_pattern,
        mask_pattern,
    )
    num_paired = sum(
        (len(own) == 1 or mask_pattern.has_parts)
        and all(len(matches.images_of[mask.name]) == 1 for mask in own)
        and not pairing.is_own_mask(matches, name)
        for name, own in matches.masks_of.items()
    )
    return num_paired / max(1, len(matches.images.read))
