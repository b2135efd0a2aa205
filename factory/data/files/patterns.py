"""Patterns of names: which files are images, and which are their masks.

    images/**/*_rgb.png              * within a name, ** over folders
    masks/{dir}/{stem}_mask.png      {stem} is what the * of the image's file name stood for
    masks/{file}.png                 {file} is the image's whole file name, its ending too
    masks/{stem}_{part}.png          each part of a mask is a file: a class, or one object

A text without any of these is a folder, whose files are read with those of its sub-folders.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

_SPECIAL = re.compile(r"[*{}]")
_PIECE = re.compile(r"\{[^{}]*\}|\*+|[^*{}]+|[{}]")
_PLACEHOLDER = re.compile(r"\{(stem|name|file|dir|part)(?::0([1-9]))?\}")
_WILD = "[^/]*"
PLACEHOLDERS = "{stem}, {name}, {file}, {dir}, {part}"
"""The placeholders of masks, as messages list them."""


class Names(NamedTuple):
    """What the placeholders of masks stand for, of one image."""

    stem: str
    """What the `*` of the file name stood for, and all between the first and the last of them."""
    name: str
    """The file's name without its ending."""
    file: str
    """The file's name with its ending."""
    dir: str
    """The folders that `**` and `*` stood for, or those below a folder of images."""
    folder: str
    """All folders below the first ones, which have no `*`."""


Key = tuple[str, ...]
"""What an image and its masks have in common."""


@dataclass(frozen=True)
class ImagePattern:
    """Which files are images."""

    text: str
    below: str
    """The folder above all of them: the first parts of the pattern, without `*`."""
    _expression: re.Pattern[str] | None
    """None for a folder."""

    @property
    def is_folder(self) -> bool:
        """True if all files below a folder are meant."""
        return self._expression is None

    def means(self, path: str) -> bool:
        """True of a file, by its name in the tree, that the pattern means."""
        start = f"{self.below}/" if self.below else ""
        return path.startswith(start) and bool(self.match(path[len(start) :]))

    def match(self, name: str) -> Names | None:
        """What the placeholders stand for; None for a file that is not meant.

        name: of a file, relative to `below`.
        """
        path = PurePosixPath(name)
        folder = "" if path.parent == PurePosixPath() else str(path.parent)
        if self._expression is None:
            return Names(path.stem, path.stem, path.name, folder, folder)
        found = self._expression.fullmatch(name)
        if found is None:
            return None
        parts = found.groupdict()
        stem = path.stem if parts.get("stem") is None else parts["stem"]
        return Names(stem, path.stem, path.name, (parts.get("dir") or "").rstrip("/"), folder)


class _Piece(NamedTuple):
    kind: str
    """text, suffix (whose case does not count), ending (any), star, folders, or a placeholder."""
    text: str = ""
    """Of a text or a suffix."""
    width: int = 0
    """The least number of digits of a placeholder, 0 for any text."""
    with_slash: bool = False
    """Whether a slash follows folders, unless there are none."""


@dataclass(frozen=True)
class MaskPattern:
    """Which files are masks, and of which image."""

    text: str
    below: str
    """The folder above all of them: the first parts of the pattern, without `*` and `{}`."""
    is_folder: bool
    """True if the masks are the files below a folder that are called like their images."""
    _pieces: tuple[_Piece, ...]

    def means(self, path: str) -> bool:
        """True of a file, by its name in the tree, that is a mask by its name."""
        start = f"{self.below}/" if self.below else ""
        return path.startswith(start) and any(self.keys(path[len(start) :]))

    def key(self, names: Names) -> Key | None:
        """What the masks of an image hold in their names; None if it can have none, as a number is
        asked for that its name is not."""
        values = [_filled(piece, names) for piece in self._pieces if piece.kind in Names._fields]
        known = [value for value in values if value is not None]
        return tuple(known) if len(known) == len(values) else None

    @property
    def has_parts(self) -> bool:
        """True if an image has a file for each part of its mask."""
        return any(piece.kind == "part" for piece in self._pieces)

    @property
    def has_objects(self) -> bool:
        """True if a part may have several files, which a `*` in their names tells apart."""
        return "*" in PurePosixPath(self.text).name.removesuffix(".*")

    def keys(self, name: str) -> Iterator[tuple[Key, str]]:
        """Yields each key that a file would be a mask of, once, with the part that it would be, ""
        without parts; nothing for a file that is no mask.

        name: relative to `below`.
        """
        found = (
            (
                tuple(text for kind, text in values if kind in Names._fields),
                "".join(text for kind, text in values if kind == "part"),
            )
            for values in _splits(self._pieces, name)
        )
        yield from dict.fromkeys(found)

    def wanted(self, names: Names) -> str:
        """The name of an image's mask, relative to `below`, with a `*` for what may be anything."""
        wanted = "".join(_shown(piece, names) for piece in self._pieces)
        return f"{wanted.removesuffix('.*')}.png" if self.is_folder else wanted


def parse_images(text: str) -> ImagePattern:
    """The pattern of images. Raises ValueError for one that cannot be meant."""
    text = _nfc(text)
    parts = _parts(text)
    if "{" in text or "}" in text:
        raise ValueError(f"{text}: {{}} stand in `masks` alone. Write * for what differs")
    if not _SPECIAL.search(text):
        return ImagePattern(text, "/".join(parts), None)
    *folders, file = parts
    first = next((i for i, part in enumerate(folders) if "*" in part), len(folders))
    last = max((i for i, part in enumerate(folders) if "*" in part), default=-1)
    expression = ""
    for i, part in enumerate(folders[first:], first):
        expression += "(?P<dir>" if i == first <= last else ""
        expression += "(?:[^/]+/)*" if part == "**" else f"{_expression(part)}/"
        expression += ")" if i == last else ""
    expression += _file_expression(file)
    return ImagePattern(text, "/".join(folders[:first]), re.compile(expression))


def parse_masks(text: str) -> MaskPattern:
    """The pattern of masks. Raises ValueError for one that cannot be meant."""
    text = _nfc(text)
    parts = _parts(text)
    if not _SPECIAL.search(text):
        alike = (_Piece("folder", with_slash=True), _Piece("name"), _Piece("ending"))
        return MaskPattern(text, "/".join(parts), True, alike)
    num = next(i for i, part in enumerate(parts) if _SPECIAL.search(part))
    pieces = tuple(_pieces("/".join(parts[num:]), text))
    if sum(piece.kind == "part" for piece in pieces) > 1:
        raise ValueError(f"{text}: has {{part}} more than once. Write * for what need not agree")
    if not any(piece.kind in Names._fields for piece in pieces):
        raise ValueError(
            f"{text}: says of no mask which image it belongs to. Write {{stem}} in it, {{name}} or "
            "{dir}"
        )
    return MaskPattern(text, "/".join(parts[:num]), False, pieces)


def _nfc(text: str) -> str:
    """The text as names of trees are: an accent of its own joined with its letter."""
    return unicodedata.normalize("NFC", text)


def _parts(text: str) -> tuple[str, ...]:
    parts = PurePosixPath(text).parts
    if parts[:1] == ("/",):
        raise ValueError(f"{text}: must be a path below url, without a slash before it")
    if any("**" in part and part != "**" for part in parts) or parts[-1:] == ("**",):
        raise ValueError(f"{text}: ** stands for folders. Write it between slashes: **/*.png")
    return parts


def _file_expression(file: str) -> str:
    """The expression of a file's name; what its `*` stand for is the group `stem`."""
    is_open = file.endswith("*")  # Then its ending may be any, and is no part of the stem.
    rest = file.removesuffix(".*") if is_open else file
    stem, suffix = (rest, "") if is_open else (PurePosixPath(rest).stem, PurePosixPath(rest).suffix)
    if "*" in suffix:
        stem, suffix = rest, ""
    before, star, after = stem.partition("*")
    within, star_again, after_last = after.rpartition("*")
    wild = f"{_WILD}{_expression(within)}{_WILD}" if star_again else _WILD
    group = f"(?P<stem>{wild}{'?' if is_open else ''})" if star else ""
    ending = r"(?:\.[^/.]*)?" if is_open else f"(?i:{re.escape(suffix)})"
    return f"{re.escape(before)}{group}{re.escape(after_last)}{ending}"


def _expression(part: str) -> str:
    return _WILD.join(map(re.escape, part.split("*")))


def _pieces(text: str, whole: str) -> Iterator[_Piece]:
    """The pieces of a pattern of masks. Raises ValueError."""
    is_open = text.endswith(".*")
    found = _PIECE.findall(text.removesuffix(".*"))
    suffix = "" if is_open or found[-1][0] in "{}*" else PurePosixPath(f"x{found[-1]}").suffix
    if suffix:
        found[-1] = found[-1].removesuffix(suffix)
    has_slash = False  # The one before this piece took its slash.
    for piece, following in zip(found, [*found[1:], ""], strict=True):
        piece, has_slash = piece[has_slash:], False
        if piece in ("{", "}"):
            raise ValueError(f"{whole}: has a {piece} without its partner. Write both")
        if piece.startswith("{"):
            match = _PLACEHOLDER.fullmatch(piece)
            if match is None or (match[1] in ("file", "dir", "part") and match[2]):
                raise ValueError(
                    f"{whole}: {piece} is unknown. Known are {PLACEHOLDERS}, and with leading "
                    "zeros {stem:05}"
                )
            has_slash = match[1] == "dir" and following.startswith("/")
            yield _Piece(match[1], width=int(match[2] or 0), with_slash=has_slash)
        elif piece == "**":
            has_slash = True
            yield _Piece("folders", with_slash=True)
        else:
            yield _Piece("star") if piece == "*" else _Piece("text", piece)
    # Nothing behind the last name leaves its ending open, as no mask is without one.
    yield _Piece("suffix", suffix) if suffix else _Piece("ending")


def _splits(pieces: tuple[_Piece, ...], text: str) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yields each way in which a name fits the pieces: what each stands for."""
    if not pieces:
        if not text:
            yield ()
        return
    piece, rest = pieces[0], pieces[1:]
    kind, following = (rest[0].kind, rest[0].text) if rest else ("", "")
    end = len(text) - len(following) if kind == "suffix" else None
    for length in _lengths(piece, text):
        # Most lengths are ruled out by what follows, before anything is tried.
        if length == end or (
            end is None and (kind != "text" or text.startswith(following, length))
        ):
            value = text[:length].rstrip("/") if piece.with_slash else text[:length]
            for others in _splits(rest, text[length:]):
                yield ((piece.kind, value), *others)


def _lengths(piece: _Piece, text: str) -> Iterator[int]:
    """Yields how many of the next characters a piece may stand for."""
    if piece.kind == "text":
        if text.startswith(piece.text):
            yield len(piece.text)
    elif piece.kind == "suffix":
        if text.casefold() == piece.text.casefold():
            yield len(text)
    elif piece.kind == "ending":
        if text.startswith(".") and not _ENDED.search(text, 1):
            yield len(text)
    elif piece.with_slash:
        yield 0
        yield from (match.end() for match in _SLASH.finditer(text))
    elif piece.kind == "dir":
        yield from range(len(text) + 1)
    else:
        limit = text.find("/")
        limit = len(text) if limit < 0 else limit
        if piece.width:
            digits = _DIGITS.match(text)
            limit = digits.end() if digits else -1
        yield from range(limit, (piece.width or 0) - 1, -1)


_ENDED = re.compile("[./]")
_SLASH = re.compile("/")
_DIGITS = re.compile("[0-9]+")


def _filled(piece: _Piece, names: Names) -> str | None:
    """What a placeholder stands for; None if a number is asked for that it is not."""
    value: str = getattr(names, piece.kind)
    if not piece.width:
        return value
    return f"{int(value):0{piece.width}}" if _DIGITS.fullmatch(value) else None


def _shown(piece: _Piece, names: Names) -> str:
    if piece.kind in Names._fields:
        value = _filled(piece, names) or ""
        return f"{value}/" if value and piece.with_slash else value
    others = {"ending": ".*", "star": "*", "folders": "**/", "part": "{part}"}
    return others.get(piece.kind, piece.text)
