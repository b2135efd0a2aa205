"""What lies in a tree of files, as a section of a source that reads it.

The names of all files decide, and the looks of a few. What is found first is taken: shards, the
layout of a published dataset, folders of images and masks, masks beside their images, images alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from factory.data.files.listing import DATA, IMAGE_SUFFIXES, PICTURE_SUFFIXES, RUN, by_ending
from factory.data.files.split_words import TEST_SPLITS, TRAIN_SPLITS
from factory.data.files.trees import Tree
from factory.data.recognizing import (
    drawn_candidates,
    layouts,
    mask_looks,
    name_words,
    pair_candidates,
    split_lists,
)
from factory.data.recognizing.candidates import SHARD_ENDINGS, Candidate, Files, split_of
from factory.errors import UnreadableImage, counted

_SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "voc": (
        r"JPEGImages/[^/]+",
        r"SegmentationClass/[^/]+\.png",
        r"ImageSets/Segmentation/[^/]+\.txt",
    ),
    "cityscapes": (
        r"leftImg8bit/.+_leftImg8bit\.png",
        r"gtFine/.+_gtFine_labelTrainIds\.png",
    ),
    "cityscapes-label-ids": (
        r"leftImg8bit/.+_leftImg8bit\.png",
        r"gtFine/.+_gtFine_labelIds\.png",
    ),
    "celebamask-hq": (
        r"CelebA-HQ-img/[0-9]+\.jpg",
        r"CelebAMask-HQ-mask-anno/[^/]+/[0-9]{5}_[a-z_]+\.png",
    ),
    "dsb2018": (r"(?P<case>[^/]+)/images/(?P=case)\.png", r"[^/]+/masks/[^/]+\.png"),
    "camvid": (r"train/[^/]+\.png", r"trainannot/[^/]+\.png"),
    "camvid-32": (r"701_StillsRaw_full/[^/]+\.png", r"LabeledApproved_full/[^/]+_L\.png"),
    "loveda": (
        r"(?:Train|Val)/(?:Urban|Rural)/images_png/[^/]+\.png",
        r"(?:Train|Val)/(?:Urban|Rural)/masks_png/[^/]+\.png",
    ),
}
"""The layouts that names tell by themselves: what files of each of these names must lie there."""


_OF_CELLPOSE = "_seg.npy"
_OBJECTS, _HEADER = b"'|O'", 128
"""How the header of a file of numpy's says that it holds objects, and the bytes that it is in."""


def candidates(tree: Tree, url: str) -> list[Candidate]:
    """The sections by which a tree may be read; several only where nothing tells which is meant.

    url: of the tree, as sections name it. Raises OSError, and UserError for names that cannot be
    told apart.
    """
    names = tree.names()
    pictures = [n for n in names if n.lower().endswith(IMAGE_SUFFIXES)]
    if cellpose := _of_cellpose(tree, names):
        pictures = [name for name in pictures if not name.endswith(_OF_CELLPOSE)]
    files = Files(tree, url, names, pictures, cellpose=cellpose)
    for find in (
        _shards,
        _layouts,
        drawn_candidates.found_in,
        _arrays,
        pair_candidates.found_in,
        _images,
    ):
        if found := list(find(files)):
            return found
    return []


def advice_on_kind(tree: Tree, url: str, kind: str, keys: Sequence[str]) -> str:
    """The sentence that names the kind that reads what lies in a tree, where another one does not;
    empty if none does.

    kind, keys: of the section that does not, and those of its keys that only it has. Raises
    OSError.
    """
    kinds = [found.keys["kind"] for found in candidates(tree, url)]
    known = [other for other in kinds if other not in (kind, "folder", "pairs")]
    if not known:
        return ""
    more = f", and leave {' and '.join(keys)} out" if keys else ""
    return f"What lies in {url} is of another kind. Set kind: {known[0]}{more}."


def _shards(files: Files) -> Iterator[Candidate]:
    """Parquet files or tars."""
    names = files.names
    if RUN in names:
        # Our own datasets have tables beside their shards.
        names = [name for name in names if name.startswith(DATA)]
    for kind, ending in SHARD_ENDINGS.items():
        shards = [name for name in names if name.lower().endswith(ending)]
        if not shards:
            continue
        found = sorted({split for name in shards if (split := split_of(name))})
        splits = {split: {"split": split} for split in found} if len(found) > 1 else {}
        keys = {"kind": kind, "url": files.url}
        yield Candidate(keys, splits, needs_split=len(found) > 1)


def _layouts(files: Files) -> Iterator[Candidate]:
    """Layouts of published datasets."""
    seen: set[str] = set()
    for layout, patterns in _SIGNATURES.items():
        roots = set.intersection(*(_roots(files.names, pattern) for pattern in patterns))
        for root in sorted(roots - seen):
            seen.add(root)
            keys = {"kind": "pairs", "url": files.below(root), "layout": layout}
            yield Candidate(keys, _splits_of_layout(files, layout, root))


def _splits_of_layout(files: Files, layout: str, root: str) -> Mapping[str, Mapping[str, str]]:
    """The splits of a layout that are there; where its own are not both to learn from and to
    measure on, those of lists of people's own in their place, as CVAT writes them."""
    own = {split: {"split": split} for split in _roots_of_splits(files, layout, root)}
    row = layouts.LAYOUTS[layout]
    has_both = not own.keys().isdisjoint(TRAIN_SPLITS) and not own.keys().isdisjoint(TEST_SPLITS)
    if has_both or not row.list_of_split:
        return own
    prefix = f"{root}/" if root else ""
    masks = [name for name in files.pictures if name.startswith(f"{prefix}{row.masks}/")]
    folder = f"{prefix}{row.list_of_split.rpartition('/')[0]}"
    return split_lists.listed_splits(files, folder, masks) or own


def _roots(names: Iterable[str], pattern: str) -> set[str]:
    """The folders below which files of this pattern lie."""
    expression = re.compile(rf"(?:(?P<root>.*)/)?{pattern}")
    found = (expression.fullmatch(name) for name in names)
    return {match["root"] or "" for match in found if match}


def _roots_of_splits(files: Files, layout: str, root: str) -> list[str]:
    """The splits of a layout that are there."""
    row, prefix = layouts.LAYOUTS[layout], f"{root}/" if root else ""
    found = []
    for split in row.splits:
        listed = prefix + row.list_of_split.replace("{split}", split)
        folder = prefix + layouts.of_split(row.images_of_split.partition("/*")[0], split)
        if row.list_of_split:
            there = listed in files.names
        else:
            there = any(name.startswith(f"{folder}/") for name in files.pictures)
        found += [split] if there else []
    return found


def _arrays(files: Files) -> Iterator[Candidate]:
    """Images beside .npy masks of the same names."""
    stems = {name[:-4] for name in files.pictures if name.lower().endswith(".npy")}
    others = [name for name in files.pictures if not name.lower().endswith(".npy")]
    paired = [name for name in others if str(PurePosixPath(name).with_suffix("")) in stems]
    if not paired or 2 * len(paired) < len(others):
        return
    keys = {"kind": "pairs", "url": files.url, "layout": "ddpm-segmentation"}
    there = _roots_of_splits(files, "ddpm-segmentation", "")
    yield Candidate(keys, {split: {"split": split} for split in there})


def _images(files: Files) -> Iterator[Candidate]:
    """Images alone, or what seems to be masks alone."""
    if files.pictures:
        doubt = _doubt(files) if _are_all_masks(files) else ""
        boxes = drawn_candidates.boxes_beside(files)
        keys = {"kind": "folder", "url": files.url}
        question = ""
        if files.cellpose:
            keys["exclude"] = f"**/*{_OF_CELLPOSE}"
            question = (
                "whether there are masks, too: what Cellpose wrote is not read, as it is Python's "
                f"objects ({counted(files.cellpose, 'file')} *{_OF_CELLPOSE}). Save the masks as "
                "PNG or TIFF there (save_masks), beside their images"
            )
        yield Candidate(keys, has_masks=False, doubt=doubt, question=question, boxes=boxes)


def _of_cellpose(tree: Tree, names: Sequence[str]) -> int:
    """The number of Cellpose's own files, which hold objects of Python, no arrays."""
    own = [name for name in names if name.endswith(_OF_CELLPOSE)]
    try:
        return len(own) if own and _OBJECTS in tree.read_start(own[0], _HEADER) else 0
    except UnreadableImage:
        return 0


def _are_all_masks(files: Files) -> bool:
    """True if a few pictures have few colours, most of them where all names say mask, else all."""
    share = mask_looks.share_of_masks(files.tree, files.pictures)
    parts = (name.rpartition(".")[0].split("/") for name in files.pictures)
    return share == 1 or (share > 0.5 and all(any(map(name_words.mask_word, p)) for p in parts))


def _doubt(files: Files) -> str:
    """Why all pictures may be masks, and where their images may be."""
    missed = [name for name in files.names if name.lower().endswith(PICTURE_SUFFIXES)]
    num = counted(len(files.pictures), "picture looks like a mask", "pictures look like masks")
    found = f"{num} (few flat colours, as in {files.pictures[0]})"
    if not missed:
        return f"{found}, and there are no images beside. Put the images into a folder beside them."
    return (
        f"{found}, and {by_ending(missed)} beside are pictures that are not read. Convert these to "
        "PNG or JPEG."
    )
