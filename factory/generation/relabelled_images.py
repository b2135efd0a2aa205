"""The images of a finished dataset, which get new labels: read from its shards, which are hashed.

Shapes: S image size.
"""

from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal

from factory import storage
from factory.config import Config
from factory.data.kinds.known import KnownSource
from factory.data.pixels import geometry
from factory.data.pixels.decoding import picture_of_array
from factory.errors import ChangedSource, DamagedShard, UserError
from factory.generation.source_images import SourceImage
from factory.shards.layout import RUN
from factory.shards.manifest import Manifest
from factory.shards.packing import merged_rows
from factory.shards.plan import ShardSpec, StoredRow
from factory.shards.reading import read_manifest, read_shard
from factory.threads import NUM_THREADS, ahead


def dataset_to_relabel(config: Config) -> str | None:
    """The URL of the finished dataset that label.source names; None if it names images.

    Raises UserError if labels cannot go where they are to go.
    """
    source, out = config.label.source, config.label.url
    if source is None or (url := dataset_of(source)) is None:
        return None
    if storage.lies_in(out, url):
        raise UserError(
            f"label.url: {out} is the dataset whose images are labelled, or lies in it. It keeps "
            "its own labels: name another --out."
        )
    return url


def dataset_of(source: KnownSource) -> str | None:
    """The URL of the dataset of this factory that a source names; None if it names images."""
    if source.kind == "folder" and storage.exists(storage.join(source.url, RUN)):
        return source.url
    return None


def manifest_to_relabel(url: str) -> Manifest:
    """The manifest of a dataset whose images get new labels.

    Raises UserError if it is none, or is unfinished, damaged, or too old.
    """
    manifest = read_manifest(url)
    if manifest.plan.format == "png":
        raise UserError(
            f"{url}: holds mask files without images. Label the images themselves into another "
            "--out."
        )
    if manifest.plan.is_of_version_0_1:
        raise UserError(
            f"{url}: version 0.1 made it, whose seeds do not fit the rows of this version. Export "
            "it with `factory export --to imagefolder`, and label its images."
        )
    return manifest


@dataclass(frozen=True)
class DatasetImages:
    """The images of a finished dataset, as rows of a new one."""

    url: str
    manifest: Manifest
    image_size: int
    """The height and width that the network takes, in pixels."""
    channels: int
    """The channels that it takes: 3 for RGB, 1 for grey."""
    at: Literal["model", "original"]
    _last: dict[int, list[StoredRow]] = field(default_factory=dict, repr=False, compare=False)
    """The rows of the shard of which `read_row` read last, by its number."""

    @classmethod
    def open(
        cls,
        url: str,
        root: str,
        image_size: int,
        channels: int,
        at: Literal["model", "original"],
    ) -> "DatasetImages":
        """Raises UserError if the dataset at url is not the one whose manifest has this root."""
        manifest = manifest_to_relabel(url)
        if manifest.root != root:
            raise UserError(
                f"{url}: is another dataset than when its images were first labelled. Put back "
                "what was there, or label into another --out."
            )
        return cls(url, manifest, image_size, channels, at)

    def read(self, start: int, stop: int) -> Iterator[SourceImage]:
        """Yields the images of the rows start..stop-1; threads decode those that come next.

        Raises ChangedSource if a shard is missing or altered, OSError.
        """
        with ThreadPoolExecutor(NUM_THREADS, "reader") as pool:
            yield from ahead(pool, self._image, self._rows(start, stop), NUM_THREADS * 16)

    def read_row(self, row: int, name: str) -> SourceImage:
        """The image of the row of this number. Raises as `read` does.

        A shard is read once for rows that are asked for in about their order, and kept encoded.
        """
        spec = self._shard_of(row)
        rows = self._last.get(spec.shard)
        if rows is None:
            rows = list(self._rows(spec.start, spec.stop))
            self._last.clear()
            self._last[spec.shard] = rows
        return self._image(rows[row - spec.start])

    @cached_property
    def _starts(self) -> list[int]:
        """The numbers of the first rows of all shards."""
        return [spec.start for spec in self.manifest.plan.shards()]

    def _shard_of(self, row: int) -> ShardSpec:
        return self.manifest.plan.shard(bisect_right(self._starts, row) - 1)

    def _rows(self, start: int, stop: int) -> Iterator[StoredRow]:
        plan, wanted = self.manifest.plan, start
        while wanted < stop:
            spec = self._shard_of(wanted)
            first, last = wanted, min(stop, spec.stop)
            wanted = last
            try:
                files = read_shard(self.url, self.manifest.receipts[spec.shard])
            except UserError as error:
                raise ChangedSource(str(error)) from None
            rows = merged_rows(plan, files)
            yield from islice(rows, first - spec.start, last - spec.start)

    def _image(self, row: StoredRow) -> SourceImage:
        try:
            sample = row.decoded()
        except DamagedShard as error:
            raise ChangedSource(f"{self.url}: {error}") from None
        image = picture_of_array(sample.image, "dataset").with_channels(self.channels)
        place = geometry.placement(image.size, self.image_size, "crop", None)
        square = geometry.square_pixels(image, self.image_size, place)
        whole = image if self.at == "original" else None
        return SourceImage(sample.source, [square], [place], whole, sample.seed)
