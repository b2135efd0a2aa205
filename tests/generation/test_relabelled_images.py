"""Claims about images of a finished dataset that get new labels."""

from pathlib import Path

import numpy as np
import pytest

from factory.generation import relabelled_images
from factory.generation.relabelled_images import DatasetImages
from factory.shards.reading import read_manifest, read_shard
from factory.shards.receipts import Receipt
from tests.exporting import made


def test_rows_one_by_one_cost_one_reading_of_their_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "pairs")
    samples = made.write(url, num=10, samples_per_shard=4)
    opened = DatasetImages(url, read_manifest(url), 16, 3, "original")
    read = []

    def counted(url: str, receipt: Receipt) -> list[bytes]:
        read.append(receipt.shard)
        return read_shard(url, receipt)

    monkeypatch.setattr(relabelled_images, "read_shard", counted)
    rows = [opened.read_row(i, "").pixels for i in range(10)]
    assert all(map(np.array_equal, rows, [sample.image for sample in samples]))
    assert read == [0, 1, 2]
    again = [each.pixels for each in opened.read(3, 9)]
    assert all(map(np.array_equal, again, rows[3:9])) and read == [0, 1, 2, 0, 1, 2]
