"""`folder`: images and masks in two folders under the same names, which `kind: pairs` reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from factory.exporting.format import ShardFiles, Source, Summary
from factory.exporting.pairs import Pair
from factory.shards.layout import to_json


@dataclass(frozen=True)
class FolderFormat:
    """`images/KEY.png` and `masks/KEY.png`, in `train/` and `val/` if there are splits.

    Beside them lie `classes.json`, the names by id, and `palette.json`, the colours in their order.
    """

    source: Source
    takes: ClassVar[tuple[str, ...]] = ()

    def problems(self) -> list[str]:
        """Any dataset can be written so."""
        return []

    def shard_files(self, shard: int, pairs: Sequence[Pair]) -> ShardFiles:
        """See `Format`."""
        files = []
        for pair in pairs:
            above = "" if self.source.options.val is None else f"{pair.split}/"
            files += [
                (f"{above}images/{pair.key}.png", pair.image_png),
                (f"{above}masks/{pair.key}.png", pair.mask_png),
            ]
        return ShardFiles(files)

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        classes = self.source.classes
        yield "classes.json", [to_json(classes.id2label)]
        yield "palette.json", [to_json(classes.palette)]

    def notes(self, summary: Summary) -> list[str]:
        """See `Format`."""
        return []
