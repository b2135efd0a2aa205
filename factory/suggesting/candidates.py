"""The images among which some are suggested: those of a source, or of a finished dataset.

Shapes: S image size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from factory.config import Config, required
from factory.data.files import listing
from factory.data.kinds.known import KnownSource
from factory.data.passes import place_of
from factory.data.pixels import geometry
from factory.errors import ChangedSource, Problems, UnreadableImage, UserError, counted
from factory.generation.relabelled_images import DatasetImages, dataset_of, manifest_to_relabel
from factory.generation.source_images import SourceFile, SourceImage, check_texts, files_of
from factory.shards.schema import sample_key
from factory.threads import NUM_THREADS, in_threads


class Candidates(Protocol):
    """Images of which some are suggested, by their numbers."""

    @property
    def names(self) -> Sequence[str]:
        """The name of each, all of them different."""

    @property
    def total(self) -> int:
        """The number of images of the source, of which these are some."""

    def read(self, problems: Problems) -> Iterator[SourceImage | None]:
        """Yields each image, not whole where that takes memory; None after a problem, which is
        added."""

    def whole(self, number: int) -> SourceImage:
        """One of the images, whole. Raises UserError where it can no longer be read."""


def find_candidates(config: Config, size: int, channels: int) -> Candidates:
    """The images of suggest.source, or data.unlabelled, as far as they are looked at.

    size, channels: those of the DDPM's images. Raises UserError with all problems.
    """
    source: KnownSource = config.suggest.source or required(config, "data.unlabelled")
    most = config.suggest.max_candidates
    if (url := dataset_of(source)) is not None:
        manifest = manifest_to_relabel(url)
        images = DatasetImages.open(url, manifest.root, size, channels, "original")
        return _OfDataset(images, _evenly(manifest.rows, most), manifest.rows)
    _, files = files_of(source)
    check_texts(files)
    few = [files[i] for i in _evenly(len(files), most)]
    return _OfFiles(few, size, channels, len(files))


def _evenly(num: int, most: int) -> list[int]:
    """The places of at most so many of a number of images, evenly spread."""
    kept = min(num, most)
    return [i * num // kept for i in range(kept)]


@dataclass(frozen=True)
class _OfFiles:
    """Images of a source."""

    files: Sequence[SourceFile]
    size: int
    channels: int
    total: int

    @property
    def names(self) -> Sequence[str]:
        """See `Candidates`."""
        return [file.name for file in self.files]

    def read(self, problems: Problems) -> Iterator[SourceImage | None]:
        """See `Candidates`."""
        read = partial(_attempt, size=self.size, channels=self.channels)
        for image, problem in in_threads(read, self.files, 2 * NUM_THREADS):
            if problem is not None:
                problems.add(problem)
            yield image

    def whole(self, number: int) -> SourceImage:
        """See `Candidates`."""
        image, problem = _attempt(self.files[number], self.size, self.channels, is_whole=True)
        if image is None:
            raise UserError(problem or self.files[number].image_url)
        return image


def _attempt(
    file: SourceFile, size: int, channels: int, is_whole: bool = False
) -> tuple[SourceImage | None, str | None]:
    """The image of a file, or the problem of one that cannot be read."""
    try:
        pictures = [item.image(size) for item in file.items]
        places = [
            place_of(item, picture, size)
            for item, picture in zip(file.items, pictures, strict=True)
        ]
    except UnreadableImage as error:
        return None, error.of(file.image_url)
    except OSError as error:
        return None, listing.cannot_read(file.image_url, error)
    image = pictures[0].with_channels(channels)
    squares = [geometry.square_pixels(image, size, place) for place in places]
    return SourceImage(file.name, squares, places, image if is_whole else None), None


@dataclass(frozen=True)
class _OfDataset:
    """Images of a finished dataset."""

    images: DatasetImages
    rows: Sequence[int]
    total: int

    @property
    def names(self) -> Sequence[str]:
        """See `Candidates`: the keys of the pairs."""
        return [sample_key(row) for row in self.rows]

    def read(self, problems: Problems) -> Iterator[SourceImage | None]:
        """See `Candidates`."""
        for row in self.rows:
            try:
                yield self.images.read_row(row, "")
            except ChangedSource as error:
                problems.add(str(error))
                yield None

    def whole(self, number: int) -> SourceImage:
        """See `Candidates`."""
        try:
            return self.images.read_row(self.rows[number], "")
        except ChangedSource as error:
            raise UserError(str(error)) from None


def check_enough(candidates: Candidates, num: int) -> None:
    """Raises UserError where there are fewer images than are to be suggested."""
    if len(candidates.names) < num:
        there = counted(len(candidates.names), "image")
        raise UserError(
            f"suggest.num: {num:,} is more than the {there} to choose from (suggest.source, "
            f"suggest.max_candidates). Set it to {len(candidates.names):,} or less."
        )
