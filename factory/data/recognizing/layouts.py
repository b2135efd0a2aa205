"""Layouts of published datasets: settings of kind pairs by one name.

A layout says where images and masks lie below `url`, and which classes there are. A dataset that is
divided into folders, or by lists, may be read by a split of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from factory import storage
from factory.data.classes import published_classes
from factory.data.classes.published_classes import Form

LayoutName = Literal[
    "voc",
    "cityscapes",
    "cityscapes-label-ids",
    "celebamask-hq",
    "dsb2018",
    "camvid",
    "camvid-32",
    "ddpm-segmentation",
    "loveda",
]
_SPLIT, _CAPITAL = "{split}", "{Split}"
"""What stands for a split in a layout: its name, or that with a capital."""


@dataclass(frozen=True)
class Layout:
    """Where a published dataset has its images and masks, and its classes."""

    images: str
    """The key `images` of kind pairs."""
    masks: str
    """The key `masks`."""
    classes: Form = ()
    """The key `classes`; none if the name of the dataset's folder tells them, or nothing does."""
    ignore: Mapping[str, Any] = field(default_factory=dict)
    """The key `ignore`."""
    skips_unpaired: bool = False
    """True if the dataset has images without masks."""
    splits: tuple[str, ...] = ()
    """The splits that it is published with."""
    images_of_split: str = ""
    """The key `images` where a split is meant; {split} stands for it, {Split} with a capital."""
    masks_of_split: str = ""
    list_of_split: str = ""
    """The list of a split's images, below url, where no folders part them."""


_TRAIN_VAL, _TRAIN_VAL_TEST = ("train", "val"), ("train", "val", "test")


def _cityscapes(ids: str, classes: Form, ignored: Sequence[int] = ()) -> Layout:
    return Layout(
        images="leftImg8bit/**/*_leftImg8bit.png",
        masks=f"gtFine/{{dir}}/{{stem}}_gtFine_{ids}.png",
        classes=classes,
        ignore={"ids": list(ignored)} if ignored else {},
        skips_unpaired=True,  # The masks of its test split are not published.
        splits=_TRAIN_VAL,
        images_of_split=f"leftImg8bit/{_SPLIT}/**/*_leftImg8bit.png",
        masks_of_split=f"gtFine/{_SPLIT}/{{dir}}/{{stem}}_gtFine_{ids}.png",
    )


LAYOUTS: Mapping[str, Layout] = {
    "voc": Layout(
        "JPEGImages",
        "SegmentationClass",
        published_classes.VOC,
        skips_unpaired=True,
        splits=("train", "val", "trainval"),
        list_of_split=f"ImageSets/Segmentation/{_SPLIT}.txt",
    ),
    "cityscapes": _cityscapes("labelTrainIds", published_classes.CITYSCAPES),
    "cityscapes-label-ids": _cityscapes(
        "labelIds",
        published_classes.CITYSCAPES_BY_LABEL_ID,
        published_classes.CITYSCAPES_IGNORED,
    ),
    "celebamask-hq": Layout(
        "CelebA-HQ-img/*.jpg",
        "CelebAMask-HQ-mask-anno/*/{stem:05}_{part}.png",
        published_classes.CELEBAMASK_HQ,
    ),
    "dsb2018": Layout(
        "**/images/*.png",
        "{dir}/masks/{part}.png",
        ("background", {"name": "nucleus", "parts": ["*"]}),
        skips_unpaired=True,
    ),
    "camvid": Layout(
        "*/*.png",
        "{dir}annot/{stem}.png",
        published_classes.CAMVID_OF_SEGNET,
        ignore={"ids": [11]},
        splits=_TRAIN_VAL_TEST,
        images_of_split=f"{_SPLIT}/*.png",
        masks_of_split=f"{_SPLIT}annot/{{stem}}.png",
    ),
    "camvid-32": Layout(
        "701_StillsRaw_full/*.png",
        "LabeledApproved_full/{stem}_L.png",
        published_classes.CAMVID,
        ignore={"colors": [[0, 0, 0]]},
    ),
    "ddpm-segmentation": Layout(
        "**/*.*",
        "{dir}/{stem}.npy",
        splits=("train", "test"),
        images_of_split=f"real/{_SPLIT}/*.*",
        masks_of_split=f"real/{_SPLIT}/{{stem}}.npy",
    ),
    "loveda": Layout(
        "*/*/images_png/*.png",
        "{dir}/masks_png/{stem}.png",
        published_classes.LOVEDA,
        ignore={"ids": [0]},
        skips_unpaired=True,  # The masks of its test split are not published.
        splits=_TRAIN_VAL,
        images_of_split=f"{_CAPITAL}/*/images_png/*.png",
        masks_of_split=f"{_CAPITAL}/{{dir}}/masks_png/{{stem}}.png",
    ),
}
"""The layouts by their names in a config."""


def with_layout(section: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a section of kind pairs with those of its layout, which its own go before.

    Its own classes replace the layout's classes and what that ignores. Raises ValueError for a
    split that the layout does not have.
    """
    layout, split = LAYOUTS[section["layout"]], section.get("split")
    keys: dict[str, Any] = {"images": layout.images, "masks": layout.masks}
    if layout.skips_unpaired:
        keys["unpaired"] = "skip"
    if split is not None:
        keys |= _split_keys(layout, str(split), section.get("url"))
    if section.get("classes") is None and section.get("classes_url") is None:
        keys |= {"classes": list(layout.classes or _by_folder(section.get("url")) or ()) or None}
        keys |= {"ignore": dict(layout.ignore)} if layout.ignore else {}
    own = {key: value for key, value in section.items() if value is not None}
    return {**{key: value for key, value in keys.items() if value is not None}, **own}


def _split_keys(layout: Layout, split: str, url: object) -> dict[str, str]:
    """The keys that a split changes. Raises ValueError if the layout has no such split."""
    if split not in layout.splits:
        known = f"Its splits are {', '.join(layout.splits)}" if layout.splits else "It has none"
        raise ValueError(f"split: {split} is no split of this layout. {known}; or leave split out")
    keys = {}
    if layout.images_of_split:
        keys["images"] = of_split(layout.images_of_split, split)
        keys["masks"] = of_split(layout.masks_of_split, split)
    if layout.list_of_split and isinstance(url, str):
        keys["names_url"] = storage.join(url, layout.list_of_split.replace(_SPLIT, split))
    return keys


def of_split(pattern: str, split: str) -> str:
    """A pattern of a layout, of one split."""
    return pattern.replace(_SPLIT, split).replace(_CAPITAL, split.capitalize())


def _by_folder(url: object) -> Form | None:
    """The classes of a dataset of ddpm-segmentation, if a folder of the url has its name."""
    if not isinstance(url, str):
        return None
    known = published_classes.DDPM_SEGMENTATION
    return next((known[part] for part in reversed(url.split("/")) if part in known), None)
