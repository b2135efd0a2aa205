"""`folder`: images and masks in two folders under the same names, which `kind: pairs` reads."""

from collections.abc import Iterable, Iterator

from factory.exporting.format import PairFiles, PairFormat, Summary
from factory.exporting.pairs import Pair
from factory.shards.layout import to_json


class FolderFormat(PairFormat):
    """`images/KEY.png` and `masks/KEY.png`, in `train/` and `val/` if there are splits.

    Beside them lie `classes.json`, the names by id, and `palette.json`, the colours in their order.
    """

    def pair_files(self, pair: Pair) -> PairFiles:
        """See `PairFormat`."""
        above = "" if self.source.options.val is None else f"{pair.split}/"
        return PairFiles(
            [
                (f"{above}images/{pair.key}.png", pair.image_png),
                (f"{above}masks/{pair.key}.png", pair.mask_png),
            ]
        )

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        classes = self.source.classes
        yield "classes.json", [to_json(classes.id2label)]
        yield "palette.json", [to_json(classes.palette)]
