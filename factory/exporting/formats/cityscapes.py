"""`cityscapes`: the layout of Cityscapes' fine annotations, with one city named `factory`."""

from collections.abc import Iterable, Iterator

from factory.classes import IGNORE_ID
from factory.exporting.format import PairFiles, PairFormat, Summary
from factory.exporting.pairs import Pair
from factory.pictures import colorize
from factory.png import encode_png
from factory.shards.layout import to_json

CITY = "factory"
_FRAMES = 1_000_000
"""Frames a sequence: both numbers of a name have six digits."""


class CityscapesFormat(PairFormat):
    """`leftImg8bit/SPLIT/factory/NAME_leftImg8bit.png`, and `NAME_gtFine_labelIds.png` and
    `NAME_gtFine_color.png` in `gtFine/SPLIT/factory/`.

    NAME is `factory_SEQUENCE_FRAME`, which together are the pair's number. Values of labelIds are
    the dataset's class ids, not those of Cityscapes, and 255 for ignored pixels; `labels.json` has
    their names and colours.
    """

    def pair_files(self, pair: Pair) -> PairFiles:
        """See `PairFormat`."""
        sequence, frame = divmod(pair.index, _FRAMES)
        place = f"{pair.split}/{CITY}/{CITY}_{sequence:06d}_{frame:06d}"
        color = encode_png(colorize(pair.mask, self.source.classes))
        return PairFiles(
            [
                (f"leftImg8bit/{place}_leftImg8bit.png", pair.image_png),
                (f"gtFine/{place}_gtFine_labelIds.png", pair.mask_png),
                (f"gtFine/{place}_gtFine_color.png", color),
            ]
        )

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        classes = self.source.classes
        labels = [
            {"id": i, "trainId": i, "name": name, "color": list(color), "ignoreInEval": False}
            for i, (name, color) in enumerate(zip(classes.names, classes.palette, strict=True))
        ]
        labels.append(
            {
                "id": IGNORE_ID,
                "trainId": IGNORE_ID,
                "name": "ignored",
                "color": [255, 255, 255],
                "ignoreInEval": True,
            }
        )
        yield "labels.json", [to_json(labels)]

    def notes(self, summary: Summary) -> list[str]:
        """See `Format`."""
        return ["values of labelIds are the dataset's class ids: see labels.json"]
