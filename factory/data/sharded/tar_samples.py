"""The samples of tars: an image each, and its mask if it was asked for."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory import storage
from factory.data.classes.class_rules import ClassRules
from factory.data.files.listing import IMAGE_SUFFIXES
from factory.data.files.trees import Tree
from factory.data.masks import mask_decoding
from factory.data.masks.mask_decoding import Mask
from factory.data.pixels import decoding
from factory.data.pixels.decoding import Picture
from factory.data.pixels.reading import Reading
from factory.data.recognizing.name_words import mask_word
from factory.data.sharded import tar_files
from factory.data.sharded.tar_endings import Endings, split_name
from factory.data.sharded.tar_files import Member, TarFiles
from factory.errors import UserError, some

_WORD_AT_AN_END = re.compile("^[A-Za-z]+[-_ ]|[-_ ][A-Za-z]+$")


@dataclass(frozen=True)
class TarIndex:
    """What lies in a tar."""

    tar: str
    """Its name in the tree."""
    samples: Mapping[str, Mapping[str, Member]] = field(default_factory=dict)
    """Key -> ending -> member, in their order."""
    not_plain: Sequence[str] = ()
    """The names of members that are called as images are, but are links or have holes."""

    @property
    def forms(self) -> Counter[tuple[str, ...]]:
        """The endings of a sample -> the number of such samples."""
        return Counter(map(tuple, self.samples.values()))


def index(tree: Tree, tar: str) -> TarIndex:
    """The samples of a tar. Raises UserError as `tar_files.members` does, and if two members have
    the same name; OSError."""
    samples: dict[str, dict[str, Member]] = {}
    twice, not_plain = [], []
    for member in tar_files.members(tree, tar):
        if not member.is_plain:
            if member.name.lower().endswith(IMAGE_SUFFIXES):
                not_plain.append(member.name)
            continue
        key, ending = split_name(member.name)
        if samples.setdefault(key, {}).setdefault(ending, member) is not member:
            twice.append(member.name)
    if twice:
        raise UserError(
            f"{tree.url_of(tar)}: holds {some(twice)} more than once. Pack it again, each name "
            "once, or remove it."
        )
    return TarIndex(tar, samples, not_plain)


@dataclass(frozen=True, slots=True)
class TarSample:
    """A sample of a tar."""

    name: str
    tars: TarFiles
    tar: str
    """The tar's name in the tree."""
    image_member: Member
    mask_member: Member | None
    """None if masks were not asked for, and if the tar has none of it."""
    reading: Reading

    @property
    def tile(self) -> None:
        """None: it is a whole image."""

    @property
    def image_url(self) -> str:
        """The tar, and the member in it."""
        return self._url(self.image_member)

    @property
    def mask_url(self) -> str | None:
        """The tar, and the member in it."""
        return None if self.mask_member is None else self._url(self.mask_member)

    def _url(self, member: Member) -> str:
        return storage.join(self.tars.tree.url_of(self.tar), member.name)

    def image(self, size: int) -> Picture:
        """The member's image."""
        return decoding.decode_image(self.tars.read(self.tar, self.image_member), self.reading)

    def content(self) -> bytes:
        """The member's bytes."""
        return self.tars.read(self.tar, self.image_member)

    def mask(self, size: int, rules: ClassRules) -> Mask:
        """The ids of the mask's member."""
        assert self.mask_member is not None, "masks were asked for"
        return mask_decoding.decode_mask(self.tars.read(self.tar, self.mask_member), rules)


def versions(samples: Sequence[Any]) -> list[str]:
    """A text for each `TarSample`, another one after its tar has changed. Raises OSError."""
    mine = [sample for sample in samples if isinstance(sample, TarSample)]
    if not mine:
        return []
    tars = sorted({sample.tar for sample in mine})
    version_of = dict(zip(tars, mine[0].tars.tree.versions(tars), strict=True))
    return [f"{version_of[s.tar]} {s.image_member.start} {s.image_member.size}" for s in mine]


def samples(
    tars: Sequence[TarIndex], files: TarFiles, endings: Endings, reading: Reading
) -> list[TarSample]:
    """The samples of all tars that have an image, each called by its key, or by tar and key where
    several have the same."""
    places = [
        (tar, key, image)
        for tar in tars
        for key, sample in tar.samples.items()
        if (image := _member(sample, endings.image))
    ]
    unique = len({key for _, key, _ in places}) == len(places)
    return [
        TarSample(
            name=key if unique else f"{tar.tar}/{key}",
            tars=files,
            tar=tar.tar,
            image_member=image,
            mask_member=_member(tar.samples[key], endings.mask or ()),
            reading=reading,
        )
        for tar, key, image in places
    ]


def unused(tars: Sequence[TarIndex], endings: Endings) -> Counter[str]:
    """Endings of pictures in samples that have no image of the endings that are read."""
    return Counter(
        ending
        for tar in tars
        for sample in tar.samples.values()
        if not _member(sample, endings.image)
        for ending in sample
        if f".{ending.lower()}".endswith(IMAGE_SUFFIXES)
    )


def stray(tars: Sequence[TarIndex], endings: Endings) -> list[str]:
    """The keys of masks without an image."""
    return [
        key
        for tar in tars
        for key, sample in tar.samples.items()
        if _member(sample, endings.mask or ()) and not _member(sample, endings.image)
    ]


def folders_of_masks(tars: Sequence[TarIndex]) -> list[str]:
    """The folders of tars, or the tars, whose names say mask and whose files are called as those of
    others: masks that lie in a folder of their own, which endings do not tell from images."""
    stems: dict[str, set[str]] = defaultdict(set)
    for tar in tars:
        for key in tar.samples:
            folder, _, stem = key.rpartition("/")
            stems[f"{tar.tar}/{folder}".rstrip("/")].add(stem)
    called_so = {folder for folder in stems if mask_word(_last_part(folder))}
    others = set().union(*(own for folder, own in stems.items() if folder not in called_so))
    return [f for f in sorted(called_so) if 2 * len(stems[f] & others) >= len(stems[f])]


def keys_of_masks(tars: Sequence[TarIndex]) -> list[str]:
    """The keys that differ from those of other samples in a first or a last word that says mask, as
    in `7_img.png` and `7_mask.png`: masks that endings do not tell from images."""
    plain, masks = set[str](), dict[str, set[str]]()
    for key in dict.fromkeys(key for tar in tars for key in tar.samples):
        folder, _, stem = key.rpartition("/")
        found = list(_WORD_AT_AN_END.finditer(stem))
        cores = {f"{folder}/{stem[: m.start()]}{stem[m.end() :]}" for m in found if mask_word(m[0])}
        if cores:
            masks[key] = cores
            continue
        plain.add(f"{folder}/{stem}")
        plain.update(f"{folder}/{stem[: m.start()]}{stem[m.end() :]}" for m in found)
    paired = [key for key, cores in masks.items() if cores & plain]
    return paired if 2 * len(paired) >= len(masks) else []


def _last_part(folder: str) -> str:
    """The name of a folder, or of a tar without its ending."""
    return folder.rpartition("/")[2].removesuffix(".tar")


def _member(sample: Mapping[str, Member], endings: Sequence[str]) -> Member | None:
    """The first of a sample's members that has one of the endings."""
    return next((sample[ending] for ending in endings if ending in sample), None)
