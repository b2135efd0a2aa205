"""`imagefolder`: two pictures a row for `datasets`, with the splits as folders."""

import json
from collections.abc import Iterable, Iterator
from typing import ClassVar

from factory.exporting.format import HUB_SPLITS, PairFiles, PairFormat, Summary
from factory.exporting.pairs import Pair
from factory.shards.columns import EXPECTED_CLASS_IOU, EXPECTED_IOU
from factory.shards.layout import ID_TO_LABEL, to_json


class ImageFolderFormat(PairFormat):
    """`SPLIT/images/KEY.png` and `SPLIT/masks/KEY.png`, and `SPLIT/metadata.jsonl`.

    Its rows name both files, so that the columns are `image`, and `mask` or how it is asked for;
    the key and the uncertainty of a pair, and what IoU is expected of it and of its classes if that
    is known, are columns, too.
    """

    takes: ClassVar[tuple[str, ...]] = ("mask_column",)

    def pair_files(self, pair: Pair) -> PairFiles:
        """See `PairFormat`."""
        image, mask = f"images/{pair.key}.png", f"masks/{pair.key}.png"
        folder = HUB_SPLITS[pair.split]
        row = {
            "file_name": image,
            f"{self.source.mask_column}_file_name": mask,
            "key": pair.key,
            "uncertainty": pair.encoded.uncertainty,
        }
        known = pair.encoded.fields
        row |= {name: known[name] for name in (EXPECTED_IOU, EXPECTED_CLASS_IOU) if name in known}
        files = [(f"{folder}/{image}", pair.image_png), (f"{folder}/{mask}", pair.mask_png)]
        return PairFiles(files, {pair.split: [json.dumps(row)]})

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        # A split of no rows is one that `datasets` refuses.
        for split in (each for each in self.source.options.splits if summary.num.get(each)):
            rows = summary.read_lines(split)
            yield f"{HUB_SPLITS[split]}/metadata.jsonl", (f"{row}\n".encode() for row in rows)
        yield ID_TO_LABEL, [to_json(self.source.classes.id2label)]
