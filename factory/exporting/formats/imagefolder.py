"""`imagefolder`: two pictures a row for `datasets`, with the splits as folders."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from factory.exporting.format import ShardFiles, Source, Summary
from factory.exporting.pairs import Pair
from factory.shards.layout import ID_TO_LABEL, to_json

_FOLDERS = {"train": "train", "val": "validation"}
"""The folders of the splits, by which `datasets` names them."""


@dataclass(frozen=True)
class ImageFolderFormat:
    """`SPLIT/images/KEY.png` and `SPLIT/masks/KEY.png`, and `SPLIT/metadata.jsonl`.

    Its rows name both files, so that the columns are `image`, and `mask` or how it is asked for;
    the key and the uncertainty of a pair are columns, too.
    """

    source: Source
    takes: ClassVar[tuple[str, ...]] = ("mask_column",)

    def problems(self) -> list[str]:
        """Any dataset can be written so."""
        return []

    def shard_files(self, shard: int, pairs: Sequence[Pair]) -> ShardFiles:
        """See `Format`."""
        column = self.source.mask_column
        files = []
        rows: dict[str, list[str]] = {split: [] for split in self.source.options.splits}
        for pair in pairs:
            image, mask = f"images/{pair.key}.png", f"masks/{pair.key}.png"
            folder = _FOLDERS[pair.split]
            files += [(f"{folder}/{image}", pair.image_png), (f"{folder}/{mask}", pair.mask_png)]
            row = {
                "file_name": image,
                f"{column}_file_name": mask,
                "key": pair.key,
                "uncertainty": pair.encoded.uncertainty,
            }
            rows[pair.split].append(json.dumps(row))
        return ShardFiles(files, rows)

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        for split in self.source.options.splits:
            rows = summary.read_lines(split)
            yield f"{_FOLDERS[split]}/metadata.jsonl", (f"{row}\n".encode() for row in rows)
        yield ID_TO_LABEL, [to_json(self.source.classes.id2label)]

    def notes(self, summary: Summary) -> list[str]:
        """See `Format`."""
        return []
