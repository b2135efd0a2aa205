"""Pairs of a finished dataset on their way out, of which few are in memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader
from itertools import starmap

from factory import png, storage
from factory.errors import DamagedShard, UnreadableImage, UserError, counted
from factory.exporting.options import ExportSplit, Options
from factory.generation.row_images import RowImages
from factory.images import UInt8
from factory.shards.filtering import Bound
from factory.shards.manifest import Manifest
from factory.shards.packing import merged_rows
from factory.shards.plan import ShardSpec, StoredRow
from factory.shards.reading import open_shard
from factory.shards.schema import EncodedSample, Sample, sample_key
from factory.shards.verification import faults_of_shards
from factory.storage import Folder, hub
from factory.threads import NUM_THREADS, ahead

_NUM_AHEAD = 1
"""Shards that are opened ahead: those of a store are then copied while others are exported."""
_REPAIR = "Run `factory repair` on the dataset."
_VERIFY = "Run `factory verify --level decode` on the dataset."
_POINTER = 1024
"""Bytes that tell a file from a pointer of Git LFS."""


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and its mask, both PNG files; they are decoded only where a format asks for pixels.

    Shapes: H height, W width.
    """

    index: int
    """The pair's number in the dataset, from 0 on; its key says the same."""
    split: ExportSplit
    encoded: EncodedSample

    @property
    def key(self) -> str:
        """The pair's name."""
        return sample_key(self.index)

    @property
    def image_png(self) -> bytes:
        """The image's file."""
        return self.encoded.image_png

    @property
    def mask_png(self) -> bytes:
        """The file of the mask: 8-bit grey, value = class id, 255 = ignore."""
        return self.encoded.mask_png

    @cached_property
    def sample(self) -> Sample:
        """All of the pair, decoded. Raises DamagedShard."""
        return self.encoded.decoded()

    @cached_property
    def mask(self) -> UInt8:
        """(H, W) class ids, 255 = ignore. Raises UnreadableImage."""
        return png.decode_png(self.mask_png)


def check_whole(url: str, manifest: Manifest) -> None:
    """Raises UserError that names each file of a dataset which is missing or has another size, as
    far as its pairs are in it. Damage that leaves the size is found when the file is read."""
    needed = {file.path for receipt in manifest.receipts for file in receipt.data_files}
    problems = []
    for fault in faults_of_shards(url, manifest):
        if fault.name in needed or manifest.plan.format == "png":
            file_url = storage.join(url, fault.name)
            start = b"" if fault.what == "missing" else storage.read_range(file_url, 0, _POINTER)
            what = hub.pointer_problem(start) or f"is {fault.what}. {_REPAIR}"
            problems.append(f"{file_url}: {what}")
    if problems:
        raise UserError(problems)


@dataclass(frozen=True)
class Dataset:
    """A finished dataset, and which of its pairs are exported."""

    url: str
    manifest: Manifest
    options: Options
    bound: Bound | None
    """That of the pairs that are exported; None for all pairs."""
    images: RowImages | None = None
    """The images that were labelled, of a dataset of mask files; None of all others."""

    def shards(self, numbers: Sequence[int]) -> Iterator["Shard"]:
        """The shards of these numbers, each open until the next one is asked for.

        Raises UserError if one is missing or altered, OSError from the storage.
        """
        opened: set[BufferedReader] = set()

        def open_one(number: int) -> "Shard":
            files = open_shard(self.url, self.manifest.receipts[number])
            opened.update(files)
            return Shard(self, self.manifest.plan.shard(number), files)

        try:
            with ThreadPoolExecutor(_NUM_AHEAD) as pool:
                for shard in ahead(pool, open_one, numbers, _NUM_AHEAD):
                    yield shard
                    for file in shard.files:
                        file.close()
                    opened.difference_update(shard.files)
        finally:
            for file in opened:
                file.close()


@dataclass(frozen=True)
class Shard:
    """An open shard of a dataset."""

    dataset: Dataset
    spec: ShardSpec
    files: list[BufferedReader]
    """Those that hold samples."""

    def pairs(self, split: ExportSplit | None = None, start: int = 0) -> Iterator[Pair]:
        """Reads the pairs that are exported, in order, of one split or of all that are exported.

        start: the index of the first pair that is wanted. Of mask files, a few images are read and
        encoded ahead. Raises DamagedShard; UserError if the shard holds other keys than the plan
        says, since files are named by them.
        """
        rows = self._rows(split, start)
        if self.dataset.images is None:
            yield from starmap(self._pair, rows)
            return
        with ThreadPoolExecutor(NUM_THREADS, "reader") as pool:
            yield from ahead(pool, lambda row: self._pair(*row), rows, NUM_THREADS)

    def _pair(self, index: int, row: StoredRow) -> Pair:
        encoded = row if isinstance(row, EncodedSample) else row.encoded()
        return Pair(index, self.dataset.options.split_of(sample_key(index)), encoded)

    def _rows(self, split: ExportSplit | None, start: int) -> Iterator[tuple[int, StoredRow]]:
        """The rows of the pairs that are exported, with their indices."""
        dataset, num = self.dataset, 0
        for file in self.files:
            file.seek(0)
        read = Folder(dataset.url).read_bytes
        rows = merged_rows(dataset.manifest.plan, self.files, read, dataset.images)
        for index, row in enumerate(rows, self.spec.start):
            if row.fields["key"] != sample_key(index) or index >= self.spec.stop:
                raise self._other_keys()
            num += 1
            own_split = dataset.options.split_of(sample_key(index))
            is_kept = dataset.bound is None or dataset.bound.keeps(row)
            splits = dataset.options.splits if split is None else (split,)
            if is_kept and index >= start and own_split in splits:
                yield index, row
        if num != self.spec.stop - self.spec.start:
            raise self._other_keys()

    def _other_keys(self) -> UserError:
        num = counted(self.spec.stop - self.spec.start, "pair")
        return UserError(f"{self._url}: holds other keys than those of its {num}. {_VERIFY}")

    @property
    def _url(self) -> str:
        return storage.join(self.dataset.url, self.spec.path)

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Raises UserError, which names the shard, for damage that the body finds."""
        try:
            yield
        except (DamagedShard, UnreadableImage) as error:
            raise UserError(f"{self._url}: {error}. {_VERIFY}") from None
