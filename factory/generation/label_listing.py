"""Lists the images that are labelled: reads all of them once, so that bad ones are known first."""

import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from factory import storage
from factory.config import Config, required
from factory.data.classes.class_rules import ClassRules
from factory.data.files.listing import cannot_read
from factory.data.items import Found, Item, StoredSource
from factory.data.loading import first_lines
from factory.data.masks.mask_decoding import MaskFacts
from factory.data.passes import check_is_cut, whole_mask
from factory.data.pixels import intact
from factory.data.pixels.reading import DEFAULT_READING, Reading
from factory.data.sections import LabelledSection
from factory.data.surveying.mask_checks import check_masks
from factory.errors import Problems, UnreadableImage, UserError, counted, shown
from factory.generation.label_place import check_files
from factory.generation.recipe import Models
from factory.generation.source_images import (
    REMEDY,
    SourceFile,
    check_names,
    check_texts,
    find_files,
    refuse,
    sha256_of,
    sha256_of_ids,
)
from factory.progress import tell, tracked
from factory.shards.source_listing import SourceListing
from factory.threads import NUM_THREADS, ahead

_WITHOUT_SCORES = "To label without comparing masks, set label.score: false."
_WITHOUT_THEM = "To label all others, set label.unreadable: skip."


@dataclass(frozen=True)
class Listed:
    """The images of a source as they were read, and how they are read."""

    listing: SourceListing
    reading: Reading
    rows: Sequence[str]
    """The names of the dataset's rows: of the images, or, at the model's size, of their tiles."""


def list_source(
    config: Config, models: Models, known: SourceListing | None, was_scored: bool | None = None
) -> Listed:
    """The images of label.source with the hashes of their bytes, and of their masks if these are
    compared.

    known: the listing of the dataset that lies at label.url; images that were not written since are
    not read again. was_scored: whether that dataset was begun with masks that are compared; None if
    there is none. Raises UserError, which names all images that are not those of the known listing,
    or cannot be read.
    """
    found, files = _find(config, was_scored)
    check_texts(files)
    check_files(config, [file.name for file in files])
    if num := sum(_is_composed(file) for file in files):
        tell(
            f"label | the names of {counted(num, 'image')} are written with combining accents; "
            "`source` and mask files have them composed (NFC)"
        )
    for note in found.notes:
        tell(f"label | {shown(note)}")
    if found.rules is not None:
        _check_classes(found.rules, models, "" if was_scored else f" {_WITHOUT_SCORES}")
    if known is not None:
        check_names(config.label.url, files, known)
    look = partial(_look, found=found, size=models.ddpm.image_size)
    source: StoredSource = required(config, "label.source")
    versions = source.versions([file.whole for file in files])
    if known is None:
        listing = _new_listing(config, files, versions, _looked(files, look), found.rules)
    else:
        listing = known
        _check_unchanged(config, files, versions, known, look)
    for line in first_lines([problem for problem in listing.problems or () if problem]):
        tell(f"label | left out: {line}")
    reading = files[0].items[0].reading if files else DEFAULT_READING
    of_rows = [file for file in files if file.name not in listing.left_out]
    rows = [item.name for file in of_rows for item in file.items]
    if config.label.at == "original":
        rows = [file.name for file in of_rows]
    return Listed(listing, reading, rows)


def _is_composed(file: SourceFile) -> bool:
    """True if an image's name is not the one of its file, but that with composed accents."""
    if file.name.isascii() or file.image_url.endswith(file.name):
        return False
    return unicodedata.normalize("NFC", file.image_url).endswith(file.name)


def _find(config: Config, was_scored: bool | None) -> tuple[Found, Sequence[SourceFile]]:
    """The source and its images, with their masks where these are compared. Raises UserError."""
    asked, source = config.label.score, required(config, "label.source")
    if was_scored is not None:
        _check_score(config, was_scored)
        if asked == "auto" and not was_scored and source.has_masks == "always":
            tell("label | masks are not compared, as the dataset was begun without")
        return find_files(config, labelled=was_scored)
    if asked is False or (asked == "auto" and source.has_masks == "never"):
        return find_files(config)
    try:
        return find_files(config, labelled=True)
    except UserError as error:
        without = find_files(config)  # What is wrong with the images is told as such.
        names_classes = isinstance(source, LabelledSection) and source.names_classes
        if asked == "auto" and source.has_masks == "perhaps" and not names_classes:
            tell(f"label | masks are not compared: {shown(error.problems[0])}")
            return without
        raise UserError([*error.problems, _WITHOUT_SCORES]) from None


def _check_score(config: Config, was_scored: bool) -> None:
    """Raises UserError where masks are to be compared in a dataset that was begun without, or the
    other way round; `auto` goes on as it was begun."""
    url, asked = config.label.url, config.label.score
    if asked not in ("auto", was_scored):
        how = "with" if was_scored else "without"
        raise UserError(
            f"label.score: {url} was begun {how} comparing masks. Set label.score: "
            f"{str(was_scored).lower()} to go on with it, or label into another --out."
        )


def _check_classes(rules: ClassRules, models: Models, more_advice: str) -> None:
    """Raises UserError where the source's classes are not those of the ensemble."""
    theirs, ours = rules.classes.names, models.ensemble.config.class_names
    if theirs != ours:
        raise UserError(
            f"label.source: its classes {list(theirs)} are not those that the ensemble was fitted "
            f"on, {list(ours)}, so that masks cannot be compared. Name the matching ensemble, or "
            f"the source's classes as the ensemble has them.{more_advice}"
        )


@dataclass(frozen=True)
class _Looked:
    """What reading an image has shown."""

    sha256: str = ""
    truth_sha256: str = ""
    """That of the class ids of its mask; empty where masks are not compared."""
    facts: MaskFacts | None = None
    unreadable: str = ""
    """What is wrong with a file that is none of an image or of a mask; empty if nothing is."""
    unreachable: str = ""
    """Why a file could not be read; empty if it could."""


_NUM_THREADS_FAR = 32
"""Threads that read images of a store, most of whose time is waiting for it."""
_Look = Callable[[SourceFile], _Looked]


def _looked(files: Sequence[SourceFile], look: _Look) -> list[_Looked]:
    """What reading each image shows."""
    if len(files) > 1:
        tell(f"label | reading {counted(len(files), 'image')}")
    is_near = all(storage.is_local(file.image_url) for file in files[:1])
    num_threads = NUM_THREADS if is_near else _NUM_THREADS_FAR
    with ThreadPoolExecutor(num_threads, "hasher") as pool:
        looked = ahead(pool, look, files, num_threads * 4)
        return list(tracked(looked, "reading", len(files), "images"))


def _look(file: SourceFile, found: Found, size: int) -> _Looked:
    """Reads an image, and its mask if masks were asked for.

    All of what comes with a mask is decoded. An image alone is looked at as `intact` does.
    """
    url, sha256, item = file.image_url, "", file.whole
    try:
        picture = None if found.rules is None else item.image(size)
        data = (picture.data if picture else b"") or item.content()
        sha256 = sha256_of(data)
        if picture is None and found.may_fail:
            intact.check_image(data, item.reading)
        check_is_cut(file.items[0])
        if picture is None or found.rules is None:
            return _Looked(sha256)
        url = file.mask_url
        mask = whole_mask(item, item.mask(size, found.rules), picture)
        return _Looked(sha256, sha256_of_ids(mask.ids), mask.facts)
    except UnreadableImage as error:
        return _Looked(sha256 or _sha256_of_content(item), unreadable=error.of(url))
    except OSError as error:
        return _Looked(unreachable=cannot_read(url, error))


def _sha256_of_content(item: Item) -> str:
    """The hash of an image that could not be decoded; empty if it has no bytes."""
    try:
        return sha256_of(item.content())
    except (UnreadableImage, OSError):
        return ""


def _new_listing(
    config: Config,
    files: Sequence[SourceFile],
    versions: Sequence[str],
    looked: Sequence[_Looked],
    rules: ClassRules | None,
) -> SourceListing:
    """The listing of a dataset that is begun. Raises UserError."""
    refuse([each.unreachable for each in looked if each.unreachable])
    bad = [each.unreadable for each in looked if each.unreadable]
    if bad and (config.label.unreadable == "refuse" or len(bad) == len(files)):
        remedies = [_WITHOUT_THEM] if len(bad) < len(files) else []
        remedies += [_WITHOUT_SCORES] if rules is not None else []
        raise UserError([*first_lines(bad), *remedies])
    if rules is not None:
        problems = Problems()
        for note in check_masks([each.facts for each in looked if each.facts], rules, problems):
            tell(f"label | {shown(note)}")
        if problems.found:
            raise UserError([*first_lines(problems.found), _WITHOUT_SCORES])
    return SourceListing(
        names=[file.name for file in files],
        urls=[file.image_url for file in files],
        versions=versions,
        sha256s=[each.sha256 for each in looked],
        truth_sha256s=None if rules is None else [each.truth_sha256 for each in looked],
        problems=[each.unreadable for each in looked] if bad else None,
    )


def _check_unchanged(
    config: Config,
    files: Sequence[SourceFile],
    versions: Sequence[str],
    known: SourceListing,
    look: _Look,
) -> None:
    """Raises UserError for images, and compared masks, that are not as a listing has them."""
    place_of = {name: i for i, name in enumerate(known.names)}
    places = [place_of[file.name] for file in files]
    to_read = [
        (file, i)
        for file, i, version in zip(files, places, versions, strict=True)
        if not version or version != known.versions[i]
    ]
    lines = []
    for (file, i), each in zip(to_read, _looked([f for f, _ in to_read], look), strict=True):
        if each.unreachable:
            lines.append(each.unreachable)
        elif each.sha256 != known.sha256s[i]:
            lines.append(_changed(file.image_url, config.label.url))
        elif known.truth_sha256s is not None and each.truth_sha256 != known.truth_sha256s[i]:
            lines.append(_changed(file.mask_url, config.label.url))
    refuse(lines)


def _changed(url: str, dataset: str) -> str:
    return f"{url}: has changed since {dataset} was begun. {REMEDY}"
