"""Lists of images to use: JSON, one name a line, or a column of a CSV file."""

import csv
import io
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from factory import storage
from factory.alike import Alike
from factory.data.files import listing, name_tables
from factory.data.files.listing import Listing
from factory.data.files.name_tables import NameTable
from factory.data.files.patterns import ImagePattern
from factory.errors import Problems, UserError, some

FORMS = "a JSON list of image file names, a .txt file of one name a line, or a .csv file"
_IMAGE_KEYS = ("image", "file_name", "filename", "img", "path", "name")
_VOC = re.compile(r"(?P<name>\S+)\s+(?P<flag>-1|0|1)")
"""A line of VOC's lists of a class: an image, and whether it has an object of the class."""
_IMAGE_AND_MASK = re.compile(
    rf"(?P<image>\S.*?{(ending := '(?:' + '|'.join(map(re.escape, listing.IMAGE_SUFFIXES)) + ')')})"
    rf"[\s,;]+(?P<mask>\S.*?{ending})",
    re.IGNORECASE,
)
"""A line of lists that name an image and its mask."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class NameList:
    """The names that a list holds, as they stand there."""

    url: str
    names: Sequence[str]
    header: str | None = None
    """The first line of a CSV file of one column: its header, or the first name."""
    masks: Mapping[str, str] = field(default_factory=dict)
    """The mask that stands beside each name, in lists of images and masks."""
    table: NameTable | None = None
    """The columns that lines have, of which one may name the images; then names are whole lines, or
    empty where these cannot be names."""


def read_list(url: str, key: str | None, problems: Problems) -> NameList:
    """A list, or the one below a key of it; empty if there is a problem, which is added."""
    from factory.data.files import trees

    ending = PurePosixPath(url).suffix.lower()
    try:
        with problems.collected():
            text = trees.read_file(url).decode("utf-8-sig")
            if ending == ".json":
                return NameList(url, _of_json(json.loads(text), url, key))
            if ending in _DELIMITERS:
                return _of_csv(text, _DELIMITERS[ending], url, key)
            return _of_lines(text, url, key)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        wanted = "a JSON list of image file names" if ending == ".json" else FORMS
        problems.add(
            f"{url}: cannot be read ({storage.describe(error)}). It must be {wanted}, in UTF-8."
        )
    return NameList(url, ())


def resolve(
    names: NameList,
    images: Listing,
    num: int | None,
    problems: Problems,
    pattern: ImagePattern | None = None,
    masks: Mapping[str, str] | None = None,
) -> list[str]:
    """The images that the first num names of a list mean, in its order.

    A name is a path, as below the folder of the images or longer, a file's name, or either without
    its ending. pattern: that of the images, if they have one: then a name may also be what its `*`
    stand for, of the file's name or of the folders. Those that mean no image or several are
    problems. masks: the path of each image's mask, if masks are asked for; a list that names
    another file for it is a problem.
    """
    find = _finder(images, pattern)
    before = len(problems.found)
    with problems.collected():
        names = _with_column(names, find)
    if len(problems.found) > before:
        return []
    wanted = [unicodedata.normalize("NFC", name) for name in names.names]
    if names.header is not None and find(first := unicodedata.normalize("NFC", names.header)):
        wanted.insert(0, first)
    if not wanted and names.header is not None:
        problems.add(f"{names.url}: holds no names below its header {names.header}. Add some.")
    found = {name: find(name) for name in wanted[:num]}
    missing = [name for name, files in found.items() if not files]
    columns = [n for n in missing if find(_first_column(n))]
    if columns:
        problems.add(f"{names.url}: has a second column ({some(columns, 2)}). {_advice(columns)}")
    _tell_missing(names.url, [n for n in missing if n not in set(columns)], images, problems)
    for name, files in found.items():
        if len(files) > 1:
            line = (
                f"{names.url}: names {name}, which may be {some(files)}. Write it with its folder "
                "and its ending."
            )
            problems.add(Alike(line, name, kind=f"{names.url} names what may be several"))
    meant = [files[0] for files in found.values() if len(files) == 1]
    _check_once(names.url, wanted[:num], found, problems)
    _check_masks(names, found, masks or {}, problems)
    return list(dict.fromkeys(meant))


def _tell_missing(url: str, missing: Sequence[str], images: Listing, problems: Problems) -> None:
    """Adds a problem for each name that means no image."""
    for i, name in enumerate(missing):
        similar = listing.suggestion(name, images.read) if i < listing.MAX_SUGGESTIONS else ""
        line = (
            f"{url}: names {name}, which is not in {images.folder}.{similar} Names are file "
            "names or paths, with or without ending, or what the `*` of a pattern stand for. Take "
            "out what is not meant."
        )
        problems.add(Alike(line, name, kind=f"{url} names what is not there"))


def _advice(lines: Sequence[str]) -> str:
    """What to do about lines of a name and something else."""
    if all(map(_VOC.fullmatch, lines)):
        return (
            "In VOC's lists of a class it is 1 where an image has an object of the class, -1 where "
            "it has none, and 0 where all are difficult: set names_key to the one that is meant, "
            'as names_key: "1".'
        )
    return "Write names alone, one a line."


def _check_masks(
    names: NameList,
    found: Mapping[str, Sequence[str]],
    masks: Mapping[str, str],
    problems: Problems,
) -> None:
    """Refuses lists that name another mask of an image than the one that is paired with it."""
    for name, files in found.items():
        other, own = names.masks.get(name, ""), masks.get(files[0]) if files else None
        if other and own and _file(other) != _file(own):
            line = (
                f"{names.url}: names {other} as the mask of {name}, and `masks` pairs it with "
                f"{own}. Set masks to a pattern of the files that the list names."
            )
            problems.add(Alike(line, name, kind=f"{names.url} names other masks"))


def _check_once(
    url: str, wanted: Sequence[str], found: Mapping[str, Sequence[str]], problems: Problems
) -> None:
    """Refuses lists that name an image more than once."""
    ways = defaultdict(list)
    for name, files in found.items():
        if len(files) == 1:
            ways[files[0]].append(name)
    counts = Counter(wanted)
    for name, count in counts.items():
        if count > 1:
            line = f"{url}: names {name} {count} times. Name it once."
            problems.add(Alike(line, name, kind=f"{url} names one several times"))
    for file, names in ways.items():
        if len(names) > 1:
            line = f"{url}: names {file} {len(names)} times, as {some(names)}. Name it once."
            problems.add(Alike(line, file, kind=f"{url} names one in several ways"))


def _finder(images: Listing, pattern: ImagePattern | None) -> Callable[[str], list[str]]:
    """The function from a name in a list to the images that it may mean."""
    exact = set(images.read)
    by_file, by_stem = defaultdict(list), defaultdict(list)
    by_star, by_dir = defaultdict(list), defaultdict(list)
    for image in images.read:
        file = image.rpartition("/")[2]
        by_file[file].append(image)
        by_stem[listing.stem(file)].append(image)
        if pattern is not None and not pattern.is_folder and (names := pattern.match(image)):
            by_star[names.stem].append(image)
            by_dir[names.dir].append(image)

    def find(name: str) -> list[str]:
        name = name.removeprefix("./")
        if name not in exact and "/" not in name:
            name = name.replace("\\", "/").removeprefix("./")  # as Windows parts folders
        if name in exact:
            return [name]
        folder, _, file = name.rpartition("/")
        for same in (by_file.get(file), by_stem.get(file), by_star.get(file)):
            if same:
                return _in_folder(same, folder, images) if folder else same
        return by_dir.get(name.rstrip("/"), [])

    return find


def _in_folder(files: Sequence[str], folder: str, images: Listing) -> list[str]:
    """Those of some files whose folder is called so, by as many of its parts as any has."""
    wanted = [part for part in folder.split("/") if part][::-1]
    agreeing = []
    for file in files:
        parts = images.url_of(file).split("/")[-2::-1]
        num_equal = next(
            (i for i, (a, b) in enumerate(zip(wanted, parts, strict=False)) if a != b),
            min(len(wanted), len(parts)),
        )
        agreeing.append(num_equal)
    best = max(agreeing)
    return [f for f, n in zip(files, agreeing, strict=True) if n == best] if best else []


def _first_column(line: str) -> str:
    return re.split(r"[\s,;]", line, maxsplit=1)[0]


def _of_json(content: Any, url: str, key: str | None) -> list[str]:
    if isinstance(content, dict):
        if key not in content:
            raise UserError(
                f"{url}: holds the lists {some(list(content))}. Set names_key to one, not {key!r}."
            )
        content = content[key]
    elif key is not None:
        raise _no_keys(url, key)
    if isinstance(content, list):
        content = [_image_of(entry) for entry in content]
    if not content or not isinstance(content, list) or not all(type(n) is str for n in content):
        raise UserError(
            f"{url}: expected a list of one or more file names{f' at {key}' if key else ''}."
        )
    return content


def _image_of(entry: Any) -> Any:
    """The image's name in an object of a list, as tables of images and masks have it."""
    if not isinstance(entry, dict):
        return entry
    named = [entry[key] for key in _IMAGE_KEYS if isinstance(entry.get(key), str)]
    return named[0] if len(named) == 1 else entry


def lines_of(text: str) -> list[str]:
    """The lines of a text that are not empty. Other characters that part lines or paragraphs, such
    as U+2028, may stand in names."""
    return [line.strip() for line in io.StringIO(text, newline=None) if line.strip()]


def images_and_masks(lines: Sequence[str]) -> list[tuple[str, str]]:
    """An image and its mask of each line, if every line names both, as CamVid's lists do; otherwise
    none."""
    found = [_IMAGE_AND_MASK.fullmatch(line) for line in lines]
    return [(row["image"], row["mask"]) for row in found if row] if all(found) else []


def _file(path: str) -> str:
    """The name of a file without its folders, to compare with others."""
    return unicodedata.normalize("NFC", path.replace("\\", "/").rpartition("/")[2])


def _of_lines(text: str, url: str, key: str | None) -> NameList:
    names = lines_of(text)
    if not names:
        raise UserError(f"{url}: expected one or more file names, one a line.")
    rows = [row for line in names if (row := _VOC.fullmatch(line))]
    are_flagged = len(rows) == len(names)
    table = None if are_flagged else name_tables.of_lines(names)
    if key is None:
        both = images_and_masks(names)
        masks = {unicodedata.normalize("NFC", image): mask for image, mask in both}
        return NameList(url, [image for image, _ in both] or names, masks=masks, table=table)
    if table is not None and (of_split := table.of_split(key)):
        return NameList(url, (), table=of_split)
    if not are_flagged:
        raise _no_keys(url, key)
    if key not in (known := sorted({row["flag"] for row in rows})):
        raise UserError(
            f"{url}: has {some(known)} in its second column. Set names_key to one of them, not "
            f"{key!r}."
        )
    return NameList(url, [row["name"] for row in rows if row["flag"] == key])


def _with_column(names: NameList, find: Callable[[str], Sequence[str]]) -> NameList:
    """The list whose names are those of the column that names images, if it is a table of which
    no line as a whole is a name. Raises UserError as `name_tables.listed_images` does."""
    if (table := names.table) is None or any(find(_composed(name)) for name in names.names):
        return names
    listed = name_tables.listed_images(table, lambda name: find(_composed(name)), names.url)
    if listed is None and not names.names:
        raise name_tables.no_column(table, names.url)
    if listed is None or (names.names and listed.has_text):
        return names
    pairs = zip(map(_composed, listed.names), listed.masks, strict=False)
    return NameList(names.url, listed.names, masks=dict(pairs))


def _composed(name: str) -> str:
    """A name as all are compared, in NFC."""
    return unicodedata.normalize("NFC", name)


def _of_csv(text: str, delimiter: str, url: str, key: str | None) -> NameList:
    first = text.strip().partition("\n")[0]
    if delimiter not in first and ";" in first:
        delimiter = ";"  # as programs write it where numbers have decimal commas
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    numbered = [(reader.line_num, row) for row in reader if any(row)]
    header = [column.strip() for column in numbered[0][1]] if numbered else []
    if not header:
        raise UserError(f"{url}: expected one or more file names in a column.")
    table = name_tables.of_rows([row for _, row in numbered])
    if key is None and len(header) > 1:
        return NameList(url, (), table=table)
    if key is not None and (of_split := table.of_split(key)):
        return NameList(url, (), table=of_split)
    if key is not None and key not in header:
        raise UserError(
            f"{url}: has the columns {some(header)}. Set names_key to one of them, not {key!r}."
        )
    column = header.index(key) if key is not None else 0
    cells = [(line, (row[column:] or [""])[0].strip()) for line, row in numbered[1:]]
    # Of columns of several lengths, as of splits, the shorter ones end with empty cells.
    while cells and not cells[-1][1]:
        cells.pop()
    if empty := [str(line) for line, name in cells if not name]:
        raise UserError(
            f"{url}: has no name in column {header[column]} at line {some(empty)}, and names below "
            "it. Fill in the name, or take out the line."
        )
    return NameList(url, [name for _, name in cells], header[0] if key is None else None)


def _no_keys(url: str, key: str) -> UserError:
    return UserError(f"{url}: is one list, without keys. Leave names_key={key} out.")
